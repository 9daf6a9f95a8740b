//! How a step is computed changes what it costs, and little of what it says: micro-batches, gradient
//! checkpointing, 16-bit products, several devices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use serde_json::Value;

use common::{UNMEASURED, Workshop, set};

/// Without random numbers, which parts of a batch would draw in another order.
const FIXED: [&str; 3] =
    ["model.language.dropout=0", "training.validation_batches=1", "optimizer.learning_rate=1e-4"];

fn trained(workshop: &Workshop, run: &str, more: &[&str]) -> Vec<Value> {
    let overrides = [&FIXED[..], more].concat();
    workshop.train(run, &[set(&overrides), UNMEASURED.to_vec()].concat()).success();
    workshop.steps(run)
}

#[track_caller]
fn assert_close(one: &[Value], other: &[Value], tolerance: f64) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        for key in ["step", "task", "learning_rate"] {
            assert_eq!(one[key], other[key], "{key}");
        }
        for key in ["loss", "text_loss", "point_loss", "gradient_norm"] {
            let (Some(a), Some(b)) = (one[key].as_f64(), other[key].as_f64()) else {
                assert_eq!(one[key], other[key], "{key}");
                continue;
            };
            let off = (a - b).abs() / a.abs();
            assert!(off < tolerance, "{key} of step {}: {a} and {b}", one["step"]);
        }
    }
}

#[test]
fn training_in_micro_batches_is_training_on_the_whole_batch() {
    let workshop = Workshop::new();
    let whole = trained(&workshop, "whole", &[]);
    let parts = trained(&workshop, "parts", &["training.micro_batches=3"]);
    // Sums of float32 in another order, six updates long; Adam divides a gradient by its own size.
    assert_close(&whole, &parts, 1e-3);
    assert_eq!(parts.len(), 6, "a step is an update");
}

#[test]
fn checkpointing_and_places_on_one_device_change_no_digit() {
    let workshop = Workshop::new();
    let usual = trained(&workshop, "usual", &[]);
    let checkpointed = trained(&workshop, "less", &["training.gradient_checkpointing=true"]);
    let placed = trained(&workshop, "placed", &["devices.heads=cpu", "devices.vision=cpu:0"]);
    let figures = |steps: &[Value]| {
        let keys = ["loss", "text_loss", "point_loss", "gradient_norm"];
        steps.iter().map(|step| keys.map(|key| step[key].clone())).collect::<Vec<_>>()
    };
    assert_eq!(figures(&usual), figures(&checkpointed));
    assert_eq!(figures(&usual), figures(&placed));

    // And are no part of what a run is: it goes on with others.
    let overrides = set(&[&FIXED[..], &["training.gradient_checkpointing=true"]].concat());
    workshop.train("usual", &[&overrides[..], &UNMEASURED, &["--resume"]].concat()).success();
}

#[test]
fn sixteen_bit_products_train_from_checkpoints_in_32_bits() {
    let workshop = Workshop::new();
    let wide = trained(&workshop, "wide", &[]);
    for precision in ["bf16", "f16"] {
        let half = trained(&workshop, precision, &[&format!("precision={precision}")]);
        // Three digits of every factor, six updates long.
        assert_close(&wide, &half, 0.1);
        assert_ne!(wide, half);
    }
    let weights = workshop.path("bf16/weights.safetensors");
    let bytes = |run: &str| std::fs::metadata(workshop.path(run)).unwrap().len();
    assert_eq!(bytes("wide/weights.safetensors"), std::fs::metadata(weights).unwrap().len());
}

#[test]
fn devices_share_batches_and_unknown_ones_are_refused() {
    let workshop = Workshop::new();
    let parts = trained(&workshop, "parts", &["training.parallel_parts=2"]);
    let devices = trained(&workshop, "devices", &["training.devices=[\"cpu\",\"cpu\"]"]);
    assert_close(&parts, &devices, 1e-6);
    let other = set(&["training.devices=[\"cpu\",\"cpu:9\"]"]);
    workshop.train("none", &other).failure(2, &["device `cpu:9`: this machine has 1 `cpu` device"]);
    let first = set(&["training.devices=[\"wgpu\",\"cpu\"]"]);
    workshop.train("none", &first).failure(2, &["device", "the first of training.devices"]);
}

#[test]
fn a_dry_run_shows_how_each_part_is_updated() {
    let overrides = set(&[
        "optimizer.layer_decay=0.5",
        "optimizer.rate_multipliers={\"**.norm*\"=2.0}",
        "optimizer.no_decay=[\"points.**\"]",
        "training.frozen=[\"vision.s*\"]",
    ]);
    let answer = Workshop::new().train("none", &[&overrides[..], &["--dry-run"]].concat());
    let answer = answer.success();
    let (_, updates) = answer.stdout.split_once("learning rate ×").unwrap();
    let row = |part: &str| {
        let line = updates.lines().find(|line| line.trim_start().starts_with(part));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert!(updates.contains("with a decay of 0.01"), "{updates}");
    assert!(row("vision.eva").unwrap().contains("0.2500 to 2.0000"), "{updates}");
    assert!(row("points").unwrap().ends_with(" 0"), "{updates}");
    assert_eq!(row("vision.sam"), None);
}

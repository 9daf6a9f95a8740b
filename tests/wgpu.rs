//! The same training on a GPU as on the processor. Where there is no GPU, Mesa's software driver
//! (`apt install mesa-vulkan-drivers`) does; where there is neither, the test says so and ends.
//!
//! Initial weights are the processor's on every device. Each draws its own numbers for dropout, so what is
//! compared has none.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Distribution, Tensor};
use pixelllm::backend;
use pixelllm::model::heads::boxes::head::HeadConfig;
use pixelllm::model::heads::boxes::proposals::ProposalConfig;
use pixelllm::model::heads::boxes::pyramid::PyramidConfig;
use pixelllm::model::heads::boxes::roi_head::RoiHeadConfig;
use pixelllm::model::heads::boxes::{BoxDecoderConfig, DetectionConfig};
use serde_json::Value;

use common::{Answer, MEMORY, UNMEASURED, Workshop, set};

/// Whether a command failed because there is no adapter; says so if it is.
fn has_no_adapter(answer: &Answer) -> bool {
    let none = answer.code == Some(2) && answer.stderr.contains("no graphics adapter was found");
    if none {
        println!("SKIPPED: {}", answer.said());
    }
    none
}

/// Four steps with a checkpoint after each.
const OVERRIDES: [&str; 5] = [
    "training.max_steps=4",
    "training.checkpoint_every_steps=1",
    "checkpoints.keep_last=4",
    "training.validation_batches=0",
    "model.language.dropout=0",
];

/// The sums of float32 products come out in another order on another device: 1e-6 or so relative,
/// and exp (softmax, SiLU) and the square root of Adam add as much. Nothing here is a GELU, whose
/// gradient on WGSL is good to 5e-4 only (`activation = "relu"` everywhere; EVA's SwiGLU has a SiLU).
/// The first step has seen the same weights, and only its forward pass counts.
const FORWARD: f64 = 1e-5;

/// Adam divides a gradient by its own size: where it is nothing but rounding, its sign and so the
/// step, of at most the learning rate, differs between devices. Such weights matter little to the
/// loss, but more than rounding does. (On llvmpipe no number differed by more than 3e-7.)
const AFTER_UPDATES: f64 = 1e-4;

#[test]
fn three_steps_on_wgpu_have_the_losses_of_the_cpu() {
    let workshop = Workshop::new();
    if has_no_adapter(&workshop.train("none", &["--dry-run", "--device", "wgpu"])) {
        return;
    }
    let arguments = [set(&OVERRIDES), UNMEASURED.to_vec()].concat();
    workshop.train("cpu", &arguments).success();

    common::copy(&workshop.path("cpu"), &workshop.path("wgpu"));
    keep_the_first_checkpoint(&workshop, "wgpu");
    let begun = Instant::now();
    workshop.train("wgpu", &[&arguments[..], &["--resume", "--device", "wgpu"]].concat()).success();
    println!("three steps on wgpu took {:.1} s", begun.elapsed().as_secs_f64());

    let records = workshop.records("wgpu", "step");
    let has_memory: Vec<_> = records.iter().map(|step| step.get(MEMORY).is_some()).collect();
    assert_eq!(has_memory, [true, false, false, false], "only the CPU's is known");
    let (cpu, wgpu) = (workshop.steps("cpu"), workshop.steps_of_any_device("wgpu"));
    assert_eq!((cpu.len(), wgpu.len()), (4, 4));
    assert_eq!(cpu[0], wgpu[0], "the step before the checkpoint was the CPU's");
    for (cpu, wgpu) in cpu.iter().zip(&wgpu).skip(1) {
        let tolerance = if cpu["step"] == 2 { FORWARD } else { AFTER_UPDATES };
        println!("{cpu}\n{wgpu}");
        assert_eq!((&cpu["step"], &cpu["task"]), (&wgpu["step"], &wgpu["task"]));
        for key in ["loss", "text_loss", "point_loss"] {
            assert_close(&cpu[key], &wgpu[key], tolerance, key);
        }
        // A backward pass more than the loss.
        assert_close(&cpu["gradient_norm"], &wgpu["gradient_norm"], AFTER_UPDATES, "gradient_norm");
    }
}

#[test]
fn a_seed_draws_the_same_weights_for_wgpu_as_for_the_cpu() {
    let workshop = Workshop::new();
    if has_no_adapter(&workshop.train("none", &["--dry-run", "--device", "wgpu"])) {
        return;
    }
    let overrides = ["training.max_steps=3", "training.validation_batches=0"];
    let arguments =
        [set(&overrides), set(&["model.language.dropout=0"]), UNMEASURED.to_vec()].concat();
    workshop.train("cpu", &arguments).success();
    workshop.train("wgpu", &[&arguments[..], &["--device", "wgpu"]].concat()).success();
    let (cpu, wgpu) = (workshop.steps("cpu"), workshop.steps_of_any_device("wgpu"));
    assert_close(&cpu[0]["loss"], &wgpu[0]["loss"], FORWARD, "loss");
    assert_close(
        &cpu[0]["gradient_norm"],
        &wgpu[0]["gradient_norm"],
        AFTER_UPDATES,
        "gradient_norm",
    );
}

/// As if the run had been killed after its first step.
fn keep_the_first_checkpoint(workshop: &Workshop, run: &str) {
    let remove = |name: &str| std::fs::remove_file(workshop.path(run).join(name)).unwrap();
    for later in 2..=4 {
        remove(&format!("checkpoint/state-{later}.json"));
    }
    remove("weights.safetensors");
}

fn assert_close(cpu: &Value, wgpu: &Value, tolerance: f64, key: &str) {
    match (cpu.as_f64(), wgpu.as_f64()) {
        (Some(cpu), Some(wgpu)) => {
            let difference = (cpu - wgpu).abs() / cpu.abs();
            println!("{key}: {difference:.1e}");
            assert!(difference < tolerance, "{key}: {cpu} on cpu, {wgpu} on wgpu");
        }
        (None, None) => {}
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_build_for_gpus_trains_and_resumes_on_the_processor() {
    let workshop = Workshop::new();
    let arguments = [set(&OVERRIDES), UNMEASURED.to_vec()].concat();
    workshop.train("run", &arguments).success();
    let uninterrupted = workshop.steps("run");
    keep_the_first_checkpoint(&workshop, "run");
    workshop.train("run", &[&arguments[..], &["--resume"]].concat()).success();
    assert_eq!(workshop.steps("run"), uninterrupted);
}

#[cfg(feature = "cuda")]
#[test]
fn cuda_without_a_gpu_is_refused_in_one_sentence() {
    // The environment of these tests hides GPUs from CUDA.
    let workshop = Workshop::new();
    let answer = workshop.train("run", &["--device", "cuda"]);
    let parts =
        ["device `cuda`: no NVIDIA GPU was found", "help: Check that `nvidia-smi` lists one"];
    let answer = answer.failure(2, &parts);
    assert_eq!(answer.stderr.trim().lines().count(), 2, "{}", answer.stderr);
    assert!(!workshop.path("run").exists());
}

/// The image encoders compute on wgpu what the original implementation computes, within the tolerances
/// of the processor: nothing in their forward passes is approximate in WGSL. (On llvmpipe no output was
/// further off than 8e-6.)
#[test]
fn the_image_encoders_agree_with_the_original_on_wgpu() {
    let vectors =
        |name: &str| format!("{}/tests/golden/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = ["eva02_vit.safetensors", "sam_vit.safetensors", "timm_eva02"].map(vectors);
    let files = files.each_ref().map(String::as_str);
    let answer = Workshop::new().pixelllm(&[&["verify", "--device", "wgpu"], &files[..]].concat());
    if has_no_adapter(&answer) {
        return;
    }
    println!("{}", answer.stdout);
    assert!(answer.success().stdout.contains("6 passed, 0 failed, 0 not implemented"));
}

/// Gradients cross the border between two backends: with the heads, or nothing but the heads, on wgpu,
/// training goes as on the processor alone. All start from the weights that the processor draws.
#[test]
fn parts_on_wgpu_train_as_on_the_processor_alone() {
    let workshop = Workshop::new();
    if has_no_adapter(&workshop.train("none", &["--dry-run", "--device", "wgpu"])) {
        return;
    }
    let train = |run: &str, more: &[&str]| {
        let overrides = [&OVERRIDES[1..], &["training.max_steps=3"], more].concat();
        workshop.train(run, &[set(&overrides), UNMEASURED.to_vec()].concat()).success();
        workshop.steps_of_any_device(run)
    };
    let cpu = train("cpu", &[]);
    let placements: [&[&str]; 3] = [
        &["devices.heads=wgpu"],
        &["devices.vision=wgpu", "devices.language=wgpu"],
        &["training.devices=[\"cpu\",\"wgpu\"]"],
    ];
    for (index, placement) in placements.into_iter().enumerate() {
        let steps = train(&format!("placed-{index}"), placement);
        // Devices that share a batch have means of their own.
        let expected = match index {
            2 => train("parts", &["training.parallel_parts=2"]),
            _ => cpu.clone(),
        };
        for (expected, found) in expected.iter().zip(&steps) {
            let tolerance = if found["step"] == 1 { FORWARD } else { AFTER_UPDATES };
            for key in ["loss", "text_loss", "point_loss"] {
                assert_close(&expected[key], &found[key], tolerance, key);
            }
            assert_close(
                &expected["gradient_norm"],
                &found["gradient_norm"],
                AFTER_UPDATES,
                "gradient_norm",
            );
        }
    }
}

/// Boxes that are found on wgpu with one read at the end are those that the host decides on from the same
/// first look, in the same order, and their scores are those of the processor.
#[test]
fn boxes_are_found_on_wgpu_without_asking_it_before_the_end() {
    let wgpu = match backend::device("wgpu") {
        Ok(wgpu) => wgpu,
        Err(error) if error.to_string().contains("no graphics adapter was found") => {
            println!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let cpu = backend::device("cpu").unwrap();
    backend::seed(&cpu, 5);
    let config = BoxDecoderConfig {
        pyramid: PyramidConfig { inner_width: 8, channels: 8, ..PyramidConfig::default() },
        head: HeadConfig { channels: 8, layers: 1, groups: 2 },
        proposals: ProposalConfig { candidates: 200, kept: 40, ..ProposalConfig::default() },
        roi: RoiHeadConfig { widths: vec![12], ..RoiHeadConfig::default() },
        detections: DetectionConfig { count: 20, score_threshold: 0.01, ..Default::default() },
        ..BoxDecoderConfig::default()
    };
    let decoder = config.init(5, 128, &cpu);
    let map = Tensor::<4>::random([2, 5, 8, 8], Distribution::Normal(0.0, 1.0), &cpu);
    let of_cpu = decoder.detect(map.clone()).concat();
    let decoder = decoder.to_device(&wgpu);
    let look = decoder.first_look(map.to_device(&wgpu));
    let found = decoder.detect_on_device(&look).unwrap().concat();
    let expected = decoder.detect_on_host(&look).concat();
    assert_eq!((found.len(), expected.len(), of_cpu.len()), (40, 40, 40));
    assert!(found.iter().any(|one| one.score > 0.01));
    for ((found, expected), of_cpu) in found.iter().zip(&expected).zip(&of_cpu) {
        println!("{found:?}\n{expected:?}\n{of_cpu:?}");
        assert!((found.score - expected.score).abs() < 1e-5);
        assert!((found.score - of_cpu.score).abs() < 1e-4);
        let edges = found.bounding_box.to_array().into_iter();
        for (found, expected) in edges.zip(expected.bounding_box.to_array()) {
            assert!((found - expected).abs() < 1e-2);
        }
    }
}

/// WGSL has no bfloat16.
#[test]
fn a_type_that_wgpu_does_not_multiply_is_refused_in_one_sentence() {
    let workshop = Workshop::new();
    if has_no_adapter(&workshop.train("none", &["--dry-run", "--device", "wgpu"])) {
        return;
    }
    for placement in ["device=wgpu", "devices.heads=wgpu"] {
        let answer = workshop.train("run", &set(&["precision=bf16", placement]));
        let parts = ["does not multiply matrices of type bf16", "help: Train in 32 bits"];
        let answer = answer.failure(2, &parts);
        // A software driver is warned about in a line of its own.
        let lines =
            answer.stderr.trim().lines().filter(|line| !line.trim_start().starts_with("WARN "));
        assert_eq!(lines.count(), 2, "{}", answer.stderr);
        assert!(!workshop.path("run").exists());
    }
}

#[test]
fn a_type_that_wgpu_does_not_keep_is_refused_where_the_part_is() {
    let workshop = Workshop::new();
    if has_no_adapter(&workshop.train("none", &["--dry-run", "--device", "wgpu"])) {
        return;
    }
    let narrow = ["training.frozen=[\"vision.sam\"]", "model.vision.sam.storage=bf16"];
    for place in ["device=wgpu", "devices.vision=wgpu", "training.devices=[\"cpu\",\"wgpu\"]"] {
        let answer = workshop.train("run", &set(&[&narrow[..], &[place]].concat()));
        answer.failure(2, &["has no numbers of type bf16", "Keep the weights in 32 bits"]);
    }
    let heads = [&narrow[..], &["devices.heads=wgpu", "training.max_steps=3"]].concat();
    workshop.train("heads", &[set(&heads), UNMEASURED.to_vec()].concat()).success();
}

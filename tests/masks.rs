//! Masks of expressions from the command line: learnt, written down, measured, asked for and drawn.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use pixelllm::geometry::mask::{CocoMask, Mask};
use serde_json::Value;

use common::{Workshop, set};

/// What makes a model with masks of the smallest experiment.
const MASKS: [&str; 4] = [
    "model.masks.decoder={width=16, depth=1, num_heads=2, mlp_width=16, hyper_width=16, iou_width=16}",
    "model.masks.adapter={width=16, depth=1, num_heads=2, mlp_width=16}",
    "data.sources.2.masks=true",
    "data.sources.2.weight=3",
];

/// A run that has learnt masks a little, with all its measures.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("run", &set(&MASKS)).success();
    workshop
});

const IMAGE: &str = "world/images/test/000200000001.png";

#[test]
fn steps_and_validation_have_the_mask_loss_and_its_parts() {
    for kind in ["step", "validation"] {
        let records = WORKSHOP.records("run", kind);
        let (located, others): (Vec<Value>, Vec<Value>) =
            records.into_iter().partition(|record| record["task"] == "locate");
        assert!(!located.is_empty(), "{kind}");
        for record in located {
            let loss = &record["mask_loss"];
            let of = |key: &str| loss[key].as_f64().unwrap_or_else(|| panic!("{key}: {record}"));
            let (focal, dice) = (of("focal"), of("dice"));
            let sum = 20.0 * focal + dice + of("iou");
            assert!((of("total") - sum).abs() < 1e-4 * sum, "{record}");
            assert!(focal > 0.0 && (0.0..=1.0).contains(&dice), "{record}");
        }
        assert!(others.iter().all(|record| record.get("mask_loss").is_none()), "{others:?}");
    }
}

#[test]
fn masks_are_scored_beside_trivial_ones() {
    let scores: Value = serde_json::from_str(&WORKSHOP.read("run/evaluation.json")).unwrap();
    let located = &scores["test"]["locate"];
    for metric in [
        "mask_ciou",
        "mask_giou",
        "mask_precision_at_0.5",
        "mask_precision_at_0.9",
        "mask_box_precision_at_0.5",
        "mask_ciou_vs_filled_box",
        "mask_giou_vs_filled_box",
    ] {
        let score = &located[metric];
        for key in ["value", "baseline"] {
            let value = score[key].as_f64().unwrap_or_else(|| panic!("{metric}: {located}"));
            assert!((0.0..=1.0).contains(&value), "{metric}: {score}");
        }
        assert_eq!(score["n"], located["mean_iou"]["n"], "{metric}");
    }
    assert!(located["mask_giou"]["baseline"].as_f64().unwrap() > 0.0, "{located}");
    assert!(WORKSHOP.read("run/report.html").contains("Mask dice loss"));
}

#[test]
fn locate_answers_with_a_mask_of_the_size_of_the_image_where_it_is_asked_for() {
    let ask = |arguments: &[&str]| {
        let always = ["locate", "run", "--image", IMAGE, "--text", "the red star", "--json"];
        let answer = WORKSHOP.pixelllm(&[&always[..], arguments].concat()).success().stdout;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["locations"][0].clone()
    };
    let with = ask(&["--mask", "--overlay", "with.png"]);
    let without = ask(&["--overlay", "without.png"]);
    assert!(without["bounds"].is_object(), "{without}");
    assert!(without.get("mask").is_none(), "{without}");
    for (with, without) in ["x0", "y0", "x1", "y1"].map(|key| {
        (with["bounds"][key].as_f64().unwrap(), without["bounds"][key].as_f64().unwrap())
    }) {
        assert!((with - without).abs() < 1e-4, "the box is the same");
    }
    assert!(with["mask"]["predicted_iou"].as_f64().unwrap().is_finite());
    let mask: CocoMask = serde_json::from_value(with["mask"]["segmentation"].clone()).unwrap();
    assert_eq!(mask.size, [32, 32]);
    let mask = Mask::try_from(&mask).unwrap();
    let picture = |name: &str| image::open(WORKSHOP.path(name)).unwrap().to_rgb8();
    let is_tinted = picture("with.png") != picture("without.png");
    assert_eq!(is_tinted, mask.area() > 0, "{} pixels", mask.area());

    let always = ["locate", "run", "--image", IMAGE, "--text", "the red star", "--mask"];
    let said = WORKSHOP.pixelllm(&[&always[..], &["--overlay", "said.png"]].concat()).success();
    let expected = format!("mask of {} of 1024 pixels, expected IoU", mask.area());
    assert!(said.stdout.contains(&expected), "{}", said.stdout);
}

#[test]
fn masks_that_cannot_be_learnt_or_made_are_mistakes_with_a_remedy() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    let branch = set(&["data.sources.2.masks=true"]);
    workshop
        .train("none", &branch)
        .failure(2, &["data.sources.2.masks", "the model has none", "[model.masks]"]);
    workshop.train("plain", &set(&["training.max_steps=3", "data.splits.evaluation=[]"])).success();
    workshop
        .pixelllm(&["locate", "plain", "--image", IMAGE, "--text", "the star", "--mask"])
        .failure(2, &["the model makes no masks", "`masks = true`"]);
}

#[test]
fn a_mask_of_another_size_is_skipped_by_the_name_of_its_record() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    let path = workshop.path("world/annotations/expressions_train.json");
    let mut document: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let annotation = &mut document["annotations"][1];
    let id = annotation["id"].clone();
    annotation["segmentation"]["size"] = serde_json::json!([31, 32]);
    std::fs::write(&path, document.to_string()).unwrap();
    let few = ["training.max_steps=3", "data.splits.evaluation=[]"];
    // Without the signs that `says` leaves out.
    let place = format!("expressions_train.json: annotation {id}: the mask is of 32 31 pixels");
    workshop.train("run", &[set(&MASKS), set(&few)].concat()).success().says(&[
        "1 broken mask",
        &place,
        "the image of 32 32",
    ]);
}

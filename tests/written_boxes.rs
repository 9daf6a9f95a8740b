//! *Locate* by writing: coordinates as location tokens.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Workshop, set};
use serde_json::Value;

/// One source alone, which writes boxes, and no point head.
const WRITTEN: [&str; 4] = [
    "data.tokenizer.location_tokens=16",
    "model.points=false",
    "data.sources=[{ task = \"locate\", format = \"refexp_mdetr\", answer = \"text\", \
     annotations = \"world/annotations/expressions_{split}.json\", images = \"world/images/{split}\", \
     prompt = \"locate {text}\", max_context_tokens = 20, max_text_tokens = 8, rows_per_image = 2 }]",
    "data.splits.evaluation=[\"train\"]",
];

/// Four images, until they are known by heart: what the model then writes about them is where the
/// annotations are. A box that is the same for all cannot be.
#[test]
fn boxes_that_were_learnt_are_written_again() {
    let workshop = Workshop::new();
    let overrides = [
        "data.shapes.world.train_images=4",
        "data.shapes.world.min_objects=2",
        "model.language.dropout=0",
        "optimizer.learning_rate=1e-2",
        "training.max_steps=80",
        "training.checkpoint_every_steps=80",
        "training.validation_batches=0",
    ];
    workshop.train("run", &[set(&WRITTEN), set(&overrides)].concat()).success();
    let steps = workshop.steps("run");
    assert!(steps.iter().all(|step| step["point_loss"].is_null()));
    let loss = |at: usize| steps[at]["text_loss"].as_f64().unwrap();
    println!("text {} → {}", loss(0), loss(79));
    let evaluation: Value = serde_json::from_str(&workshop.read("run/evaluation.json")).unwrap();
    let locate = &evaluation["train"]["locate"];
    println!("{locate}");
    assert_eq!(locate["well_formed"]["value"], 1.0);
    let mean_iou = |of: &str| locate["mean_iou"][of].as_f64().unwrap();
    assert!(mean_iou("value") > 0.7 && mean_iou("baseline") < 0.4, "{locate}");

    let image = "world/images/train/000000000001.png";
    let asked = ["locate", "run", "--image", image, "--text", "the circle", "--json"];
    let answer: Value = serde_json::from_str(&workshop.pixelllm(&asked).success().stdout).unwrap();
    let bounds = &answer["locations"][0]["bounds"];
    let on_a_bin = |edge: &str| {
        let bins = bounds[edge].as_f64().unwrap() * 15.0;
        (bins - bins.round()).abs() < 1e-4
    };
    assert!(["x0", "y0", "x1", "y1"].into_iter().all(on_a_bin), "{bounds}");
}

#[test]
fn what_boxes_are_written_with_has_to_be_there() {
    let workshop = Workshop::new();
    let without = [&set(&WRITTEN)[..], &["--set", "data.tokenizer.location_tokens=0"]].concat();
    workshop
        .train("run", &without)
        .failure(2, &["data.tokenizer.location_tokens", "boxes are to be written"]);
    assert!(!workshop.path("run").exists());
}

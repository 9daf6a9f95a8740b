//! What training reads: the same after an interruption, and the same from a cache of features.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{UNMEASURED, Workshop, set};
use serde_json::Value;

/// Every kind of change, batches of several sources, and several threads.
const CHANGED: [&str; 7] = [
    "training.max_steps=30",
    "training.checkpoint_every_steps=10",
    "data.mixing=\"merged\"",
    "data.workers=3",
    "data.sources.0.augmentation={ scale = [0.8, 1.4], flip = 0.5, flip_texts = \"swap\" }",
    "data.sources.1.augmentation={ scale = [0.5, 2.0], flip = 0.5, brightness = 0.3 }",
    "data.sources.2.augmentation={ scale = [0.75, 1.25], saturation = 0.3, contrast = 0.2 }",
];

fn changed() -> Vec<&'static str> {
    [set(&CHANGED), UNMEASURED.to_vec()].concat()
}

#[test]
fn a_run_with_random_changes_that_is_cut_off_in_an_epoch_goes_on_with_what_it_had_not_seen() {
    let workshop = Workshop::new();
    workshop.train("whole", &changed()).success();
    let whole = workshop.steps("whole");
    let mut child = workshop.begin("cut", &changed(), 13);
    workshop.wait_for("cut/checkpoint/state-1.json");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(workshop.steps_done("cut") < 30, "it was too fast to be cut off");
    // How many threads read changes nothing.
    let resumed = [changed(), set(&["data.workers=1"]), vec!["--resume"]].concat();
    workshop.train("cut", &resumed).success();
    assert_eq!(workshop.steps("cut"), whole);
    // With other changes, the losses are others: the keys do something.
    let other = [changed(), set(&["data.sources.1.augmentation.scale=[1.0, 1.0]"])].concat();
    workshop.train("other", &other).success();
    assert_ne!(workshop.steps("other"), whole);
}

#[test]
fn epochs_end_when_every_sample_has_been_seen() {
    let workshop = Workshop::new();
    // 24 images of each of three sources, in batches of 5.
    let overrides = ["training.epochs=2", "training.batch_size=5", "training.max_steps=4"];
    workshop.train("run", &[set(&overrides), UNMEASURED.to_vec()].concat()).success();
    assert_eq!(workshop.steps("run").len(), 2 * 3 * 5);
}

fn frozen() -> Vec<&'static str> {
    let overrides = ["training.frozen=[\"vision\"]", "training.max_steps=12"];
    [set(&overrides), UNMEASURED.to_vec()].concat()
}

fn cached() -> Vec<&'static str> {
    [frozen(), set(&["data.cache_features=\"features\""])].concat()
}

/// Files of features under `folder`.
fn segments(folder: &Path) -> usize {
    let count = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => segments(&path),
        path => usize::from(path.extension().is_some_and(|extension| extension == "features")),
    };
    std::fs::read_dir(folder).unwrap().flatten().map(count).sum()
}

fn assert_same_losses(found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let loss = |step: &Value| step["loss"].as_f64().unwrap();
        let (a, b) = (loss(found), loss(expected));
        assert!((a - b).abs() <= 1e-5 * b.abs(), "{found} {expected}");
    }
}

#[test]
fn features_from_a_cache_give_the_losses_of_the_images() {
    let workshop = Workshop::new();
    workshop.train("images", &frozen()).success();
    let from_images = workshop.steps("images");
    let first = workshop.train("first", &cached()).success();
    // 24 images to learn from, 4 to validate: each once, although three sources have them.
    first.says(&["computing features of 28 images", "free"]);
    let count = segments(&workshop.path("features"));
    assert_eq!(count, 1);
    assert_same_losses(&workshop.steps("first"), &from_images);

    let again = workshop.train("again", &cached()).success();
    assert!(!again.stderr.contains("computing features"), "{}", again.stderr);
    assert_eq!(segments(&workshop.path("features")), count);
    assert_eq!(workshop.steps("again"), workshop.steps("first"));

    // Other weights are another state of the encoders.
    let other = workshop.train("other", &[cached(), set(&["seed=5"])].concat()).success();
    other.says(&["computing features of 28 images"]);
}

#[test]
fn two_runs_that_fill_a_cache_at_once_do_not_harm_each_other() {
    let workshop = Workshop::new();
    workshop.train("images", &frozen()).success();
    let children = ["a", "b"].map(|run| workshop.begin(run, &cached(), 0));
    for child in children {
        common::Answer::of(child).success();
    }
    assert_eq!(workshop.steps("a"), workshop.steps("b"));
    assert_same_losses(&workshop.steps("a"), &workshop.steps("images"));
}

#[test]
fn a_cache_is_refused_where_images_or_encoders_change() {
    let workshop = Workshop::new();
    let refused = |overrides: &[&str], parts: &[&str]| {
        let arguments = [set(&["data.cache_features=\"features\""]), set(overrides)].concat();
        workshop.train("run", &arguments).failure(2, parts);
    };
    refused(&[], &["data.cache_features", "vision.eva is trained"]);
    refused(
        &["training.frozen=[\"vision\"]", "data.sources.1.augmentation={ flip = 0.5 }"],
        &["data.cache_features", "data.sources.1.augmentation changes images at random"],
    );
    refused(
        &["training.frozen=[\"vision\"]", "model.vision.eva.drop_path=0.1"],
        &["data.cache_features", "model.vision.eva.drop_path makes features random"],
    );
}

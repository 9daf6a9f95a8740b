//! Dense captioning: a run that learns to find and to describe, its figures, and the command `detect`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use serde_json::Value;

use common::{Answer, Workshop, set};

const DENSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dense.toml");
const IMAGE: &str = "world/images/test/000200000001.png";

/// A finished run `run`, and what training said.
static RUN: LazyLock<(Workshop, Answer)> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    let both = set(&["data.splits.evaluation=[\"test\", \"held_out\"]"]);
    let answer = workshop.pixelllm(&[&["train", DENSE, "--out", "run"][..], &both].concat());
    (workshop, answer.success())
});

fn on_image(arguments: &[&str]) -> Answer {
    RUN.0.pixelllm(&[&["detect", "run", "--image", IMAGE], arguments].concat())
}

#[test]
fn detection_losses_are_written_shown_and_validated() {
    let (workshop, answer) = &*RUN;
    let steps = workshop.records("run", "step");
    assert_eq!(steps.len(), 6);
    for record in steps.iter().chain(&workshop.records("run", "validation")) {
        assert_eq!(record["task"], "detect");
        let loss = &record["detection_loss"];
        for part in ["total", "heatmap", "distances", "classes", "boxes"] {
            assert!(loss[part].as_f64().is_some_and(|value| value >= 0.0), "{part}: {record}");
        }
        assert!(loss["total"].as_f64() > Some(0.0));
        assert!(record["text_loss"].is_number() && record["point_loss"].is_null(), "{record}");
    }
    assert!(answer.stdout.contains(" detection "), "{}", answer.stdout);
    assert!(!answer.stderr.contains("model.boxes"), "{}", answer.stderr);
    assert!(workshop.read("run/report.html").contains("Detection loss"));
}

#[test]
fn the_same_seed_gives_the_same_steps() {
    let (workshop, _) = &*RUN;
    let arguments = ["train", DENSE, "--out", "again"];
    workshop.pixelllm(&[&arguments[..], &common::UNMEASURED].concat()).success();
    assert_eq!(workshop.steps("again"), workshop.steps("run"));
}

#[test]
fn the_evaluation_has_a_baseline_beside_every_value_and_pictures() {
    let (workshop, _) = &*RUN;
    let evaluation: Value = serde_json::from_str(&workshop.read("run/evaluation.json")).unwrap();
    for split in ["test", "held_out"] {
        for metric in ["map_exact", "map_boxes", "map_boxes_at_0.5", "recall_at_0.5"] {
            let score = &evaluation[split]["detect"][metric];
            for key in ["value", "baseline"] {
                let value = score[key].as_f64();
                assert!(
                    value.is_some_and(|v| (0.0..=1.0).contains(&v)),
                    "{split} {metric}: {score}"
                );
            }
            assert!(score["n"].as_u64() > Some(0), "{split} {metric}");
        }
        // Boxes all over the image find some regions whatever is in it.
        assert!(evaluation[split]["detect"]["recall_at_0.5"]["baseline"].as_f64() > Some(0.0));
    }
    let files = workshop.files("run");
    let pictures = files.keys().filter(|name| name.contains("overlays") && name.contains("detect"));
    assert_eq!(pictures.count(), 2);
}

#[test]
fn detections_are_the_same_in_text_and_in_json_and_limits_leave_the_surest() {
    let json = |arguments: &[&str]| -> Vec<Value> {
        let answer = on_image(&[&["--json", "--overlay", "a.png"], arguments].concat()).success();
        let result: Value = serde_json::from_str(&answer.stdout).unwrap();
        result["detections"].as_array().unwrap().clone()
    };
    let all = json(&[]);
    assert!(!all.is_empty() && all.len() <= 5, "{all:?}");
    let scores: Vec<f64> = all.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    for one in &all {
        let [x0, y0, x1, y1] =
            ["x0", "y0", "x1", "y1"].map(|key| one["bounds"][key].as_f64().unwrap());
        assert!(0.0 <= x0 && x0 < x1 && x1 <= 1.0 && 0.0 <= y0 && y0 < y1 && y1 <= 1.0, "{one}");
        assert!(one["caption"].is_string() && one["log_prob"].as_f64() <= Some(0.0), "{one}");
    }
    assert_eq!(json(&["--limit", "1"]), all[..1]);
    assert!(json(&["--min-score", "1"]).is_empty());
    // With one text for each box, rescoring gives the same boxes other scores.
    let rescored = json(&["--rescore"]);
    assert_eq!(rescored.len(), all.len());
    for one in &rescored {
        let before = all.iter().find(|other| other["bounds"] == one["bounds"]).unwrap();
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
        let expected = (number(before, "score") * number(before, "log_prob").exp()).sqrt();
        assert!((number(one, "score") - expected).abs() < 1e-5, "{one} {before}");
    }

    let text = on_image(&["--overlay", "b.png"]).success().stdout;
    let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), all.len(), "{text}");
    for (line, one) in lines.iter().zip(&all) {
        assert!(line.contains(&format!("{:.2}", one["score"].as_f64().unwrap())), "{line}");
        assert!(line.ends_with(one["caption"].as_str().unwrap()), "{line}");
    }
    let drawn = image::open(RUN.0.path("b.png")).unwrap().to_rgb8();
    assert!(drawn.width() >= 320);
}

#[test]
fn mistakes_are_said_with_what_to_do() {
    for wrong in ["2", "-1", "nan", "x"] {
        on_image(&[&format!("--min-score={wrong}")]).failure(2, &["from 0 to 1"]);
    }
    let (workshop, _) = &*RUN;
    let without = ["train", DENSE, "--out", "none", "--set", "model.boxes=false"];
    workshop.pixelllm(&without).failure(2, &["model.boxes", "[model.boxes]"]);
    let one_row = ["train", DENSE, "--out", "none", "--set", "data.sources.0.rows_per_image=1"];
    workshop.pixelllm(&one_row).failure(2, &["rows_per_image", "background"]);
}

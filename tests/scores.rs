//! `pixelllm score`: published measures of predictions in files.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pixelllm::metrics::caption_set::CaptionSet;
use pixelllm::metrics::coco::Captions;
use pixelllm::metrics::meteor::{DATA_VARIABLE, Meteor};
use serde_json::{Value, json};

use common::Workshop;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(Path::new(GOLDEN).join(path)).unwrap()).unwrap()
}

fn golden(path: &str) -> String {
    format!("{GOLDEN}/{path}")
}

/// Scores by name, of an answer in JSON.
fn scores(stdout: &str) -> BTreeMap<String, f64> {
    let answer: Value = serde_json::from_str(stdout).unwrap();
    let scores = answer["scores"].as_array().unwrap().iter();
    scores
        .map(|one| (one["name"].as_str().unwrap().to_string(), one["value"].as_f64().unwrap()))
        .collect()
}

#[track_caller]
fn close(found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= tolerance, "{found} {expected}");
}

fn write(workshop: &Workshop, name: &str, content: &Value) {
    fs::write(workshop.path(name), content.to_string()).unwrap();
}

#[test]
fn captions_score_as_in_the_coco_evaluation() {
    let workshop = Workshop::new();
    let folder = "vectors/caption_metrics";
    let annotations = golden(&format!("{folder}/annotations.json"));
    let results = golden(&format!("{folder}/results.json"));
    let answer = workshop
        .pixelllm(&[
            "score",
            "captions",
            "--references",
            &annotations,
            "--predictions",
            &results,
            "--format",
            "json",
            "--per-sample",
            "samples.json",
            "--confidence",
            "50",
        ])
        .success();
    let expected = read(&format!("{folder}/expected_scores.json"));
    let found = scores(&answer.stdout);
    for metric in ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"] {
        close(found[metric], &expected["corpus"][metric], 1e-6);
    }
    let samples: Value =
        serde_json::from_str(&fs::read_to_string(workshop.path("samples.json")).unwrap()).unwrap();
    assert_eq!(samples.as_array().unwrap().len(), expected["per_image"].as_object().unwrap().len());
    for sample in samples.as_array().unwrap() {
        let of_image = &expected["per_image"][sample["id"].to_string()];
        for metric in ["Bleu_4", "ROUGE_L", "CIDEr"] {
            close(sample["scores"][metric].as_f64().unwrap(), &of_image[metric], 1e-6);
        }
    }
}

#[test]
fn odd_captions_score_as_in_pycocoevalcap() {
    let golden = read("pycocoevalcap.json");
    // With METEOR's files, METEOR too.
    let with_files = Meteor::find(None).unwrap();
    let has_files = with_files.is_some();
    let meteor = with_files.unwrap_or_else(Meteor::exact_and_stem);
    if !has_files {
        println!("METEOR is not compared: {DATA_VARIABLE} is not set");
    }
    let mut set = CaptionSet::default();
    for (id, case) in golden["cases"].as_array().unwrap().iter().enumerate() {
        let texts: Vec<&str> = case["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        let captions = Captions::all_of(case["candidate"].as_str().unwrap(), &texts);
        assert_eq!(json!(captions.candidate), case["tokens"]["candidate"]);
        assert_eq!(json!(captions.references), case["tokens"]["references"]);
        set.add(id, captions).unwrap();
    }
    let found = set.scores(&meteor);
    for (column, name) in found.names.iter().enumerate() {
        if *name == "meteor_exact_stem" {
            continue;
        }
        let tolerance = if *name == "METEOR" { 1e-4 } else { 1e-6 };
        close(found.corpus[column], &golden["corpus"][*name], tolerance);
        for (id, scores) in &found.per_image {
            close(scores[column], &golden["cases"][*id]["scores"][*name], tolerance);
        }
    }
}

#[test]
fn expressions_dense_captions_and_traces_score_as_in_the_reference() {
    let workshop = Workshop::new();
    let expected = read("evaluators/refcoco_expected.json");
    write(&workshop, "located.json", &expected["predictions"]);
    let annotations = golden("evaluators/refcoco_annotations.json");
    let answer = workshop
        .pixelllm(&[
            "score",
            "referring",
            "--references",
            &annotations,
            "--predictions",
            "located.json",
            "--format",
            "json",
            "--allow-missing",
        ])
        .success();
    let found = scores(&answer.stdout);
    let metrics = &expected["metrics"];
    close(found["box_P@0.5"], &metrics["box_Precision@1"], 1e-6);
    close(found["mask_cIoU"], &metrics["seg_cIoU"], 1e-6);
    close(found["mask_gIoU"], &metrics["seg_gIoU"], 1e-6);
    close(found["mask_P@0.5"], &metrics["seg_AP"], 1e-6);

    let answer = workshop
        .pixelllm(&[
            "score",
            "dense",
            "--references",
            &golden("evaluators/densecap_annotations.json"),
            "--predictions",
            &golden("evaluators/densecap_predictions.json"),
            "--format",
            "json",
        ])
        .success();
    let found = scores(&answer.stdout);
    let expected = &read("evaluators/densecap_expected.json")["meteor=0,ignore_empty=1"];
    for (metric, expected) in expected.as_object().unwrap() {
        close(found[metric], expected, 1e-6);
    }
    let name =
        if std::env::var_os(DATA_VARIABLE).is_some() { "mAP" } else { "mAP_meteor_exact_stem" };
    assert!(found.contains_key(name), "{found:?}");

    let inputs = golden("evaluators/point_inputs.json");
    let answer = workshop
        .pixelllm(&[
            "score",
            "traces",
            "--references",
            &inputs,
            "--predictions",
            &inputs,
            "--format",
            "json",
        ])
        .success();
    let expected = read("evaluators/point_expected.json");
    // The reference counts images without places as images without error; here they are left out.
    let with_places: Vec<f64> = expected["per_example"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .filter(|error| *error > 0.0)
        .collect();
    let mean = with_places.iter().sum::<f64>() / with_places.len() as f64;
    close(scores(&answer.stdout)["point_l1"], &json!(mean), 1e-6);
}

#[test]
fn words_are_grounded_where_their_point_is_in_their_object() {
    let workshop = Workshop::new();
    // 4 × 3 pixels with 2 × 2 inside, at (1, 1).
    let mask = json!({"size": [3, 4], "counts": "42102"});
    let reference = json!([{
        "image_id": "a", "size": [3, 4], "text_tokens": [[5, 6, 7]], "masks": [mask],
        "points": [[[[1, 1], [3, 3]], [[1, 1], [3, 3]], [[1, 1], [3, 3]]]], "word_masks": [[0, 0, null]],
    }]);
    write(&workshop, "references.json", &reference);
    let prediction = json!([{"image_id": "a", "point_coords": [[[[1, 1], [3, 3]], [[0, 0], [1, 1]], [[0, 0], [4, 3]]]]}]);
    write(&workshop, "predictions.json", &prediction);
    let answer = workshop.pixelllm(&[
        "score",
        "traces",
        "--references",
        "references.json",
        "--predictions",
        "predictions.json",
        "--format",
        "json",
    ]);
    let found = scores(&answer.success().stdout);
    assert_eq!(found["word_grounding_recall"], 0.5);
    // 1, 0, and 4 of 12 pixels.
    assert!((found["word_box_iou"] - (1.0 + 0.0 + 4.0 / 12.0) / 3.0).abs() < 1e-6);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_the_id() {
    let workshop = Workshop::new();
    let references = json!({
        "images": [{"id": 1, "height": 3, "width": 4}, {"id": 2, "height": 3, "width": 4}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [1, 1, 2, 2], "caption": "a cat",
             "segmentation": {"size": [3, 4], "counts": "42102"}},
            {"id": 2, "image_id": 2, "bbox": [1, 1, 2, 2], "caption": "a dog",
             "segmentation": {"size": [3, 4], "counts": "42102"}},
        ],
    });
    write(&workshop, "references.json", &references);
    let one = json!({"id": 1, "image_id": 1, "score": 1, "bbox": [1, 1, 2, 2], "caption": "a cat"});
    let two = json!({"id": 2, "image_id": 2, "score": 1, "bbox": [1, 1, 2, 2], "caption": "a dog"});
    let with = |of: &Value, key: &str, value: Value| {
        let mut other = of.clone();
        other[key] = value;
        other
    };
    let small = json!({"size": [2, 2], "counts": "04"});
    let nan = json!([null, 1, 2, 2]);
    let wrong = [
        ("captions", json!([one, two, two]), "image 2 has two captions"),
        ("captions", json!([one]), "image 2 has no prediction"),
        (
            "captions",
            json!([one, two, with(&one, "image_id", json!(7))]),
            "image 7 has no reference",
        ),
        ("referring", json!([one, two, one]), "expression 1 has two predictions"),
        ("referring", json!([with(&one, "bbox", nan.clone()), two]), "expression 1: a coordinate"),
        (
            "referring",
            json!([with(&one, "segmentation", small.clone()), with(&two, "segmentation", small)]),
            "expression 1: its mask is of 2",
        ),
        ("referring", json!([one]), "expression 2 has no prediction"),
        (
            "referring",
            json!([one, two, with(&one, "id", json!("x"))]),
            "expression x has no reference",
        ),
        ("dense", json!([with(&two, "bbox", nan)]), "image 2: a detection: a coordinate"),
        ("dense", json!([with(&one, "image_id", json!(9))]), "image 9 has detections"),
    ];
    for (kind, predictions, problem) in wrong {
        write(&workshop, "predictions.json", &predictions);
        let arguments =
            ["score", kind, "--references", "references.json", "--predictions", "predictions.json"];
        let answer = workshop.pixelllm(&arguments);
        assert_eq!(answer.code, Some(1), "{kind} {problem}: {}", answer.said());
        assert!(answer.said().contains(problem), "{problem}: {}", answer.said());
    }
    write(&workshop, "predictions.json", &json!([one, with(&one, "image_id", json!(7))]));
    let answer = workshop
        .pixelllm(&[
            "score",
            "captions",
            "--references",
            "references.json",
            "--predictions",
            "predictions.json",
            "--allow-missing",
            "--format",
            "markdown",
        ])
        .success();
    assert!(answer.stdout.contains("| Bleu_1"), "{}", answer.stdout);
    assert!(answer.stdout.contains("1 samples"), "{}", answer.stdout);
    assert!(answer.stdout.contains("such as 2") && answer.stdout.contains("such as 7"));
    // As Python writes what is no number.
    let text = r#"[{"id": 1, "bbox": [NaN, 1, 2, 2]}]"#;
    fs::write(workshop.path("predictions.json"), text).unwrap();
    let answer = workshop.pixelllm(&[
        "score",
        "referring",
        "--references",
        "references.json",
        "--predictions",
        "predictions.json",
        "--allow-missing",
    ]);
    assert!(answer.said().contains("expression 1: a coordinate"), "{}", answer.said());
}

#[test]
fn what_is_wrong_with_traces_is_said_with_the_id_of_the_image() {
    let workshop = Workshop::new();
    let target = |id: &str| {
        json!({"image_id": id, "size": [3, 4], "points": [[[[1, 2]]]], "text_tokens": [[5]],
               "masks": [{"size": [3, 4], "counts": "42102"}], "word_masks": [[0]]})
    };
    let prediction = |id: &str| json!({"image_id": id, "point_coords": [[[[1.0, 2.0]]]]});
    let references = json!([target("a"), target("b")]);
    let score = |references: &Value, predictions: &str, more: &[&str]| {
        write(&workshop, "references.json", references);
        fs::write(workshop.path("predictions.json"), predictions).unwrap();
        let files = ["--references", "references.json", "--predictions", "predictions.json"];
        workshop.pixelllm(&[&["score", "traces"], files.as_slice(), more].concat())
    };
    let both = json!([prediction("a"), prediction("b")]).to_string();
    let mut small = references.clone();
    small[1]["masks"][0] = json!({"size": [2, 2], "counts": "04"});
    for (references, predictions, problem) in [
        (&references, json!([prediction("a")]).to_string(), "image b has no prediction"),
        (
            &references,
            json!([prediction("a"), prediction("b"), prediction("c")]).to_string(),
            "image c has no reference",
        ),
        (
            &references,
            json!([prediction("a"), prediction("b"), prediction("b")]).to_string(),
            "image b is there twice",
        ),
        (&references, both.replacen("1.0", "NaN", 1), "image a: "),
        (&small, both.clone(), "image b: a mask has another size"),
    ] {
        let answer = score(references, &predictions, &[]);
        assert_eq!(answer.code, Some(1), "{problem}: {}", answer.said());
        assert!(answer.said().contains(problem), "{problem}: {}", answer.said());
    }
    let answer = score(&references, &both, &["--format", "json"]).success();
    assert!(!answer.stdout.contains("left out"), "{}", answer.stdout);
    let other = json!([prediction("a"), prediction("c"), prediction("d")]).to_string();
    let answer = score(&references, &other, &["--allow-missing"]).success();
    for note in ["1 samples", "1 images without prediction", "2 images without reference"] {
        assert!(answer.stdout.contains(note), "{note}: {}", answer.stdout);
    }
}

#[test]
fn expressions_and_regions_of_one_file_only_are_counted_where_that_is_allowed() {
    let workshop = Workshop::new();
    let references = json!({
        "images": [{"id": 1, "height": 3, "width": 4}],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [1, 1, 2, 2], "caption": "a cat"},
            {"id": 2, "image_id": 1, "bbox": [1, 1, 2, 2], "caption": "a dog"},
        ],
    });
    write(&workshop, "references.json", &references);
    let one = |id: u32| json!({"id": id, "image_id": id, "score": 1, "bbox": [1, 1, 2, 2], "caption": "a cat"});
    write(&workshop, "predictions.json", &json!([one(1), one(7), one(8), one(9)]));
    for (kind, notes) in [
        ("referring", ["1 samples", "1 expressions without prediction are left out, such as 2"]),
        ("referring", ["1 samples", "3 expressions without reference are left out, such as 7"]),
        ("dense", ["1 samples", "3 detections in images that are not annotated are left out"]),
    ] {
        let files = ["--references", "references.json", "--predictions", "predictions.json"];
        let arguments = [&["score", kind], files.as_slice(), &["--allow-missing"]].concat();
        let answer = workshop.pixelllm(&arguments).success();
        for note in notes {
            assert!(answer.stdout.contains(note), "{note}: {}", answer.stdout);
        }
    }
}

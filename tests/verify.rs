//! `pixelllm verify`: the components compute what the original implementation computes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use common::Workshop;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors");
const EVALUATORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/evaluators");
const NARRATIVES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/localized_narratives");

fn vectors(name: &str) -> String {
    format!("{VECTORS}/{name}")
}

#[test]
fn every_component_agrees_with_the_original() {
    let answer = Workshop::new().pixelllm(&["verify", VECTORS]);
    println!("{}", answer.stdout);
    assert_eq!(answer.code, Some(0), "{}", answer.said());
    let passed = answer.stdout.lines().filter(|line| line.contains("passed")).count();
    assert!(passed > 250, "{passed}");
}

#[test]
fn metrics_and_places_of_narratives_agree_with_the_original() {
    let answer = Workshop::new().pixelllm(&["verify", EVALUATORS, NARRATIVES]);
    assert_eq!(answer.code, Some(0), "{}", answer.said());
    for output in ["point_l1", "densecap.", "segmentation", "merge_reference", "grid3_points"] {
        let mut lines = answer.stdout.lines();
        assert!(lines.any(|line| line.contains(output) && line.contains("passed")), "{output}");
    }
}

#[test]
fn one_wrong_metric_fails_and_is_named() {
    let workshop = Workshop::new();
    let folder = workshop.path("evaluators");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(EVALUATORS).unwrap() {
        let entry = entry.unwrap();
        let mut text = fs::read_to_string(entry.path()).unwrap();
        if entry.file_name() == "refcoco_expected.json" {
            text = text.replacen("\"seg_cIoU\": 0.48", "\"seg_cIoU\": 0.49", 1);
        }
        fs::write(folder.join(entry.file_name()), text).unwrap();
    }
    let answer = workshop.pixelllm(&["verify", "evaluators"]);
    assert_eq!(answer.code, Some(1), "{}", answer.said());
    let failed: Vec<_> = answer.stdout.lines().filter(|line| line.contains("FAILED")).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].contains("seg_cIoU"), "{}", failed[0]);
}

/// A copy of a file of vectors with the last byte of its data changed: the sign and exponent of the last
/// number of the last tensor, which is an output.
fn spoilt(from: &str, to: &Path) {
    let mut bytes = fs::read(from).unwrap();
    *bytes.last_mut().unwrap() ^= 0xc0;
    fs::write(to, bytes).unwrap();
}

#[test]
fn one_wrong_number_fails_and_is_named() {
    let workshop = Workshop::new();
    let file = workshop.path("spoilt.safetensors");
    spoilt(&vectors("sam_vit.safetensors"), &file);
    let answer = workshop.pixelllm(&["verify", "spoilt.safetensors"]);
    assert_eq!(answer.code, Some(1), "{}", answer.said());
    let line = answer.stdout.lines().find(|line| line.contains("FAILED")).unwrap();
    assert!(line.contains("1 of"), "{line}");
}

/// Changes one setting in the metadata without changing the length of the header.
fn with_setting(from: &str, to: &Path, setting: &str, changed: &str) {
    assert_eq!(setting.len(), changed.len());
    let bytes = fs::read(from).unwrap();
    let at = bytes.windows(setting.len()).position(|part| part == setting.as_bytes()).unwrap();
    let changed = [&bytes[..at], changed.as_bytes(), &bytes[at + setting.len()..]].concat();
    fs::write(to, changed).unwrap();
}

#[test]
fn a_setting_that_is_not_built_is_refused_and_not_ignored() {
    let workshop = Workshop::new();
    let file = workshop.path("other.safetensors");
    let (setting, changed) = (r#"\"use_ln_pre\": false"#, r#"\"use_ln_pre\": true "#);
    with_setting(&vectors("sam_vit.safetensors"), &file, setting, changed);
    let answer = workshop.pixelllm(&["verify", "other.safetensors"]);
    assert_eq!(answer.code, Some(1), "{}", answer.said());
    assert!(answer.stdout.contains("`use_ln_pre` is true"), "{}", answer.stdout);
}

#[test]
fn what_is_not_implemented_fails_only_when_asked_for() {
    let workshop = Workshop::new();
    let file = workshop.path("unknown.safetensors");
    let (component, changed) = (r#""component":"sam_vit""#, r#""component":"sam_xyz""#);
    with_setting(&vectors("sam_vit.safetensors"), &file, component, changed);
    let answer = workshop.pixelllm(&["verify", "unknown.safetensors"]).success();
    assert!(answer.stdout.contains("not implemented"), "{}", answer.stdout);
    assert_eq!(workshop.pixelllm(&["verify", "--all", "unknown.safetensors"]).code, Some(1));
}

#[test]
fn a_place_without_vectors_is_said_to_have_none() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("empty")).unwrap();
    let answer = workshop.pixelllm(&["verify", "empty"]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("no golden vectors"), "{}", answer.stderr);
}

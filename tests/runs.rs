//! Runs beside each other, and what is written beside `metrics.jsonl`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use serde_json::Value;

use common::{UNMEASURED, Workshop, set};

/// One world for all tests; each has run directories of its own.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::shared);

/// Two runs that differ in their seeds and in what is written beside `metrics.jsonl`.
static RUNS: LazyLock<()> = LazyLock::new(|| {
    WORKSHOP.train("runs/one", &set(&["seed=1"])).success();
    let logged = ["seed=2", "logging.csv=true", "logging.tensorboard=true"];
    WORKSHOP.train("runs/two", &set(&logged)).success();
});

#[test]
fn runs_are_listed_with_their_state_steps_and_metrics() {
    LazyLock::force(&RUNS);
    let list = WORKSHOP.pixelllm(&["runs", "list"]).success();
    for part in ["runs/one", "runs/two", "finished", "6/6", "test.locate.precision_at_0.5"] {
        assert!(list.stdout.contains(part), "{part}: {}", list.stdout);
    }
    let json = WORKSHOP.pixelllm(&["runs", "list", "runs", "--json"]).success();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    let evaluation: Value =
        serde_json::from_str(&WORKSHOP.read("runs/two/evaluation.json")).unwrap();
    let two = &json[1];
    assert_eq!((&two["state"], &two["step"]), (&"finished".into(), &6.into()));
    assert_eq!(
        two["metrics"]["test.locate.mean_iou"],
        evaluation["test"]["locate"]["mean_iou"]["value"]
    );
    assert!(two["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{two}");
    let steps = WORKSHOP.records("runs/two", "step");
    let mean = steps.iter().map(|step| step["loss"].as_f64().unwrap()).sum::<f64>() / 6.0;
    assert!((two["loss"].as_f64().unwrap() - mean).abs() < 1e-9);

    let empty = Workshop::new();
    fs::create_dir(empty.path("runs")).unwrap();
    let said = empty.pixelllm(&["runs", "list"]).success();
    assert!(said.stdout.contains("no runs in runs"), "{}", said.stdout);
    empty.pixelllm(&["runs", "list", "nowhere"]).failure(1, &["cannot read nowhere"]);
}

#[test]
fn runs_are_compared_key_by_key_and_metric_by_metric() {
    LazyLock::force(&RUNS);
    let compare = |format: &str| {
        let arguments = ["runs", "compare", "runs/one", "runs/two", "--format", format];
        WORKSHOP.pixelllm(&arguments).success().stdout
    };
    let json: Value = serde_json::from_str(&compare("json")).unwrap();
    let keys: Vec<_> = json["experiments"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["logging.csv", "logging.tensorboard", "seed"]);
    assert_eq!(json["experiments"]["seed"], serde_json::json!([1, 2]));
    let row = json["metrics"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["name"] == "test.narrate.trace_error").unwrap();
    assert_eq!(row["lower_is_better"], true);
    let [one, two] = [0, 1].map(|run| row["values"][run].as_f64().unwrap());
    assert!((row["differences"][1].as_f64().unwrap() - (two - one)).abs() < 1e-12);
    assert!(compare("table").contains("validation.locate.loss ↓"));
    assert!(compare("markdown").contains("| `seed` | 1 | 2 |"));
    let alone = WORKSHOP.pixelllm(&["runs", "compare", "runs/one"]);
    alone.failure(2, &["nothing to compare", "two runs or more"]);
    let missing = WORKSHOP.pixelllm(&["runs", "compare", "runs/one", "runs/none"]);
    missing.failure(1, &["run runs/none: does not exist"]);
}

#[test]
fn curves_are_drawn_as_svg_png_and_a_page() {
    LazyLock::force(&RUNS);
    let plot = |out: &str, more: &[&str]| {
        let arguments = ["runs", "plot", "runs/one", "runs/two", "--out", out];
        WORKSHOP.pixelllm(&[&arguments, more].concat())
    };
    plot("a.svg", &["--chart", "Loss"]).success();
    let svg = WORKSHOP.read("a.svg");
    // Three tasks, two runs.
    assert_eq!(svg.matches("<path class=\"smooth\"").count(), 6, "{svg}");
    assert!(svg.contains("runs/one") && svg.contains("runs/two"));
    plot("a.png", &[]).success();
    let png = image::load_from_memory(&fs::read(WORKSHOP.path("a.png")).unwrap()).unwrap();
    assert!(png.width() > 500 && png.height() > 500);
    plot("a.html", &[]).success();
    assert!(WORKSHOP.read("a.html").starts_with("<!DOCTYPE html>"));
    plot("a.pdf", &[]).failure(2, &["cannot draw a file called a.pdf", ".svg, .png or .html"]);
    plot("b.svg", &["--chart", "Los"]).failure(2, &["none of the runs has Los"]);
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 }
        })
    })
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// The records of an event file, whose checksums are checked.
fn events(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(number(8), masked(&rest[..8]));
        let record = &rest[12..12 + length];
        assert_eq!(number(12 + length), masked(record));
        found.push(record);
        rest = &rest[16 + length..];
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// The fields of a protobuf message: number, and the bytes or the number that it is.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                let value = varint(&mut bytes);
                found.push((key >> 3, value.to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    found
}

/// Every number below a folder of event files, by its tag and step; none is there twice.
fn scalars(folder: &str) -> BTreeMap<(String, u64), f32> {
    let mut found = BTreeMap::new();
    let files = WORKSHOP.files(folder);
    assert_eq!(files.len(), 1, "{:?}", files.keys());
    for bytes in files.values() {
        let records = events(bytes);
        assert!(fields(records[0]).contains(&(3, b"brain.Event:2".to_vec())));
        for record in records {
            let event = fields(record);
            let field = |number: u64| event.iter().find(|(field, _)| *field == number);
            let time = f64::from_le_bytes(field(1).unwrap().1[..].try_into().unwrap());
            assert!(time > 1.7e9, "{time}");
            let Some((_, summary)) = field(5) else { continue };
            let step = u64::from_le_bytes(field(2).unwrap().1[..].try_into().unwrap());
            for (_, value) in fields(summary) {
                let value = fields(&value);
                let tag = String::from_utf8(value[0].1.clone()).unwrap();
                let number = f32::from_le_bytes(value[1].1[..].try_into().unwrap());
                assert_eq!(found.insert((tag.clone(), step), number), None, "{tag} {step}");
            }
        }
    }
    found
}

/// What event files should have of these records.
fn expected(records: &[Value]) -> BTreeMap<(String, u64), f32> {
    let mut wanted = BTreeMap::new();
    for record in records {
        let (task, step) = (record["task"].as_str().unwrap(), record["step"].as_u64().unwrap());
        for (key, value) in record.as_object().unwrap() {
            let Some(value) = value.as_f64() else { continue };
            let tag = match key.as_str() {
                "step" | "time" => continue,
                loss if loss.ends_with("loss") => format!("{task}/{loss}"),
                other => format!("step/{other}"),
            };
            wanted.insert((tag, step), value as f32);
        }
    }
    wanted
}

#[test]
fn event_files_have_every_number_of_the_records_and_of_the_evaluation() {
    LazyLock::force(&RUNS);
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    let board = |part: &str| scalars(&format!("runs/two/tensorboard/{part}"));
    assert_eq!(board("train"), expected(&WORKSHOP.records("runs/two", "step")));
    assert_eq!(board("validation"), expected(&WORKSHOP.records("runs/two", "validation")));
    let evaluation: Value =
        serde_json::from_str(&WORKSHOP.read("runs/two/evaluation.json")).unwrap();
    let error = evaluation["test"]["narrate"]["trace_error"]["value"].as_f64().unwrap();
    let measured = board("evaluation");
    assert_eq!(measured[&("test/narrate/trace_error".to_string(), 6)], error as f32);
    assert!(!WORKSHOP.path("runs/one/tensorboard").exists());
}

#[test]
fn the_table_has_the_numbers_of_the_records() {
    LazyLock::force(&RUNS);
    let table = WORKSHOP.read("runs/two/metrics.csv");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let rows: Vec<_> = lines.collect();
    let records: Vec<Value> = WORKSHOP
        .read("runs/two/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!(row.len(), names.len());
        for (name, cell) in names.iter().zip(row) {
            match &record[*name] {
                Value::String(text) => assert_eq!(cell, text),
                Value::Number(number) => {
                    assert_eq!(cell.parse::<f64>().unwrap(), number.as_f64().unwrap(), "{name}");
                }
                _ => assert!(cell.is_empty(), "{name}: {cell}"),
            }
        }
    }
    assert!(!WORKSHOP.path("runs/one/metrics.csv").exists());
}

#[test]
fn a_resumed_run_has_no_step_twice_and_its_logs_may_begin_late() {
    let long = ["training.max_steps=40", "training.checkpoint_every_steps=10"];
    let long = [set(&long), UNMEASURED.to_vec()].concat();
    let mut child = WORKSHOP.begin("late/run", &long, 12);
    WORKSHOP.wait_for("late/run/checkpoint/state-1.json");
    child.kill().unwrap();
    child.wait().unwrap();
    let logged = set(&["logging.csv=true", "logging.tensorboard=true"]);
    WORKSHOP.train("late/run", &[long, logged, vec!["--resume"]].concat()).success();
    let train = scalars("late/run/tensorboard/train");
    assert_eq!(train, expected(&WORKSHOP.records("late/run", "step")));
    let losses = train.keys().filter(|(tag, _)| tag.ends_with("/loss")).count();
    assert_eq!(losses, 40);
    let table = WORKSHOP.read("late/run/metrics.csv");
    assert_eq!(table.lines().filter(|line| line.starts_with("step,")).count(), 40);
}

#[test]
fn a_profile_has_every_stage_and_changes_nothing_of_what_is_learnt() {
    let steps = |run: &str, more: &[&str]| {
        let parts = set(&["training.parallel_parts=2", "model.language.dropout=0"]);
        let answer = WORKSHOP.train(run, &[parts, UNMEASURED.to_vec(), more.to_vec()].concat());
        (answer.success(), WORKSHOP.steps(run))
    };
    let (profiled, with) = steps("profiled", &["--profile", "3"]);
    let (plain, without) = steps("plain", &[]);
    assert_eq!(with, without);
    for name in
        ["data", "vision", "prompt adapter", "language", "heads", "loss", "backward", "optimiser"]
    {
        assert!(profiled.stdout.contains(&format!("│ {name} ")), "{name}: {}", profiled.stdout);
        assert!(!plain.stdout.contains("optimiser"));
    }
    let profile: Value = serde_json::from_str(&WORKSHOP.read("profiled/profile.json")).unwrap();
    assert_eq!(profile["steps"], 3);
    let stages = profile["stages"].as_array().unwrap();
    let seconds: Vec<f64> = stages.iter().map(|stage| stage["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.iter().all(|seconds| *seconds > 0.0), "{profile}");
    let whole = profile["seconds"].as_f64().unwrap();
    let sum: f64 = seconds.iter().sum();
    assert!(sum <= whole && sum > whole * 0.5, "{profile}");
    assert!(!WORKSHOP.path("plain/profile.json").exists());
}

//! Training from the command line: the same again, stopped and resumed, and what a run leaves behind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::HashMap;
use std::process::Child;
use std::sync::LazyLock;

use pixelllm::data::alignment::Alignment;
use pixelllm::data::formats::{self, Format};
use pixelllm::data::sample::Task;
use pixelllm::data::tokenizer::Tokenizer;
use pixelllm::experiment;
use pixelllm::geometry::BoundingBox;
use serde_json::Value;

use common::{Answer, EXPERIMENT, UNMEASURED, Workshop, set};

/// One world for all tests; each has a run directory of its own.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::shared);

/// A run that is long enough to be cut off in the middle, about a second.
const LONG: [&str; 3] =
    ["training.max_steps=60", "training.checkpoint_every_steps=10", "checkpoints.keep_last=6"];

fn long() -> Vec<&'static str> {
    [set(&LONG), UNMEASURED.to_vec()].concat()
}

/// What the steps of the long run measure when nothing happens to it.
static UNINTERRUPTED: LazyLock<Vec<Value>> = LazyLock::new(|| {
    WORKSHOP.train("uninterrupted", &long()).success();
    WORKSHOP.steps("uninterrupted")
});

/// A whole run, as a user has it.
static RUN: LazyLock<Answer> = LazyLock::new(|| {
    let arguments = set(&["data.splits.evaluation=[\"test\", \"held_out\"]"]);
    WORKSHOP.train("run", &arguments).success()
});

/// Header (names, shapes, places) and numbers of `run`'s weights. The file's own bytes have the keys of
/// the header in any order.
fn tensors(workshop: &Workshop, run: &str) -> (Value, Vec<u8>) {
    let bytes = std::fs::read(workshop.path(run).join("weights.safetensors")).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), numbers.to_vec())
}

/// Those of the smallest experiment.
const TASKS: [Task; 3] = [Task::Narrate, Task::Describe, Task::Locate];

fn losses(steps: &[Value], key: &str) -> Vec<f64> {
    steps.iter().filter_map(|step| step[key].as_f64()).collect()
}

#[test]
fn the_same_seed_gives_the_same_losses_to_the_last_digit() {
    let twenty = ["training.max_steps=20", "training.checkpoint_every_steps=20"];
    let steps = |run: &str, seed: &str| {
        let arguments = [set(&twenty), set(&[seed]), UNMEASURED.to_vec()].concat();
        WORKSHOP.train(run, &arguments).success();
        WORKSHOP.steps(run)
    };
    let (first, again, other) = (steps("a", "seed=1"), steps("b", "seed=1"), steps("c", "seed=2"));
    assert_eq!(first.len(), 20);
    for task in TASKS {
        assert!(first.iter().any(|step| step["task"] == task.name()), "no step to {}", task.name());
    }
    assert_eq!(first, again);
    let (losses, others) = (losses(&first, "loss"), losses(&other, "loss"));
    assert!(losses.iter().zip(&others).all(|(one, other)| one != other), "{losses:?} {others:?}");
}

/// What answers reach that do not look at the image or at the words before: the entropy of the tokens
/// of `run`'s narratives (nats per token), and the mean distance of their places from the best box that
/// is the same for all.
fn blind_answers(workshop: &Workshop, run: &str) -> (f64, f64) {
    let tokenizer = Tokenizer::from_file(workshop.path(run).join("tokenizer.json")).unwrap();
    let annotations = workshop.path("world/annotations/narratives_train.jsonl");
    let images = workshop.path("world/images/train");
    let narratives =
        formats::load(Format::LocalizedNarratives, Task::Narrate, &annotations, &images).unwrap();
    let mut counts: HashMap<i64, f64> = HashMap::new();
    let mut places: Vec<BoundingBox> = Vec::new();
    for row in narratives.samples.iter().flat_map(|sample| &sample.rows) {
        let encoded = tokenizer.encode(&row.text, 48).unwrap();
        for id in &encoded.ids[1..] {
            *counts.entry(*id).or_default() += 1.0;
        }
        places.extend(Alignment::Offsets.align(&row.locations, &encoded.offsets).iter().flatten());
    }
    let total: f64 = counts.values().sum();
    let entropy = counts.values().map(|count| -(count / total) * (count / total).ln()).sum();
    let spread = |edge: usize| {
        let mut values: Vec<f32> = places.iter().map(|place| place.to_array()[edge]).collect();
        values.sort_by(f32::total_cmp);
        let median = values[values.len() / 2];
        values.iter().map(|value| f64::from((value - median).abs())).sum::<f64>()
            / values.len() as f64
    };
    (entropy, (0..4).map(spread).sum::<f64>() / 4.0)
}

/// 30 steps on the same four images and narratives. A loss that goes down only as far as
/// `blind_answers` has learnt how often each token occurs and where things are on the whole; half of
/// that is out of reach without telling the images, and the words of each, apart. (With a learning
/// rate of 0.01 the losses end at a fifth and at a third of the blind ones.)
#[test]
fn thirty_steps_on_one_batch_drive_both_losses_below_half_of_what_blind_answers_reach() {
    let workshop = Workshop::new();
    let overrides = [
        "data.shapes.world.train_images=4",
        "training.batch_size=4",
        "data.sources.1.weight=0",
        "data.sources.2.weight=0",
        "model.language.dropout=0",
        "optimizer.learning_rate=1e-2",
        "training.max_steps=30",
        "training.checkpoint_every_steps=30",
        "training.validation_batches=0",
    ];
    workshop.train("run", &[set(&overrides), UNMEASURED.to_vec()].concat()).success();
    let steps = workshop.steps("run");
    let (text, point) = (losses(&steps, "text_loss"), losses(&steps, "point_loss"));
    assert_eq!((text.len(), point.len()), (30, 30));
    let (blind_text, blind_point) = blind_answers(&workshop, "run");
    println!("text {} → {}, blind {blind_text}", text[0], text[29]);
    println!("point {} → {}, blind {blind_point}", point[0], point[29]);
    assert!(text[0] > blind_text && point[0] > blind_point, "{} {}", text[0], point[0]);
    assert!(text[29] < blind_text / 2.0, "{text:?}, blind {blind_text}");
    assert!(point[29] < blind_point / 2.0, "{point:?}, blind {blind_point}");
}

#[test]
fn a_run_that_was_killed_goes_on_from_its_last_checkpoint_as_if_nothing_had_happened() {
    let mut child = WORKSHOP.begin("killed", &long(), 13);
    // Checkpoints are written while training goes on.
    WORKSHOP.wait_for("killed/checkpoint/state-1.json");
    // SIGKILL: no handler runs, nothing is flushed.
    child.kill().unwrap();
    child.wait().unwrap();
    let done = WORKSHOP.steps_done("killed");
    assert!(done < 60, "it was too fast to be cut off");
    let state: Value =
        serde_json::from_str(&WORKSHOP.read("killed/checkpoint/state-1.json")).unwrap();
    assert_eq!(state["step"], 10);

    let resumed = [long(), vec!["--resume"]].concat();
    WORKSHOP.train("killed", &resumed).success();
    // Each step once, the same numbers as without the interruption: weights, moments of the optimizer,
    // learning rate, order of the data, dropout.
    assert_eq!(WORKSHOP.steps("killed"), *UNINTERRUPTED);
    let validation = |run| WORKSHOP.records(run, "validation");
    assert_eq!(validation("killed"), validation("uninterrupted"));
    assert!(tensors(&WORKSHOP, "killed") == tensors(&WORKSHOP, "uninterrupted"));
}

#[test]
fn a_run_that_was_killed_before_its_first_checkpoint_begins_again_and_says_so() {
    let without_checkpoints = [long(), set(&["training.checkpoint_every_steps=60"])].concat();
    let mut child = WORKSHOP.begin("early", &without_checkpoints, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(WORKSHOP.steps_done("early") < 60, "it was too fast to be cut off");
    let resumed = [without_checkpoints, vec!["--resume"]].concat();
    WORKSHOP.train("early", &resumed).success().says(&["early has no checkpoint yet"]);
    assert_eq!(WORKSHOP.steps("early"), *UNINTERRUPTED);
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let command = format!("kill -{name} {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_termination_end_with_a_checkpoint_and_the_command_that_goes_on() {
    for name in ["INT", "TERM"] {
        let run = format!("stopped-{name}");
        let one_checkpoint = [long(), set(&["training.checkpoint_every_steps=60"])].concat();
        let child = WORKSHOP.begin(&run, &one_checkpoint, 3);
        signal(&child, name);
        let answer = Answer::of(child).failure(130, &["Stopping after this step"]);
        let state: Value =
            serde_json::from_str(&WORKSHOP.read(&format!("{run}/checkpoint/state-1.json")))
                .unwrap();
        let step = state["step"].as_u64().unwrap();
        assert!((3..60).contains(&step), "{step}");
        assert!(
            answer.stdout.contains(&format!("Stopped after {step} steps")),
            "{}",
            answer.stdout
        );
        assert!(!WORKSHOP.path(&run).join("weights.safetensors").exists());

        let command = answer.stdout.lines().find_map(|line| line.trim().strip_prefix("pixelllm "));
        WORKSHOP.shell(command.unwrap_or_else(|| panic!("{}", answer.stdout))).success();
        assert_eq!(WORKSHOP.steps(&run), *UNINTERRUPTED, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_measuring_ends_at_once_and_leaves_the_weights() {
    // The same split over and over, so that there is time to interrupt.
    let splits = format!("data.splits.evaluation=[{}]", ["\"test\""; 200].join(","));
    let child = WORKSHOP.begin("unmeasured", &set(&[splits.as_str()]), 6);
    WORKSHOP.wait_for("unmeasured/weights.safetensors");
    signal(&child, "INT");
    Answer::of(child).failure(130, &["`pixelllm eval RUN` measures them"]);
    assert!(!WORKSHOP.path("unmeasured/evaluation.json").exists());
}

#[test]
fn a_finished_run_that_is_resumed_is_measured_again_and_not_trained() {
    WORKSHOP.train("finished", &[]).success();
    let (before, weights) = (WORKSHOP.files("finished"), tensors(&WORKSHOP, "finished"));
    WORKSHOP.train("finished", &["--resume"]).success();
    let after = WORKSHOP.files("finished");
    assert!(tensors(&WORKSHOP, "finished") == weights);
    for name in ["metrics.jsonl", "evaluation.json", "experiment.toml"] {
        assert!(before[name] == after[name], "{name} has changed");
    }
}

#[test]
fn only_a_run_can_be_resumed_and_only_with_its_own_experiment() {
    LazyLock::force(&RUN);
    let before = WORKSHOP.files("run");
    let splits = set(&["data.splits.evaluation=[\"test\", \"held_out\"]"]);
    let changed = set(&["optimizer.learning_rate=1e-4", "model.language.width=16"]);
    WORKSHOP.train("run", &[splits, changed, vec!["--resume"]].concat()).failure(
        1,
        &["run run:", "model.language.width, optimizer.learning_rate", "run/experiment.toml"],
    );
    WORKSHOP.train("run", &[]).failure(1, &["run run: holds a run already", "--resume", "--out"]);
    assert!(WORKSHOP.files("run") == before, "a refused command changed the run");

    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("empty")).unwrap();
    for folder in ["empty", "nowhere"] {
        let answer = workshop.train(folder, &["--resume"]);
        answer.failure(1, &["run", folder, "holds no run to resume", "without --resume"]);
    }
    assert!(workshop.files("empty").is_empty() && !workshop.path("nowhere").exists());
}

#[test]
fn every_step_writes_its_figures() {
    LazyLock::force(&RUN);
    let steps = WORKSHOP.records("run", "step");
    let numbers: Vec<_> = steps.iter().map(|step| step["step"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    for step in &steps {
        for key in ["loss", "gradient_norm", "learning_rate", "samples_per_second"] {
            assert!(step[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {step}");
        }
        let share = step["data_wait_share"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{step}");
        // Narratives learn text and points, descriptions text, expressions points.
        let (text, point) = match step["task"].as_str().unwrap() {
            "narrate" => (true, true),
            "describe" => (true, false),
            "locate" => (false, true),
            other => panic!("{other}"),
        };
        assert_eq!((step["text_loss"].is_number(), step["point_loss"].is_number()), (text, point));
    }
    // Warm-up over two steps, then down.
    let rates = losses(&steps, "learning_rate");
    assert_eq!(rates[..2], [0.0015, 0.003]);
    assert!(rates[2..].windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
    // Three tasks at two checkpoints.
    assert_eq!(WORKSHOP.records("run", "validation").len(), 6);
}

#[test]
fn the_evaluation_has_its_documented_shape_and_a_baseline_beside_every_value() {
    LazyLock::force(&RUN);
    let evaluation: Value = serde_json::from_str(&WORKSHOP.read("run/evaluation.json")).unwrap();
    let splits: Vec<_> = evaluation.as_object().unwrap().keys().collect();
    assert_eq!(splits, ["held_out", "test"]);
    for (split, tasks) in evaluation.as_object().unwrap() {
        for (task, metric) in [
            ("narrate", "trace_error"),
            ("locate", "precision_at_0.5"),
            ("locate", "mean_iou"),
            ("describe", "attribute_accuracy"),
        ] {
            let score = &tasks[task][metric];
            assert!(
                score["value"].is_f64() && score["baseline"].is_f64(),
                "{split} {task} {metric}"
            );
            assert!(score["n"].as_u64().is_some_and(|n| n > 0), "{split} {task} {metric}");
        }
    }
    // The table of the terminal has the same numbers.
    let error = evaluation["test"]["narrate"]["trace_error"]["value"].as_f64().unwrap();
    let line =
        RUN.stdout.lines().find(|line| line.contains("test") && line.contains(" trace_error "));
    assert!(line.is_some_and(|line| line.contains(&format!("{error:.3}"))), "{}", RUN.stdout);
}

#[test]
fn measuring_a_run_again_gives_the_same_file_and_pictures() {
    LazyLock::force(&RUN);
    let copied = Workshop::with_world_of(&WORKSHOP);
    common::copy(&WORKSHOP.path("run"), &copied.path("run"));
    let before = copied.files("run");
    std::fs::remove_file(copied.path("run/evaluation.json")).unwrap();
    std::fs::remove_file(copied.path("run/report.html")).unwrap();
    std::fs::remove_dir_all(copied.path("run/overlays")).unwrap();
    copied.pixelllm(&["eval", "run"]).success();
    let after = copied.files("run");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, bytes) in before.iter().filter(|(name, _)| *name != "report.html") {
        assert!(*bytes == after[name], "{name} has changed");
    }
}

#[test]
fn a_run_ends_with_weights_a_page_and_pictures() {
    LazyLock::force(&RUN);
    let files = WORKSHOP.files("run");
    let page = String::from_utf8(files["report.html"].clone()).unwrap();
    assert!(RUN.stdout.contains("run/report.html"), "{}", RUN.stdout);
    for part in ["smallest", "held_out", "<svg", "data:image/png;base64,"] {
        assert!(page.contains(part), "no {part}");
    }
    // Two images of the gallery, each narrated, described and located.
    let pictures: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("overlays/")).collect();
    for task in TASKS {
        let count = pictures.iter().filter(|(name, _)| name.contains(task.name())).count();
        assert!(count >= 2, "{count} pictures of {}", task.name());
    }
    for (name, bytes) in pictures {
        let picture =
            image::load_from_memory(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(picture.to_rgb8().pixels().any(|pixel| *pixel != image::Rgb([0; 3])), "{name}");
    }
    assert!(files.contains_key("weights.safetensors") && files.contains_key("tokenizer.json"));
}

#[test]
fn the_experiment_of_a_run_loads_to_the_same_and_trains_the_same_again() {
    LazyLock::force(&RUN);
    let overrides = ["data.splits.evaluation=[\"test\", \"held_out\"]".to_string()];
    let original = experiment::load(EXPERIMENT.as_ref(), &overrides).unwrap();
    let resolved = experiment::load(&WORKSHOP.path("run/experiment.toml"), &[]).unwrap();
    assert_eq!(resolved, original);
    let arguments = ["train", "run/experiment.toml", "--out", "again"];
    WORKSHOP.pixelllm(&[&arguments[..], &UNMEASURED].concat()).success();
    assert_eq!(WORKSHOP.steps("again"), WORKSHOP.steps("run"));
}

#[test]
fn a_dry_run_says_what_would_be_trained_and_trains_nothing() {
    let workshop = Workshop::new();
    let answer = workshop.train("dry", &["--dry-run"]).success();
    assert!(!workshop.path("dry").exists() && !workshop.path("runs").exists());

    // The experiment, with every key written out.
    let (toml, rest) = answer.stdout.split_once('─').unwrap();
    std::fs::write(workshop.path("resolved.toml"), toml).unwrap();
    let resolved = experiment::load(&workshop.path("resolved.toml"), &[]).unwrap();
    assert_eq!(resolved, experiment::load(EXPERIMENT.as_ref(), &[]).unwrap());

    // Parameters: the modules' add up.
    let row = |part: &str| -> [f64; 6] {
        let line = rest.lines().find(|line| line.trim_start().starts_with(part));
        let line = line.unwrap_or_else(|| panic!("no {part} in {rest}"));
        let numbers = line.trim().strip_prefix(part).unwrap().split("  ").filter_map(|part| {
            let digits: String = part.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
            digits.parse().ok()
        });
        numbers.collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{line:?}"))
    };
    let parts = ["vision.eva", "vision.sam", "location", "adapter", "language", "points"];
    let sum: [f64; 3] = [0, 1, 2].map(|column| parts.map(|part| row(part)[column]).iter().sum());
    let total = row("total");
    assert_eq!(total[..3], sum);
    // The frequencies of the location encoder are fixed.
    let [all, trained, frozen] = sum;
    assert!(trained > 0.0 && frozen > 0.0 && all == trained + frozen, "{sum:?}");
    // Four bytes each: weights, gradients, two moments; in MiB with one digit.
    let bytes = [4.0 * all, 4.0 * trained, 8.0 * trained];
    for (printed, bytes) in total[3..].iter().zip(bytes) {
        assert!((printed - bytes / f64::from(1 << 20)).abs() <= 0.05, "{total:?}");
    }

    // A batch of each task: four images of 32 pixels, as many rows as the source says.
    for (task, prompts, rows) in [("narrate", 1, 1), ("describe", 2, 2), ("locate", 1, 2)] {
        let line = rest.lines().find(|line| line.starts_with(task)).unwrap();
        assert!(line.contains("images [4, 3, 32, 32]"), "{line}");
        assert!(line.contains(&format!("prompt boxes [4, {prompts}, 4]")), "{line}");
        assert!(line.contains(&format!("text [4, {rows}, ")), "{line}");
    }
    assert!(rest.contains("memory (estimate)"), "{rest}");
    assert!(!rest.contains("Not there"), "{rest}");
}

#[test]
fn a_dry_run_needs_no_data_and_says_what_is_missing() {
    let workshop = Workshop::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let recipe = |name: &str| format!("{root}/experiments/paper/{name}.toml");
    let answer = workshop.pixelllm(&["train", &recipe("t5-xl/trace"), "--dry-run"]).success();
    let lines: Vec<&str> = answer.stdout.lines().map(str::trim).collect();
    let part = |name: &str| -> Vec<&str> {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
        line.unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    };
    // What spec/model.md §0 has of this recipe, in words of the table.
    for (name, total, trainable) in [
        ("vision.eva", "303 268 800", "303 268 800"),
        ("vision.sam", "637 026 048", "0"),
        ("adapter", "43 505 408", "43 505 408"),
        ("language.T5.t5", "2 849 757 184", "0"),
        ("language.T5.t5 (adapters)", "18 874 368", "18 874 368"),
        ("language.T5.visual_projection", "2 103 296", "2 103 296"),
        ("points", "1 582 600", "1 582 600"),
    ] {
        let cells: Vec<String> =
            part(name).iter().map(|cell| cell.replace('\u{202f}', " ")).collect();
        assert_eq!(cells[..2], [total, trainable], "{name}");
    }
    assert!(lines.contains(&"vocabulary: 32128 ids"));
    let batch = "narrate (not read, at most): images [256, 3, 384, 384], prompt boxes [256, 1, 4], \
                 context [256, 1, 8], text [256, 1, 128], points [256, 1, 128, 2, 2]";
    assert!(lines.contains(&batch), "{}", answer.stdout);
    for missing in [
        "data.tokenizer.file: data/tokenizers/flan-t5-xl/spiece.model",
        "weights.1.file: weights/sam_vit_h_4b8939.pth",
        "data.sources.1.annotations: data/coco/annotations/localized_narratives_val.jsonl",
        "data.sources.0.images: data/coco/train2017",
    ] {
        assert!(lines.contains(&missing), "{missing} is not in {}", answer.stdout);
    }
    workshop.pixelllm(&["train", &recipe("t5-xl/trace")]).failure(1, &["cannot "]);
}

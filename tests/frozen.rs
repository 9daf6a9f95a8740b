//! Training with frozen parts: what is saved, what is not, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::LazyLock;

use common::safetensors::{Tensors, read, write};
use common::{UNMEASURED, Workshop, set};

/// A world, a run `first`, and `sam.safetensors` with the SAM of it.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("first", &[set(&["seed=7"]), UNMEASURED.to_vec()].concat()).success();
    let sam = under(&read(&workshop.path("first/weights.safetensors")), "vision.sam.");
    write(&workshop.path("sam.safetensors"), &sam);
    workshop
});

/// SAM is frozen and comes from a file, the language model is frozen and comes from none.
const FROZEN: [&str; 5] = [
    "training.frozen=[\"vision.sam\", \"language\"]",
    "weights=[{file=\"sam.safetensors\"}]",
    "training.max_steps=60",
    "training.checkpoint_every_steps=10",
    "training.keep_checkpoints=6",
];

fn frozen() -> Vec<&'static str> {
    [set(&FROZEN), UNMEASURED.to_vec()].concat()
}

/// Those of `tensors` whose names begin with `prefix`.
fn under(tensors: &Tensors, prefix: &str) -> Tensors {
    let found = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
    found.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}

fn byte_len(tensors: &Tensors) -> usize {
    tensors.values().map(|(_, _, bytes)| bytes.len()).sum()
}

#[test]
fn a_killed_run_with_frozen_parts_goes_on_as_if_nothing_had_happened() {
    WORKSHOP.train("whole", &frozen()).success();
    let mut child = WORKSHOP.begin("killed", &frozen(), 13);
    WORKSHOP.wait_for("killed/checkpoint/state-1.json");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(WORKSHOP.steps_done("killed") < 60, "it was too fast to be cut off");
    WORKSHOP.train("killed", &[frozen(), vec!["--resume"]].concat()).success();
    assert_eq!(WORKSHOP.steps("killed"), WORKSHOP.steps("whole"));
    let weights = |run: &str| read(&WORKSHOP.path(&format!("{run}/weights.safetensors")));
    let trained = weights("whole");
    assert!(trained == weights("killed"));

    // What came from a file is not written; what came from none is as it was.
    let saved = read(&WORKSHOP.path("whole/frozen.safetensors"));
    assert_eq!(under(&trained, "vision.sam."), Tensors::new());
    assert!(!saved.is_empty() && under(&saved, "language.") == saved);
    assert!(under(&trained, "language.") == saved);
    // Everything is somewhere.
    let first = read(&WORKSHOP.path("first/weights.safetensors"));
    assert_eq!(trained.len() + under(&first, "vision.sam.").len(), first.len());

    let checkpoint = |name: &str| {
        let path = WORKSHOP.path(&format!("whole/checkpoint/{name}-6.bpk"));
        fs::metadata(path).unwrap().len() as f64
    };
    let bytes = (byte_len(&trained) - byte_len(&saved)) as f64;
    println!("model {}, moments {}, trained {bytes}", checkpoint("model"), checkpoint("optimizer"));
    assert!(checkpoint("model") < 1.2 * bytes);
    assert!(checkpoint("optimizer") < 2.5 * bytes);
}

#[test]
fn a_run_is_read_with_the_files_that_its_frozen_parts_come_from_or_says_what_is_wrong() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    fs::copy(WORKSHOP.path("sam.safetensors"), workshop.path("sam.safetensors")).unwrap();
    let short = ["training.max_steps=6", "training.checkpoint_every_steps=3"];
    let arguments = [frozen(), set(&short)].concat();
    workshop.train("run", &arguments).success();
    workshop.pixelllm(&["eval", "run"]).success();
    let scores = workshop.read("run/evaluation.json");

    // A copy of the file has another time, and is the same file.
    let file = workshop.path("sam.safetensors");
    let tensors = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    workshop.pixelllm(&["eval", "run"]).failure(1, &["is not there", "sam.safetensors", "Put"]);
    fs::write(&file, &tensors).unwrap();
    workshop.pixelllm(&["eval", "run"]).success();
    assert_eq!(workshop.read("run/evaluation.json"), scores);

    let mut changed = tensors;
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&file, changed).unwrap();
    workshop.pixelllm(&["eval", "run"]).failure(1, &["has changed", "sam.safetensors"]);
    workshop
        .train("run", &[arguments, vec!["--resume"]].concat())
        .failure(1, &["has changed", "frozen.json"]);
}

#[test]
fn a_path_that_names_nothing_is_an_error_before_anything_is_written() {
    let overrides = set(&["training.frozen=[\"vision.san\"]"]);
    let parts = ["training.frozen.0", "\"vision.san\"", "Did you mean \"vision.sam\"?"];
    WORKSHOP.train("misspelt", &overrides).failure(2, &parts);
    assert!(!WORKSHOP.path("misspelt").exists());
    WORKSHOP.train("misspelt", &[overrides, vec!["--dry-run"]].concat()).failure(2, &parts);
}

#[test]
fn a_dry_run_counts_what_is_frozen_as_not_trained() {
    let answer = WORKSHOP.train("dry", &[frozen(), vec!["--dry-run"]].concat()).success();
    for module in ["vision.sam", "language"] {
        let is_row = |line: &&str| line.contains(module) && !line.contains('[');
        let row = answer.stdout.lines().find(is_row).unwrap();
        assert!(row.split_whitespace().any(|word| word == "0"), "{row}");
    }
}

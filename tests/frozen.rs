//! Training with frozen parts: what is saved, what is not, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::LazyLock;

use serde_json::{Value, json};

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
    "checkpoints.keep_last=6",
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
    let (_, tables) = answer.stdout.split_once('─').unwrap();
    for module in ["vision.sam", "language"] {
        let is_row = |line: &&str| line.trim_start().starts_with(module);
        let row = tables.lines().find(is_row).unwrap();
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        // Part, parameters, trainable, frozen.
        assert_eq!((cells[2], cells[3]), ("0", cells[1]), "{row}");
    }
}

/// A T5 whose two stacks have adapters of different ranks.
const T5: [&str; 3] = [
    "model.language={kind=\"t5\", width=32, num_heads=2, head_width=16, encoder_depth=1, decoder_depth=2, \
     mlp_width=64, dropout=0.1, encoder_lora={rank=4}, decoder_lora={rank=2, scale=1.5}}",
    "training.max_steps=6",
    "training.checkpoint_every_steps=3",
];

#[test]
fn t5_with_adapters_saves_them_alone_and_exports_them_for_peft() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    // `model.language` is replaced as a whole: another kind has other keys.
    let experiment = fs::read_to_string(common::EXPERIMENT).unwrap();
    let start = experiment.find("[model.language]").unwrap();
    let end = experiment.find("[model.points]").unwrap();
    fs::write(workshop.path("e.toml"), [&experiment[..start], &experiment[end..]].concat())
        .unwrap();
    let train = |more: &[&str]| {
        let arguments = ["train", "e.toml", "--out", "run"];
        workshop.pixelllm(&[&arguments, &set(&T5)[..], &UNMEASURED, more].concat())
    };
    train(&[]).success();
    let frozen = read(&workshop.path("run/frozen.safetensors"));
    assert!(frozen.keys().all(|name| name.starts_with("language.T5.t5.")));
    assert!(!frozen.keys().any(|name| name.contains(".lora.")));
    let weights = read(&workshop.path("run/weights.safetensors"));
    assert!(frozen.iter().all(|(name, tensor)| weights.get(name) == Some(tensor)));
    train(&["--resume"]).success();

    let export = ["weights", "export", "run", "--peft", "peft"];
    workshop.pixelllm(&export).success();
    let adapters = read(&workshop.path("peft/adapter_model.safetensors"));
    // One attention in the encoder and four in the decoder, two projections, two matrices.
    assert_eq!(adapters.len(), 20);
    let stem = "base_model.model.decoder.block.1.layer.1.EncDecAttention.v";
    let [a, b] = ["lora_A", "lora_B"].map(|side| &adapters[&format!("{stem}.{side}.weight")]);
    assert_eq!((&a.1[..], &b.1[..]), (&[2, 32][..], &[32, 2][..]));
    let ours = &weights["language.T5.t5.decoder.layers.1.cross_attention.value.lora.up.weight"];
    // The second number here, `[0, 1]` of `[2, 32]`, is `[1, 0]` there.
    assert_eq!((&ours.1[..], &ours.2[4..8]), (&[2, 32][..], &b.2[8..12]));
    let config: Value = serde_json::from_str(&workshop.read("peft/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8)));
    let module = stem.strip_prefix("base_model.model.").unwrap();
    assert_eq!(config["rank_pattern"][module], 2);
    assert_eq!(config["alpha_pattern"][module], 3);

    WORKSHOP.pixelllm(&["weights", "export", "first", "--peft", "peft"]).failure(1, &["not T5"]);
}

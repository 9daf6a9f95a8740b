//! Models of Hugging Face by name: weights, tokenizer and sizes from its cache.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::json;

use common::safetensors::{Tensors, bfloat16, read, write};
use common::{Answer, EXPERIMENT, UNMEASURED, Workshop, set, t5_tokenizer};

const T5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors/hf_t5");
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A world, an experiment, a cache with a small T5 `owner/t5`, whose weights are in half precision and in
/// two shards, and a finished `run` of it that said `said.txt`.
static CACHED: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    let experiment = fs::read_to_string(EXPERIMENT).unwrap();
    let (before, rest) = experiment.split_once("[model.language]").unwrap();
    let (_, after) = rest.split_once("[model.points]").unwrap();
    let language = "[model.language]\nkind = \"t5\"\nconfig = \"hf:owner/t5\"\ndropout = 0.25\n";
    let experiment = format!("{before}{language}[model.points]{after}");
    fs::write(workshop.path("e.toml"), experiment).unwrap();
    train(&workshop, "first", &[]).failure(2, &["hf:owner/t5: there is no revision `main`"]);

    let repository = workshop.path("home/hub/models--owner--t5");
    let snapshot = repository.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
    fs::copy(format!("{T5}/config.json"), snapshot.join("config.json")).unwrap();
    let letters = ('a'..='z').map(String::from);
    fs::write(snapshot.join("tokenizer.json"), t5_tokenizer(letters)).unwrap();
    let weights = bfloat16(read(&Path::new(T5).join("model.safetensors")));
    let (one, two): (Tensors, Tensors) =
        weights.clone().into_iter().partition(|(name, _)| name.starts_with("encoder"));
    let place = |name: &String| (name.clone(), if one.contains_key(name) { "1" } else { "2" });
    let map: BTreeMap<_, _> = weights
        .keys()
        .map(place)
        .map(|(name, shard)| (name, format!("model-{shard}.safetensors")))
        .collect();
    let index = json!({ "weight_map": map }).to_string();
    fs::write(snapshot.join("model.safetensors.index.json"), index).unwrap();
    // As in a cache of downloads, names are links.
    for (shard, tensors) in [("model-1.safetensors", one), ("model-2.safetensors", two)] {
        let blob = repository.join(format!("blob-{shard}"));
        write(&blob, &tensors);
        link(&blob, &snapshot.join(shard));
    }
    let said = train(&workshop, "run", &[]).success().stderr;
    fs::write(workshop.path("said.txt"), said).unwrap();
    workshop
});

#[cfg(unix)]
fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(from, to).unwrap();
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

fn pixelllm(workshop: &Workshop, arguments: &[&str]) -> Answer {
    let home = workshop.path("home").to_string_lossy().into_owned();
    workshop.pixelllm_with(&[("HF_HOME", &home), ("HF_HUB_OFFLINE", "1")], arguments)
}

fn train(workshop: &Workshop, run: &str, arguments: &[&str]) -> Answer {
    let command = ["train", "e.toml", "--out", run];
    pixelllm(workshop, &[&command[..], &set(&NAMES), &UNMEASURED, arguments].concat())
}

const NAMES: [&str; 3] = [
    "weights=[{file=\"hf:owner/t5\"}]",
    "data.tokenizer.file=\"hf:owner/t5\"",
    "training.max_steps=3",
];

#[test]
fn a_t5_given_as_one_name_is_trained_and_its_frozen_weights_stay_in_the_cache() {
    let said = CACHED.read("said.txt");
    assert!(said.contains("weights hf:owner/t5 (hf-t5): "), "{said}");
    assert!(said.contains("of them in half precision"), "{said}");
    // The experiment that is written out stands on its own.
    let written = CACHED.read("run/experiment.toml");
    for line in ["config = false", "width = 32", "mlp_width = 56", "num_words = 97"] {
        assert!(written.contains(line), "{line} is not in {written}");
    }
    assert!(written.contains("dropout = 0.25"), "{written}");
    let weights = read(&CACHED.path("run/weights.safetensors"));
    let is_base = |name: &&String| name.starts_with("language.T5.t5.") && !name.contains(".lora.");
    assert_eq!(weights.keys().find(is_base), None);
    let image = "world/images/val/000100000001.png";
    pixelllm(&CACHED, &["narrate", "run", "--image", image]).success();
}

#[test]
fn a_t5_that_is_kept_in_half_precision_is_trained_as_well_and_read_again() {
    let hint = "model.language.storage = \"bf16\" would keep";
    assert!(CACHED.read("said.txt").contains(hint));
    let storage = set(&["model.language.storage=\"bf16\""]);
    let said = train(&CACHED, "half", &storage).success().stderr;
    assert!(!said.contains(hint), "{said}");
    let losses = |run: &str| -> Vec<f64> {
        CACHED.steps(run).iter().map(|step| step["loss"].as_f64().unwrap()).collect()
    };
    // The file has the same numbers in both, and all is computed in 32 bits.
    for (half, wide) in losses("half").into_iter().zip(losses("run")) {
        assert!((half - wide).abs() <= 1e-4 * wide, "{half} is not {wide}");
    }
    let image = "world/images/val/000100000001.png";
    pixelllm(&CACHED, &["narrate", "half", "--image", image]).success();
    let more = ["training.max_steps=3", "model.language.storage=\"bf16\""];
    train(&CACHED, "half", &[set(&more), vec!["--resume"]].concat()).success();
}

#[test]
fn keys_that_contradict_the_published_model_are_named() {
    let wide = set(&["model.language.width=64", "model.language.tied_output=true"]);
    let parts = [
        "`model.language.width`: is 64, but `d_model` of the published model is 32",
        "`model.language.tied_output`: is true, but `tie_word_embeddings`",
        "Leave the key out, and",
    ];
    train(&CACHED, "wide", &wide).failure(2, &parts);
    let size = set(&["model.language.size=\"small\""]);
    let parts = ["`model.language.size`: width is 512, but `d_model` of the published model is 32"];
    train(&CACHED, "size", &size).failure(2, &parts);
    assert!(!CACHED.path("wide").exists());
}

#[test]
fn weights_beside_a_config_of_another_model_are_refused() {
    // The same shapes, but heads of another width.
    let sizes = "model.language={kind=\"t5\", config=false, width=32, num_heads=8, head_width=4, \
                 encoder_depth=2, decoder_depth=2, mlp_width=56, num_words=97}";
    let parts = [
        "config.json: the model is another than the one it describes:",
        "model.language.num_heads is 8, but `num_heads` of the published model is 4",
        "model.language.head_width is 4, but `d_kv` of the published model is 8",
        "Set model.language.config",
    ];
    train(&CACHED, "heads", &set(&[sizes])).failure(1, &parts);
}

#[test]
fn names_are_for_every_command_that_reads_weights() {
    let said = pixelllm(&CACHED, &["weights", "inspect", "hf:owner/t5"]).success().stdout;
    assert!(said.contains("safetensors in shards") && said.contains("layout: hf-t5"), "{said}");
    let single = format!("hf:owner/t5@{COMMIT}/model-1.safetensors");
    let said = pixelllm(&CACHED, &["weights", "inspect", &single]).success().stdout;
    assert!(said.contains("bf16"), "{said}");
    let import =
        ["weights", "import", "hf:owner/t5", "--experiment", "e.toml", "--out", "t5.safetensors"];
    pixelllm(&CACHED, &import).success();
    assert!(read(&CACHED.path("t5.safetensors")).contains_key("language.T5.t5.words.weight"));
}

#[test]
fn what_is_not_there_is_said_before_anything_is_written() {
    let weights = set(&["weights=[{file=\"hf:owner/other@v2/x.safetensors\"}]"]);
    let parts = [
        "hf:owner/other@v2/x.safetensors: there is no revision `v2` in the cache",
        "HF_HUB_OFFLINE is set",
        "`hf download owner/other x.safetensors --revision v2`",
    ];
    train(&CACHED, "missing", &weights).failure(2, &parts);
    assert!(!CACHED.path("missing").exists());
    let tokenizer = set(&["data.tokenizer.file=\"hf:owner\""]);
    train(&CACHED, "malformed", &tokenizer)
        .failure(2, &["\"hf:owner\" is no name of Hugging Face"]);
}

/// A BERT of width 16 with `rows` words.
fn bert(rows: usize) -> Tensors {
    let tensor = |name: &str, shape: &[usize], value: f32| {
        let count = shape.iter().product();
        let data = (0..count).flat_map(|_| value.to_le_bytes()).collect();
        (name.to_string(), ("F32".to_string(), shape.to_vec(), data))
    };
    let embeddings = "bert.embeddings";
    Tensors::from([
        tensor(&format!("{embeddings}.word_embeddings.weight"), &[rows, 16], 0.5),
        tensor(&format!("{embeddings}.position_embeddings.weight"), &[60, 16], 0.25),
        tensor(&format!("{embeddings}.token_type_embeddings.weight"), &[2, 16], 1.0),
        tensor(&format!("{embeddings}.LayerNorm.gamma"), &[16], 2.0),
        tensor(&format!("{embeddings}.LayerNorm.beta"), &[16], 3.0),
        tensor("cls.predictions.bias", &[rows], 0.0),
    ])
}

/// A decoder as wide as [`bert`], with fewer positions.
const DECODER: &str =
    "model.language={kind=\"git\", width=16, depth=1, num_heads=2, mlp_width=16, max_positions=48}";

#[test]
fn a_decoder_starts_from_the_embeddings_and_the_vocabulary_of_bert() {
    let workshop = Workshop::with_world_of(&CACHED);
    let pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        .map(String::from)
        .into_iter()
        .chain(('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]))
        .collect();
    fs::create_dir(workshop.path("bert")).unwrap();
    fs::write(workshop.path("bert/vocab.txt"), pieces.join("\n")).unwrap();
    write(&workshop.path("bert/model.safetensors"), &bert(pieces.len()));
    let names = ["data.tokenizer.file=\"bert\"", "weights=[{file=\"bert\"}]", DECODER];
    let still = ["optimizer.learning_rate=1e-30", "training.max_steps=3"];
    let train = |run: &str| {
        let changes = [set(&names), set(&still), UNMEASURED.to_vec()].concat();
        workshop.train(run, &changes)
    };
    let said = train("run").success().stderr;
    for part in [
        "(hf-bert): 4 tensors used",
        "bert.embeddings.token_type_embeddings.weight",
        "language.Git.positions.weight [60, 16] → [48, 16]",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let weights = read(&workshop.path("run/weights.safetensors"));
    for (name, rows, value) in [("words", pieces.len(), 0.5f32), ("positions", 48, 0.25)] {
        let (_, shape, data) = &weights[&format!("language.Git.{name}.weight")];
        assert_eq!(shape[..], [rows, 16]);
        assert!(data.chunks(4).all(|number| number == value.to_le_bytes()), "{name}");
    }

    // Of another vocabulary, neither the words nor the tokenizer will do.
    write(&workshop.path("bert/model.safetensors"), &bert(pieces.len() + 1));
    train("other").failure(1, &["table of words has 57 rows, but that of the model has 56"]);
    fs::write(workshop.path("bert/vocab.txt"), pieces.join("\n").replace("[CLS]", "[CLASS]"))
        .unwrap();
    train("lacking").failure(1, &["vocab.txt: has no piece \"[CLS]\""]);
    assert_eq!(workshop.steps_done("other") + workshop.steps_done("lacking"), 0);
}

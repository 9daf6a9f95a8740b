//! Tokenizers of others, through `pixelllm train`: T5's texts are learnt from, and a tokenizer that
//! does not belong to the model stops training before its first step.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::LazyLock;

use common::{Answer, EXPERIMENT, UNMEASURED, Workshop, set, t5_tokenizer};

/// A world, an experiment with a small T5 and its tokenizer, and a finished run of it.
static T5: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    let experiment = fs::read_to_string(EXPERIMENT).unwrap();
    let (before, rest) = experiment.split_once("[model.language]").unwrap();
    let (_, after) = rest.split_once("[model.points]").unwrap();
    let t5 = "[model.language]\nkind = \"t5\"\nwidth = 32\nnum_heads = 2\nhead_width = 16\n\
              encoder_depth = 1\ndecoder_depth = 1\nmlp_width = 32\nnum_words = 64\n\
              trained = \"all\"\n";
    fs::write(workshop.path("t5.toml"), format!("{before}{t5}[model.points]{after}")).unwrap();
    fs::write(workshop.path("t5.json"), tokenizer_json()).unwrap();
    train(&workshop, "finished", &UNMEASURED).success();
    workshop
});

/// 56 ids: three special ones, the mark, the mark with a letter, the letters.
fn tokenizer_json() -> String {
    let letters = || ('a'..='z').map(String::from);
    let marked = letters().map(|letter| format!("▁{letter}"));
    t5_tokenizer(marked.chain(letters()))
}

fn train(workshop: &Workshop, run: &str, arguments: &[&str]) -> Answer {
    let tokenizer = ["--set", "data.tokenizer.file=\"t5.json\""];
    let command = ["train", "t5.toml", "--out", run];
    workshop.pixelllm(&[&command[..], &tokenizer, arguments].concat())
}

#[test]
fn a_t5_learns_the_texts_of_its_tokenizer() {
    let steps = T5.steps("finished");
    assert_eq!(steps.len(), 6);
    let loss = |step: &serde_json::Value| step["loss"].as_f64().unwrap();
    assert!(steps.iter().all(|step| loss(step) > 0.0), "{steps:?}");
    let tokenizer = T5.read("finished/tokenizer.json");
    assert!(tokenizer.contains("Unigram") && tokenizer.contains("</s>"));
    let image = "world/images/val/000100000001.png";
    T5.pixelllm(&["narrate", "finished", "--image", image]).success();
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_has_words_is_refused() {
    let fewer = set(&["model.language.num_words=55"]);
    let parts = [
        "t5.json: the tokenizer has 56 ids, but by `model.language.num_words` the model has only 55",
        "help: Give the tokenizer that belongs to the model, or set model.language.num_words to 56",
    ];
    train(&T5, "fewer", &fewer).failure(1, &parts);
    train(&T5, "fewer-dry", &[&fewer[..], &["--dry-run"]].concat()).failure(1, &parts);
    assert_eq!(T5.steps_done("fewer"), 0);

    let answer = T5.pixelllm(
        &[&["train", "t5.toml", "--out", "fewer"], &set(&["model.language.num_words=8"])[..]]
            .concat(),
    );
    answer.failure(2, &["ids, but by `model.language.num_words` the model has only 8", "help: "]);
}

#[test]
fn weights_for_another_number_of_words_are_refused() {
    let weights = "weights=[{file=\"finished/weights.safetensors\"}]";
    let other = set(&[weights, "model.language.num_words=70"]);
    let parts = [
        "finished/weights.safetensors: its table of words has 64 rows, but that of the model has 70",
        "data.tokenizer.file, and set model.language.num_words to 64",
    ];
    train(&T5, "other", &other).failure(1, &parts);
    assert_eq!(T5.steps_done("other"), 0);
    train(&T5, "same", &[&set(&[weights])[..], &UNMEASURED].concat()).success();
}

#[test]
fn a_tokenizer_that_lacks_special_tokens_or_is_damaged_is_named() {
    let workshop = Workshop::with_world_of(&T5);
    fs::copy(T5.path("t5.toml"), workshop.path("t5.toml")).unwrap();
    let json = tokenizer_json();
    let model: &[u8] = b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02";
    let cases: [(Vec<u8>, &str); 6] = [
        (json.replace("</s>", "<s/>").into(), "has neither \"[SEP]\" nor \"</s>\""),
        (json.replace("<pad>", "<gap>").into(), "has neither \"[PAD]\" nor \"<pad>\""),
        (json[..json.len() / 2].into(), "not a tokenizer"),
        (Vec::new(), "not a tokenizer"),
        (model[..9].to_vec(), "cut off, or not a SentencePiece model"),
        (model.to_vec(), "not a whole SentencePiece model"),
    ];
    for (content, problem) in cases {
        fs::write(workshop.path("t5.json"), content).unwrap();
        let answer = train(&workshop, "run", &[]);
        answer.failure(1, &["t5.json: ", problem, "help: Give a tokenizer.json"]);
        assert_eq!(workshop.steps_done("run"), 0);
    }
    let path = set(&["data.tokenizer.file=\"no.model\""]);
    train(&workshop, "run", &path).failure(1, &["cannot read no.model", "help: Check the path"]);
}

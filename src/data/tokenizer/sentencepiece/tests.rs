#![allow(clippy::unwrap_used)]

use std::fs;

use super::super::Tokenizer;
use super::super::unigram::tests::{PIECES, tokenizer_json};
use super::characters::tests::a_for_capital_a;
use crate::error::Error;
use crate::model::language::Vocabulary;

const UNIGRAM: u8 = 1;
const BPE: u8 = 2;
/// How a piece counts that is no word: unknown, control.
const TYPES: [(&str, u8); 3] = [("<unk>", 2), ("<pad>", 3), ("</s>", 3)];

/// A field of bytes; numbers below 16 are one byte with their wire type.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut length = content.len();
    let mut message = vec![number << 3 | 2];
    while length > 0x7f {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    [&message, content].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
    let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
    field(1, &[field(1, text.as_bytes()), score, varint(3, kind)].concat())
}

/// The pieces of the small T5 and its settings.
fn model(model_type: u8, characters: &[u8]) -> Vec<u8> {
    let kind = |text| TYPES.iter().find(|(name, _)| *name == text).map_or(1, |(_, kind)| *kind);
    let pieces = PIECES.iter().flat_map(|&(text, score)| piece(text, score, kind(text)));
    let trainer = field(2, &[varint(3, model_type), varint(4, 16)].concat());
    let normalizer = [field(1, b"test"), field(2, characters), varint(3, 1), varint(4, 1)];
    pieces.chain(trainer).chain(field(3, &normalizer.concat())).collect()
}

fn written(name: &str, content: &[u8]) -> (tempfile::TempDir, Result<Tokenizer, Error>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    let read = Tokenizer::from_file(&path);
    (directory, read)
}

#[test]
fn a_model_file_gives_the_ids_of_the_tokenizer_json_of_its_pieces() {
    let json = Tokenizer::from_json(tokenizer_json().to_string().as_bytes()).unwrap();
    // By content, by extension.
    for name in ["spiece.model", "spiece"] {
        let (directory, tokenizer) = written(name, &model(UNIGRAM, &[]));
        let tokenizer = tokenizer.unwrap();
        let vocabulary = Vocabulary { size: PIECES.len(), pad: 0, begin: 0, end: 1 };
        assert_eq!(tokenizer.vocabulary(), vocabulary, "the file has no sentinels");
        let saved = directory.path().join("tokenizer.json");
        tokenizer.save(&saved).unwrap();
        let saved = Tokenizer::from_file(&saved).unwrap();
        assert_eq!(saved.vocabulary(), vocabulary);
        let texts = ["the red square", "  the  red squares ", "Café ééred", "red </s> <pad>", ""];
        for text in texts {
            let expected = json.encode(text, 64).unwrap();
            for tokenizer in [&tokenizer, &saved] {
                assert_eq!(tokenizer.encode(text, 64).unwrap(), expected, "{text:?}");
                assert_eq!(tokenizer.decode(&expected.ids), json.decode(&expected.ids));
            }
        }
    }
}

#[test]
fn characters_are_replaced_by_the_table_of_the_file() {
    let (_directory, tokenizer) = written("spiece.model", &model(UNIGRAM, &a_for_capital_a()));
    let tokenizer = tokenizer.unwrap();
    let encoded = tokenizer.encode("the squAre", 64).unwrap();
    assert_eq!(encoded.ids, [0, 9, 6, 7, 1]);
    assert_eq!(encoded.offsets[3], Some(7..10));
}

#[test]
fn a_file_that_was_cut_anywhere_is_named() {
    let whole = model(UNIGRAM, &[]);
    for length in 0..whole.len() {
        let (_directory, tokenizer) = written("spiece.model", &whole[..length]);
        let error = tokenizer.unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{length} bytes: {error:?}");
        assert!(error.to_string().contains("spiece.model"), "{error}");
    }
}

#[test]
fn no_damaged_byte_panics() {
    let whole = model(UNIGRAM, &a_for_capital_a()[..64]);
    for index in 0..whole.len() {
        for value in [0, 0x7f, 0xff, whole[index] ^ 1, whole[index] ^ 8] {
            let mut damaged = whole.clone();
            damaged[index] = value;
            if let Ok(tokenizer) = super::read(&damaged).and_then(Tokenizer::from_inner) {
                tokenizer.encode("the red square </s>", 64).unwrap();
            }
        }
    }
}

#[test]
fn other_kinds_of_model_are_refused_by_name() {
    let problem = |content: &[u8]| {
        let (_directory, tokenizer) = written("spiece.model", content);
        let error = tokenizer.unwrap_err().to_string();
        assert!(error.contains("spiece.model"), "{error}");
        error
    };
    assert!(problem(&model(BPE, &[])).contains("type BPE"));
    let settings = [field(2, &varint(3, UNIGRAM)), field(3, &[])].concat();
    assert!(problem(&settings).contains("unknown letters"));
    let unknown = piece("<unk>", 0.0, 2);
    assert!(problem(&[unknown.clone(), settings.clone()].concat()).contains("<pad>"));
    let bytes = piece("<0x0A>", 0.0, 6);
    assert!(problem(&[unknown, bytes, settings].concat()).contains("single bytes"));
    let named = [piece("<unk>", 0.0, 2), piece("[A]", 0.0, 4), field(2, &[])].concat();
    let table = field(3, &field(2, &a_for_capital_a()));
    assert!(problem(&[named, table].concat()).contains("\"[A]\" has characters"));
    assert!(problem(b"no model at all").contains("SentencePiece model"));
}

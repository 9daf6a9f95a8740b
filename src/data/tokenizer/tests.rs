#![allow(clippy::unwrap_used)]
use super::*;

const TEXTS: [&str; 4] = [
    "A red circle, left of the Square.",
    "the red square and the blue circle",
    "A Blue square; a red square",
    "circle left of square",
];

fn trained() -> Tokenizer {
    Tokenizer::train(TEXTS, 200).unwrap()
}

#[test]
fn special_tokens_come_first() {
    let vocabulary = trained().vocabulary();
    assert_eq!((vocabulary.pad, vocabulary.begin, vocabulary.end), (0, 2, 3));
    assert!(vocabulary.size > 4 && vocabulary.size <= 200);
}

#[test]
fn frequent_words_are_one_piece_and_text_survives() {
    let tokenizer = trained();
    let encoded = tokenizer.encode("The RED square", 16).unwrap();
    assert_eq!(encoded.ids.len(), 5, "begin, three words, end");
    assert_eq!(encoded.offsets, [None, Some(0..3), Some(4..7), Some(8..14), None]);
    assert_eq!(tokenizer.decode(&encoded.ids), "the red square");
    assert_eq!(tokenizer.encode_context("The RED square", 16).unwrap(), encoded.ids[1..]);
}

#[test]
fn unseen_words_are_several_pieces_of_one_word() {
    let tokenizer = trained();
    let text = "Qué squared";
    let encoded = tokenizer.encode(text, 32).unwrap();
    let words = tokenizer.words(&encoded.ids);
    // No word began with "q"; the accent is two bytes long.
    assert_eq!(words.len(), 2);
    assert_eq!(words[0].text, "[UNK]");
    assert_eq!(words[1].text, "squared");
    assert_eq!(words[1].token_range, 2..encoded.ids.len() - 1);
    assert!(words[1].token_range.len() >= 2);
    assert_eq!(encoded.offsets[1], Some(0..4), "an unknown word is one piece");
    let last = encoded.offsets[encoded.ids.len() - 2].clone().unwrap();
    assert_eq!(&text[last], "d");
}

#[test]
fn long_texts_lose_their_end() {
    let tokenizer = trained();
    let encoded = tokenizer.encode("red red red red", 3).unwrap();
    assert_eq!(encoded.ids.len(), 3);
    assert_eq!(encoded.offsets.len(), 3);
    assert_eq!(encoded.ids[1], encoded.ids[2]);
    assert_eq!(tokenizer.encode("", 3).unwrap().ids, [2, 3]);
}

#[test]
fn decoding_stops_at_the_first_end_or_padding() {
    let tokenizer = trained();
    let red = tokenizer.encode("red", 8).unwrap().ids[1];
    assert_eq!(tokenizer.decode(&[2, red, red, 3, red, 0]), "red red");
    assert_eq!(tokenizer.decode(&[2, red, 0, red]), "red");
    assert_eq!(tokenizer.decode(&[2, 3, 3]), "");
    assert_eq!(tokenizer.decode(&[2, 9999]), "[UNK]");
    assert_eq!(tokenizer.decode(&[]), "");
}

#[test]
fn special_tokens_spelled_in_a_text_are_text() {
    let tokenizer = trained();
    let ids = tokenizer.encode("red [SEP] red [PAD]", 32).unwrap().ids;
    assert_eq!(ids.iter().filter(|&&id| id == 3 || id == 0).count(), 1, "{ids:?}");
}

#[test]
fn the_same_texts_give_the_same_ids_in_any_order() {
    let ids = |texts: &[&str]| Tokenizer::train(texts, 45).unwrap().inner.get_vocab(true);
    let first = ids(&TEXTS);
    assert_eq!(first.len(), 45, "full: the texts have pairs for 49");
    let mut reversed = TEXTS;
    reversed.reverse();
    for _ in 0..3 {
        assert_eq!(ids(&TEXTS), first);
        assert_eq!(ids(&reversed), first);
    }
}

#[test]
fn a_saved_tokenizer_reads_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    let tokenizer = trained();
    tokenizer.save(&path).unwrap();
    let read = Tokenizer::from_file(&path).unwrap();
    assert_eq!(read.vocabulary(), tokenizer.vocabulary());
    for text in TEXTS.iter().chain(&["[SEP] unheard-of words"]) {
        assert_eq!(read.encode(text, 40).unwrap(), tokenizer.encode(text, 40).unwrap());
    }
    let again = directory.path().join("again.json");
    read.save(&again).unwrap();
    assert_eq!(fs::read(path).unwrap(), fs::read(again).unwrap());
}

#[test]
fn unusable_files_and_texts_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    assert!(matches!(Tokenizer::from_file(&path), Err(Error::Io { .. })));
    for (content, problem) in [
        ("", "not a tokenizer"),
        ("{\"version\": 1", "not a tokenizer"),
        (r#"{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}"#, "BPE"),
        (
            r###"{"version":"1.0","model":{"type":"WordPiece","unk_token":"[UNK]",
            "continuing_subword_prefix":"##","max_input_chars_per_word":100,
            "vocab":{"[UNK]":0,"[PAD]":1}}}"###,
            "[SEP]",
        ),
    ] {
        fs::write(&path, content).unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("tokenizer.json") && message.contains(problem), "{message}");
    }
    assert!(matches!(Tokenizer::train([" \t"], 100), Err(Error::Usage { .. })));
    assert!(matches!(Tokenizer::train(TEXTS, 10), Err(Error::Usage { .. })));
}

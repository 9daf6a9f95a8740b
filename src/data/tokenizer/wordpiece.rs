//! WordPiece as BERT has it: the `tokenizer.json` of a list of pieces, and BERT's `vocab.txt`.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};

use super::{BEGIN, END, PAD, UNKNOWN};

/// How pieces inside a word begin.
pub(super) const INSIDE: &str = "##";
/// What BERT was trained to fill in: no piece of a text.
const MASK: &str = "[MASK]";
/// The file beside a `vocab.txt` that says whether texts become lower-case.
const SETTINGS: &str = "tokenizer_config.json";

/// The content of a `tokenizer.json` as BERT's, so that other tools read it too; the id of a piece is
/// its place among `pieces`.
pub(super) fn tokenizer_json(pieces: &[String], lowercase: bool) -> Result<Value, String> {
    let id = |name: &str| pieces.iter().position(|piece| piece == name);
    let needed = |name: &str| id(name).ok_or_else(|| format!("has no piece {name:?}"));
    let mut special = vec![];
    for name in [PAD[0], UNKNOWN[0], BEGIN[0], END[0]] {
        special.push((needed(name)?, name));
    }
    special.extend(id(MASK).map(|id| (id, MASK)));
    special.sort_unstable();
    let special: Vec<_> = special
        .into_iter()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let vocabulary: serde_json::Map<_, _> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": lowercase,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "BertProcessing",
            "sep": [END[0], needed(END[0])?], "cls": [BEGIN[0], needed(BEGIN[0])?],
        },
        "decoder": { "type": "WordPiece", "prefix": INSIDE, "cleanup": false },
        "model": {
            "type": "WordPiece", "unk_token": UNKNOWN[0], "continuing_subword_prefix": INSIDE,
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    }))
}

/// Whether the file is meant as a `vocab.txt`.
pub(super) fn is_meant(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "txt")
}

/// The content of a `tokenizer.json` for the `vocab.txt` at `path`, whose bytes are `bytes`: a piece to
/// a line. Texts become lower-case where the settings beside it say so, or else where no piece has a
/// capital.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("is no text: {error}"))?;
    let pieces: Vec<String> = text.lines().map(String::from).collect();
    let mut seen = BTreeSet::new();
    for (line, piece) in pieces.iter().enumerate() {
        if piece.is_empty() || !seen.insert(piece) {
            let problem = if piece.is_empty() { "is empty" } else { "is there before" };
            return Err(format!("line {}: the piece {piece:?} {problem}", line + 1));
        }
    }
    let is_name = |piece: &str| piece.starts_with('[') && piece.ends_with(']');
    let has_capitals = |piece: &String| !is_name(piece) && piece.chars().any(char::is_uppercase);
    let lowercase = match said(path)? {
        Some(lowercase) => lowercase,
        None => !pieces.iter().any(has_capitals),
    };
    tokenizer_json(&pieces, lowercase)
}

/// What the settings beside `path` say about lower case, if they are there and say something.
fn said(path: &Path) -> Result<Option<bool>, String> {
    let settings = match fs::read(path.with_file_name(SETTINGS)) {
        Ok(settings) => settings,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{SETTINGS} beside it cannot be read: {error}")),
    };
    let settings: Value = serde_json::from_slice(&settings)
        .map_err(|error| format!("{SETTINGS} beside it is not JSON: {error}"))?;
    Ok(settings["do_lower_case"].as_bool())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Tokenizer;
    use super::*;
    use crate::model::language::Vocabulary;

    /// As BERT's file begins, with fewer pieces that are not in use.
    const VOCABULARY: &str =
        "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\ncafe\n!\n";

    fn written(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn problem(text: &str) -> String {
        let (_folder, path) = written("vocab.txt", text);
        Tokenizer::from_file(path).unwrap_err().to_string()
    }

    #[test]
    fn a_vocabulary_of_bert_reads_texts_as_bert_does() {
        let (_folder, path) = written("vocab.txt", VOCABULARY);
        let tokenizer = Tokenizer::from_file(path).unwrap();
        let expected = Vocabulary { size: 11, pad: 0, begin: 3, end: 4 };
        assert_eq!(tokenizer.vocabulary(), expected);
        let text = "The cats: Café!";
        let encoded = tokenizer.encode(text, 16).unwrap();
        assert_eq!(encoded.ids, [3, 6, 7, 8, 2, 9, 10, 4]);
        assert_eq!(&text[encoded.offsets[5].clone().unwrap()], "Café");
        assert_eq!(tokenizer.decode(&encoded.ids), "the cats [UNK] cafe !");
        // A text that spells a special token has letters and brackets, which nothing here knows.
        assert_eq!(tokenizer.encode("[MASK]", 16).unwrap().ids, [3, 2, 2, 2, 4]);
    }

    #[test]
    fn capitals_stay_where_pieces_have_them_or_the_settings_say_so() {
        let (_folder, path) = written("vocab.txt", &VOCABULARY.replace("cafe", "Cafe"));
        let tokenizer = Tokenizer::from_file(path).unwrap();
        assert_eq!(tokenizer.encode("The Cafe the", 16).unwrap().ids, [3, 2, 9, 6, 4]);
        let (folder, path) = written("vocab.txt", VOCABULARY);
        fs::write(folder.path().join(SETTINGS), r#"{"do_lower_case": false}"#).unwrap();
        let tokenizer = Tokenizer::from_file(path).unwrap();
        assert_eq!(tokenizer.encode("The the", 16).unwrap().ids, [3, 2, 6, 4]);
    }

    #[test]
    fn a_vocabulary_that_lacks_a_special_token_or_has_a_piece_twice_is_refused() {
        for name in ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] {
            let found = problem(&VOCABULARY.replace(name, "x"));
            assert!(found.contains(&format!("has no piece {name:?}")), "{found}");
        }
        let twice = problem(&format!("{VOCABULARY}cat\n"));
        assert!(twice.contains("line 12: the piece \"cat\" is there before"), "{twice}");
        let empty = problem(&VOCABULARY.replace("cat", ""));
        assert!(empty.contains("line 8: the piece \"\" is empty"), "{empty}");
        let moved = problem(&format!("first\n{VOCABULARY}"));
        assert!(moved.contains("\"[PAD]\" has the id 1, not 0"), "{moved}");
    }

    #[test]
    fn a_tokenizer_json_of_bert_needs_its_begin() {
        let pieces: Vec<String> = VOCABULARY.lines().map(String::from).collect();
        let mut json = tokenizer_json(&pieces, true).unwrap();
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        let id = vocabulary.remove("[CLS]").unwrap();
        vocabulary.insert("x".into(), id);
        json["added_tokens"] = json!([]);
        json["post_processor"] = Value::Null;
        let (_folder, path) = written("tokenizer.json", &json.to_string());
        let error = Tokenizer::from_file(path).unwrap_err().to_string();
        assert!(error.contains("has no \"[CLS]\""), "{error}");
    }
}

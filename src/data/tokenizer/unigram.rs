//! Unigram models (T5's): what their files leave to the reader.

use std::collections::HashSet;

use tokenizers::models::unigram::Unigram;

use super::{BEGIN, END, PAD, UNKNOWN};

/// What begins a piece that begins a word.
pub(super) const MARK: &str = "▁";
/// How the names of T5's sentinels begin: the masks of its pre-training.
const SENTINEL: &str = "<extra_id_";

/// `model` of `tokenizer`, as texts are read with it: special tokens keep their ids but match
/// nothing, as in SentencePiece. A file gives them a score of 0, the best there is: the model as it
/// is would find `</s>` in a text that spells it.
pub(super) fn for_texts(
    tokenizer: &tokenizers::Tokenizer,
    model: &Unigram,
) -> Result<Unigram, String> {
    if model.byte_fallback() {
        return Err("pieces for single bytes (byte_fallback) are not supported".into());
    }
    let named = [PAD, UNKNOWN, BEGIN, END].concat();
    let mut special: HashSet<&str> = named.into_iter().collect();
    let added = tokenizer.get_added_tokens_decoder();
    special.extend(added.values().filter(|token| token.special).map(|token| &*token.content));
    let is_special = |piece: &str| special.contains(piece) || piece.starts_with(SENTINEL);

    let unknown = model.iter().position(|(piece, _)| UNKNOWN.contains(&piece.as_str()));
    let unknown = unknown.ok_or("the unknown token is no piece of the model")?;
    // Nothing is spelled with no letters.
    let spelled = |piece: &String| if is_special(piece) { String::new() } else { piece.clone() };
    let pieces = model.iter().map(|(piece, score)| (spelled(piece), *score)).collect();
    Unigram::from(pieces, Some(unknown), false).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::super::{Encoded, Tokenizer, Word};
    use crate::data::alignment::Alignment;
    use crate::data::sample::LocatedSpan;
    use crate::geometry::BoundingBox;
    use crate::model::language::Vocabulary;

    /// Pieces of a small T5 and their scores, from id 0. Both are of 32 bits in a `.model`.
    pub(in super::super) const PIECES: [(&str, f32); 16] = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.5),
        ("▁red", -3.25),
        ("▁square", -9.5),
        ("▁squ", -4.5),
        ("are", -4.0),
        ("s", -3.0),
        ("▁the", -3.5),
        ("ed", -5.0),
        ("r", -5.5),
        ("q", -7.0),
        ("u", -6.0),
        ("/", -8.0),
        ("▁Café", -8.5),
    ];

    /// As the file of T5: sentinels behind the pieces, the last first.
    pub(in super::super) fn tokenizer_json() -> Value {
        let sentinels = ["<extra_id_1>", "<extra_id_0>"];
        let named = PIECES.iter().map(|&(piece, score)| (piece, f64::from(score)));
        let vocab: Vec<_> = named.chain(sentinels.map(|name| (name, 0.0))).collect();
        let special = [0, 1, 2, 16, 17].map(|id: usize| {
            json!({ "id": id, "content": vocab[id].0, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
        });
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": special,
            "normalizer": null,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "WhitespaceSplit" },
                { "type": "Metaspace", "replacement": "▁", "add_prefix_space": true },
            ]},
            "post_processor": { "type": "TemplateProcessing",
                "single": [{ "Sequence": { "id": "A", "type_id": 0 } },
                           { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
                "pair": [], "special_tokens":
                    { "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } } },
            "decoder": { "type": "Metaspace", "replacement": "▁", "add_prefix_space": true },
            "model": { "type": "Unigram", "unk_id": 2, "vocab": vocab },
        })
    }

    fn t5() -> Tokenizer {
        Tokenizer::from_json(tokenizer_json().to_string().as_bytes()).unwrap()
    }

    fn spelled<'a>(text: &'a str, encoded: &Encoded) -> Vec<&'a str> {
        encoded.offsets.iter().flatten().map(|span| &text[span.clone()]).collect()
    }

    #[test]
    fn texts_of_t5_begin_with_padding_and_its_sentinels_have_ids() {
        let tokenizer = t5();
        assert_eq!(tokenizer.vocabulary(), Vocabulary { size: 18, pad: 0, begin: 0, end: 1 });
        assert_eq!(tokenizer.encode("", 8).unwrap().ids, [0, 1]);
        assert_eq!(tokenizer.encode_context("red", 8).unwrap(), [4, 1]);
    }

    #[test]
    fn the_pieces_with_the_highest_sum_of_scores_are_taken() {
        let tokenizer = t5();
        // ▁squ + are = −8.5 is better than ▁square = −9.5.
        let text = "the red  square";
        let encoded = tokenizer.encode(text, 16).unwrap();
        assert_eq!(encoded.ids, [0, 9, 4, 6, 7, 1]);
        assert_eq!(spelled(text, &encoded), ["the", "red", "squ", "are"]);
        assert_eq!(tokenizer.decode(&encoded.ids), "the red square");
        assert_eq!(tokenizer.encode(text, 3).unwrap().ids, [0, 9, 4]);
    }

    #[test]
    fn offsets_count_bytes_and_unknown_letters_are_one_piece() {
        let tokenizer = t5();
        let text = "Café ééred";
        let encoded = tokenizer.encode(text, 16).unwrap();
        assert_eq!(encoded.ids, [0, 15, 3, 2, 11, 10, 1], "▁Café, ▁, unknown, r, ed");
        assert_eq!(encoded.offsets[1], Some(0..5));
        assert_eq!(encoded.offsets[3], Some(6..10));
        assert_eq!(spelled(text, &encoded)[3..], ["r", "ed"]);
        let words = tokenizer.words(&encoded.ids);
        assert_eq!(words[1], Word { text: "<unk>red".into(), token_range: 2..6 });
        assert_eq!(tokenizer.decode(&encoded.ids), "Café <unk>red");
    }

    #[test]
    fn decoding_skips_a_begin_that_is_padding_and_stops_at_the_next() {
        let tokenizer = t5();
        assert_eq!(tokenizer.decode(&[0, 4, 6, 7, 0, 4]), "red square");
        assert_eq!(tokenizer.decode(&[0, 4, 1, 4]), "red");
        assert_eq!(tokenizer.decode(&[0, 0, 4]), "");
        assert_eq!(tokenizer.decode(&[4, 9]), "red the", "a text without its begin");
        // Ids that only the model's table has, up to 32127 in T5, and a mark that nothing follows.
        assert_eq!(tokenizer.decode(&[0, 4, 3, 9, 32_127, 1]), "red the<unk>");
        assert_eq!(tokenizer.words(&[0, 4, 3, 9, 1])[1].token_range, 3..4);
    }

    #[test]
    fn special_tokens_spelled_in_a_text_are_text() {
        let tokenizer = t5();
        for text in ["red </s> red", "red</s>", "</s>", "<pad>", "<extra_id_0> s", "<unk>s"] {
            let ids = tokenizer.encode(text, 64).unwrap().ids;
            let special = |id: &&i64| [0, 1, 16, 17].contains(*id);
            assert_eq!(ids.iter().filter(special).count(), 2, "{text}: {ids:?}");
        }
        // ▁, unknown, /, s, unknown
        assert_eq!(tokenizer.encode("</s>", 64).unwrap().ids, [0, 3, 2, 14, 8, 2, 1]);
    }

    #[test]
    fn a_saved_tokenizer_reads_back_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokenizer.json");
        t5().save(&path).unwrap();
        let read = Tokenizer::from_file(&path).unwrap();
        assert_eq!(read.vocabulary(), t5().vocabulary());
        for text in ["the red square", "Café </s> <extra_id_0>", "zz"] {
            assert_eq!(read.encode(text, 40).unwrap(), t5().encode(text, 40).unwrap());
        }
    }

    #[test]
    fn pieces_find_the_utterance_they_were_said_in() {
        let tokenizer = t5();
        let text = "the red squares";
        // Spaces belong to the utterance before them, marks to the piece behind them.
        let bounds = |k: f32| BoundingBox::new(k, 0.0, k + 1.0, 1.0);
        let locations = [(0..4, 1.0), (4..8, 2.0), (8..15, 3.0)]
            .map(|(span, k)| LocatedSpan::new(Some(span), bounds(k)));
        let encoded = tokenizer.encode(text, 16).unwrap();
        assert_eq!(encoded.ids, [0, 9, 4, 6, 7, 8, 1]);
        let places = |alignment: Alignment| -> Vec<_> {
            let aligned = alignment.align(&locations, &encoded.offsets);
            aligned.iter().map(|place| place.map(|place| place.x0 as usize)).collect()
        };
        let expected = [None, Some(1), Some(2), Some(3), Some(3), Some(3), None];
        assert_eq!(places(Alignment::Offsets), expected);
        // 1 + n/5 · 2 = 1.4, 1.8, 2.2, 2.6, 3.
        let expected = [None, Some(1), Some(2), Some(2), Some(3), Some(3), None];
        assert_eq!(places(Alignment::Rank), expected);
    }

    #[test]
    fn what_cannot_be_read_like_t5_is_refused() {
        let problem = |edit: fn(&mut Value)| {
            let mut json = tokenizer_json();
            edit(&mut json);
            Tokenizer::from_json(json.to_string().as_bytes()).unwrap_err()
        };
        let bytes = problem(|json| json["model"]["byte_fallback"] = json!(true));
        assert!(bytes.contains("byte_fallback"), "{bytes}");
        let first = problem(|json| {
            json["added_tokens"] = json!([]);
            let vocab = json["model"]["vocab"].as_array_mut().unwrap();
            vocab.swap(0, 3);
        });
        assert!(first.contains("\"<pad>\" has the id 3, not 0"), "{first}");
        let end = problem(|json| {
            json["added_tokens"] = json!([]);
            json["model"]["vocab"][1] = json!(["x", -9.0]);
        });
        assert!(end.contains("</s>"), "{end}");
    }
}

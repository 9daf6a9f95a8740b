//! Training of a WordPiece vocabulary: from characters upwards, the most frequent pair of pieces
//! becomes a piece, until the vocabulary is full.
//!
//! The `tokenizers` crate can do this too, but numbers pieces in the order of a hash map: two runs
//! on the same texts give different ids. Here every order is that of the pieces themselves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use serde_json::Value;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use super::wordpiece::{INSIDE, tokenizer_json};
use super::{BEGIN, END, HELP, PAD, UNKNOWN};
use crate::error::{Error, Result};

/// Special tokens, from id 0.
const SPECIAL: [&str; 4] = [PAD[0], UNKNOWN[0], BEGIN[0], END[0]];
/// A pair seen less often is no piece.
const MIN_FREQUENCY: u64 = 2;

/// Two pieces beside each other.
type Pair = (usize, usize);

/// The content of a `tokenizer.json`.
pub(super) fn train(
    texts: impl IntoIterator<Item = impl AsRef<str>>,
    vocabulary_size: usize,
) -> Result<Value> {
    let counts = count_words(texts)?;
    if counts.is_empty() {
        return Err(Error::Usage {
            problem: "the texts to train a tokenizer on have no words".to_string(),
            help: "Check the data sources of the experiment.".to_string(),
        });
    }
    let mut trainer = Trainer::new(&counts);
    if trainer.pieces.len() > vocabulary_size {
        return Err(Error::Usage {
            problem: format!(
                "a vocabulary of {vocabulary_size} has no room for the special tokens and \
                 characters of the texts"
            ),
            help: format!("Ask for at least {} ids.", trainer.pieces.len()),
        });
    }
    while trainer.pieces.len() < vocabulary_size && trainer.merge_most_frequent() {}
    tokenizer_json(&trainer.pieces, true)
        .map_err(|problem| Error::Compute { problem, help: HELP.to_string() })
}

/// How often each word occurs, after BERT's normalisation (lower case, no accents) and splitting
/// (white space, punctuation).
fn count_words(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<BTreeMap<String, u64>> {
    let normalizer = BertNormalizer::default();
    let mut counts = BTreeMap::new();
    for text in texts {
        let text = text.as_ref();
        let unusable = |error: tokenizers::Error| Error::Compute {
            problem: format!("cannot split {text:?} into words: {error}"),
            help: "Take the text out of the data.".to_string(),
        };
        let mut normalized = NormalizedString::from(text);
        normalizer.normalize(&mut normalized).map_err(unusable)?;
        let mut split = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut split).map_err(unusable)?;
        for (word, _, _) in split.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            *counts.entry(word.to_string()).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// Words as pieces, and where each pair of pieces occurs.
struct Trainer {
    pieces: Vec<String>,
    ids: HashMap<String, usize>,
    /// Each word's pieces, and how often it occurs.
    words: Vec<(Vec<usize>, u64)>,
    frequencies: HashMap<Pair, u64>,
    /// Words that may hold a pair.
    places: HashMap<Pair, BTreeSet<usize>>,
    /// Frequencies as they once were, the highest first; among equals the older pieces first.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Trainer {
    fn new(counts: &BTreeMap<String, u64>) -> Self {
        let spelled = |word: &str| -> Vec<String> {
            let spell = |(index, character): (usize, char)| match index {
                0 => character.to_string(),
                _ => format!("{INSIDE}{character}"),
            };
            word.chars().enumerate().map(spell).collect()
        };
        let alphabet: BTreeSet<String> = counts.keys().flat_map(|word| spelled(word)).collect();
        let pieces: Vec<String> = SPECIAL.iter().map(ToString::to_string).chain(alphabet).collect();
        let ids: HashMap<_, _> =
            pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id)).collect();
        let words = counts
            .iter()
            .map(|(word, count)| (spelled(word).iter().map(|piece| ids[piece]).collect(), *count))
            .collect();
        let mut trainer = Self {
            pieces,
            ids,
            words,
            frequencies: HashMap::new(),
            places: HashMap::new(),
            queue: BinaryHeap::new(),
        };
        let mut pairs = BTreeSet::new();
        for index in 0..trainer.words.len() {
            trainer.count_pairs(index, &mut pairs);
        }
        trainer.queue_pairs(pairs);
        trainer
    }

    /// Makes the most frequent pair a piece; false where no pair is frequent enough.
    fn merge_most_frequent(&mut self) -> bool {
        while let Some((frequency, Reverse(pair))) = self.queue.pop() {
            // Queued before other merges changed its frequency; the change queued it again.
            if self.frequencies.get(&pair) != Some(&frequency) {
                continue;
            }
            if frequency < MIN_FREQUENCY {
                return false;
            }
            self.merge(pair);
            return true;
        }
        false
    }

    fn merge(&mut self, pair: Pair) {
        let (left, right) = pair;
        let right_text = &self.pieces[right];
        let merged = format!(
            "{}{}",
            self.pieces[left],
            right_text.strip_prefix(INSIDE).unwrap_or(right_text)
        );
        let id = *self.ids.entry(merged.clone()).or_insert_with(|| {
            self.pieces.push(merged);
            self.pieces.len() - 1
        });
        let mut changed = BTreeSet::new();
        for index in self.places.remove(&pair).unwrap_or_default() {
            self.discount_pairs(index, &mut changed);
            let (pieces, _) = &mut self.words[index];
            *pieces = joined(pieces, pair, id);
            self.count_pairs(index, &mut changed);
        }
        self.queue_pairs(changed);
    }

    fn count_pairs(&mut self, index: usize, changed: &mut BTreeSet<Pair>) {
        let (pieces, count) = &self.words[index];
        for pair in pieces.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.frequencies.entry(pair).or_insert(0) += count;
            self.places.entry(pair).or_default().insert(index);
            changed.insert(pair);
        }
    }

    fn discount_pairs(&mut self, index: usize, changed: &mut BTreeSet<Pair>) {
        let (pieces, count) = &self.words[index];
        for pair in pieces.windows(2).map(|pair| (pair[0], pair[1])) {
            if let Some(frequency) = self.frequencies.get_mut(&pair) {
                *frequency -= count;
            }
            changed.insert(pair);
        }
    }

    fn queue_pairs(&mut self, pairs: BTreeSet<Pair>) {
        for pair in pairs {
            if let Some(&frequency) = self.frequencies.get(&pair).filter(|count| **count > 0) {
                self.queue.push((frequency, Reverse(pair)));
            }
        }
    }
}

/// `pieces` with each `pair`, from the left, as the one piece `id`.
fn joined(pieces: &[usize], pair: Pair, id: usize) -> Vec<usize> {
    let mut result = Vec::with_capacity(pieces.len());
    let mut rest = pieces;
    while let [first, tail @ ..] = rest {
        if *first == pair.0 && tail.first() == Some(&pair.1) {
            result.push(id);
            rest = &tail[1..];
        } else {
            result.push(*first);
            rest = tail;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_most_frequent_pair_is_merged_first_and_ties_go_to_older_pieces() {
        // "ab" 3 times, "cd" twice, "ef" twice, "xy" once.
        let json = train(["ab ab ab cd ef xy", "ef cd"], 100).unwrap();
        let vocabulary = json["model"]["vocab"].as_object().unwrap();
        let pieces: Vec<_> = vocabulary.keys().map(String::as_str).collect();
        let alphabet = ["##b", "##d", "##f", "##y", "a", "c", "e", "x"];
        assert_eq!(pieces[4..12], alphabet);
        assert_eq!(pieces[12..], ["ab", "cd", "ef"], "xy was seen once only");
        assert!(vocabulary.values().enumerate().all(|(id, value)| value == id));
    }

    #[test]
    fn merging_stops_when_the_vocabulary_is_full() {
        let json = train(["abcd abcd"], 4 + 4 + 2).unwrap();
        let vocabulary = json["model"]["vocab"].as_object().unwrap();
        // All pairs are equally frequent: ("##b", "##c") has the lowest ids, then ("##bc", …) is
        // younger than ("a", …): pairs are compared from the left.
        let merged: Vec<_> = vocabulary.keys().skip(8).collect();
        assert_eq!(merged, ["##bc", "abc"]);
    }

    #[test]
    fn repeated_pieces_are_joined_from_the_left() {
        assert_eq!(joined(&[7, 7, 7, 8, 7, 7], (7, 7), 9), [9, 7, 8, 9]);
        assert!(joined(&[], (7, 7), 9).is_empty());
    }
}

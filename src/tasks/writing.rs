//! Texts that the model wrote, on the host.

use burn::tensor::{Int, Tensor};

use super::predictor::Predictor;
use super::prompt::floats;
use super::{Token, WrittenWord};
use crate::data::tokenizer::{Tokenizer, Word};
use crate::model::language::beam::Beams;
use crate::model::language::decoding::Generated;

/// A text that the model wrote.
#[derive(Debug, Clone)]
pub(crate) struct WrittenText {
    /// Begin, words, end; end again in what is left.
    pub(crate) ids: Vec<i64>,
    /// Log-probability of each.
    pub(crate) log_probs: Vec<f32>,
    /// As [`Generated::scores`].
    pub(crate) score: f32,
}

impl WrittenText {
    /// Log-probability of each token that was written, up to the first end. In the last place an end was
    /// put, not written.
    pub(super) fn token_log_probs(&self, end: i64) -> Vec<f32> {
        let last = self.ids.len().saturating_sub(1);
        let written = self.ids.iter().take(last).skip(1);
        let count = written.clone().take_while(|&&id| id != end).count();
        let log_probs = self.log_probs.get(1..last).unwrap_or_default();
        log_probs.iter().take(count + 1).copied().collect()
    }

    /// Each token that was written, up to the first end.
    pub(super) fn tokens(&self, tokenizer: &Tokenizer) -> Vec<Token> {
        let log_probs = self.token_log_probs(tokenizer.vocabulary().end);
        let written = self.ids.iter().skip(1).zip(log_probs);
        written.map(|(&id, log_prob)| Token { id, piece: tokenizer.piece(id), log_prob }).collect()
    }

    /// Sum of the log-probabilities of a word's pieces.
    pub(super) fn log_prob_of(&self, word: &Word) -> f32 {
        self.log_probs.get(word.token_range.clone()).unwrap_or_default().iter().sum()
    }
}

impl Predictor {
    /// The words of a text, and the text that they make.
    pub(super) fn words(&self, text: &WrittenText) -> (Vec<Word>, String) {
        (self.tokenizer.words(&text.ids), self.tokenizer.decode(&text.ids))
    }

    /// The words of a text with what they are worth, and the text that they make.
    pub(super) fn written_words(&self, text: &WrittenText) -> (Vec<WrittenWord>, String) {
        let (words, caption) = self.words(text);
        let word = |word: Word| WrittenWord { log_prob: text.log_prob_of(&word), text: word.text };
        (words.into_iter().map(word).collect(), caption)
    }
}

/// The best text of each row, read back.
pub(super) fn read_back(generated: Generated) -> Vec<WrittenText> {
    let Generated { tokens, log_probs, scores, .. } = generated;
    let [_, length] = tokens.dims();
    texts(length, integers(tokens), floats(log_probs), floats(scores))
}

/// The `K` texts of each row, read back, the best last.
pub(super) fn read_beams(beams: Beams) -> Vec<Vec<WrittenText>> {
    let Beams { tokens, log_probs, scores } = beams;
    let [_, count, length] = tokens.dims();
    let texts = texts(length, integers(tokens), floats(log_probs), floats(scores));
    texts.chunks(count.max(1)).map(<[_]>::to_vec).collect()
}

/// Texts of `length` tokens, one after the other.
fn texts(length: usize, ids: Vec<i64>, log_probs: Vec<f32>, scores: Vec<f32>) -> Vec<WrittenText> {
    let length = length.max(1);
    let texts = ids.chunks(length).zip(log_probs.chunks(length)).zip(scores);
    let text = |((ids, log_probs), score): ((&[i64], &[f32]), f32)| WrittenText {
        ids: ids.to_vec(),
        log_probs: log_probs.to_vec(),
        score,
    };
    texts.map(text).collect()
}

/// A tensor's ids, read back.
fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}

//! Texts that the model wrote, on the host.

use burn::tensor::{Int, Tensor};

use super::predictor::Predictor;
use super::prompt::floats;
use crate::data::tokenizer::Word;
use crate::model::language::LanguageState;
use crate::model::language::decoding::{Generated, write};

/// A text that the model wrote.
#[derive(Debug, Clone)]
pub(super) struct WrittenText {
    /// Begin, words, end; end again in what is left.
    pub(super) ids: Vec<i64>,
    /// Log-probability of each.
    pub(super) log_probs: Vec<f32>,
    /// As [`Generated::scores`].
    pub(super) score: f32,
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
}

impl Predictor {
    /// Writes a text of at most `max_tokens` after each prompt that `state` has read, as
    /// [`Predictor::with_decoding`] says; also the features `[R, T, D]` of their tokens.
    pub(super) fn write(
        &self,
        state: LanguageState,
        max_tokens: usize,
    ) -> (Vec<WrittenText>, Tensor<3>) {
        let generated = write(self.model.language(), state, max_tokens, &self.decoding);
        let features = generated.features.clone();
        (read_back(generated), features)
    }

    /// The words of a text, and the text that they make.
    pub(super) fn words(&self, text: &WrittenText) -> (Vec<Word>, String) {
        (self.tokenizer.words(&text.ids), self.tokenizer.decode(&text.ids))
    }
}

/// The texts, read back.
pub(super) fn read_back(generated: Generated) -> Vec<WrittenText> {
    let Generated { tokens, log_probs, scores, .. } = generated;
    let length = tokens.dims()[1].max(1);
    let (ids, log_probs, scores) = (integers(tokens), floats(log_probs), floats(scores));
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

//! Texts that the model wrote, on the host.

use burn::tensor::{Int, Tensor};

use super::predictor::Predictor;
use super::prompt::floats;
use crate::data::tokenizer::Word;
use crate::model::language::LanguageState;
use crate::model::language::decoding::{Generated, greedy};

/// A text that the model wrote.
#[derive(Debug, Clone)]
pub(super) struct WrittenText {
    /// Begin, words, end; end again in what is left.
    pub(super) ids: Vec<i64>,
    /// Log-probability of each.
    pub(super) log_probs: Vec<f32>,
    /// Σ log-probability / number of words.
    pub(super) score: f32,
}

impl Predictor {
    /// Writes a text of at most `max_tokens` after each prompt that `state` has read; also the
    /// features `[R, T, D]` of their tokens.
    pub(super) fn write(
        &self,
        state: LanguageState,
        max_tokens: usize,
    ) -> (Vec<WrittenText>, Tensor<3>) {
        let language = self.model.language();
        let generated = greedy(language, state, max_tokens);
        let scores = floats(generated.scores(&language.vocabulary()));
        let Generated { tokens, log_probs, features } = generated;
        let length = tokens.dims()[1].max(1);
        let (ids, log_probs) = (integers(tokens), floats(log_probs));
        let texts = ids.chunks(length).zip(log_probs.chunks(length)).zip(scores);
        let text = |((ids, log_probs), score): ((&[i64], &[f32]), f32)| WrittenText {
            ids: ids.to_vec(),
            log_probs: log_probs.to_vec(),
            score,
        };
        (texts.map(text).collect(), features)
    }

    /// The words of a text, and the text that they make.
    pub(super) fn words(&self, text: &WrittenText) -> (Vec<Word>, String) {
        (self.tokenizer.words(&text.ids), self.tokenizer.decode(&text.ids))
    }
}

/// A tensor's ids, read back.
fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}

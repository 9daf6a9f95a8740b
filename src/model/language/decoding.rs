//! Writing texts token by token (`spec/inference.md` §4).

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};

use super::{LanguageModel, LanguageState, Vocabulary};

/// The logit of a token that must not follow.
const FORBIDDEN: f32 = -10_000.0;

/// Texts that a model wrote: `R` rows of `M` tokens.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `[R, M]`: begin, words, end; end again in what is left.
    pub tokens: Tensor<2, Int>,
    /// Log-probability of each token, `[R, M]`; 0 at begin and after the first end.
    pub log_probs: Tensor<2>,
    /// Features of every token that was read, `[R, T, D]` with `T ≤ M`: at least up to the last word
    /// of each row. Texts are causal, so these are what reading the whole text at once would give.
    pub features: Tensor<3>,
}

impl Generated {
    /// Σ log-probability / number of words, `[R]`: the end counts in the sum, not in the number.
    pub fn scores(&self, vocabulary: &Vocabulary) -> Tensor<1> {
        let words = self.tokens.clone().not_equal_elem(vocabulary.end).float().sum_dim(1) - 1.0;
        let scores = self.log_probs.clone().sum_dim(1) / words.clamp_min(1.0);
        scores.squeeze_dim(1)
    }
}

/// Written texts `[B, N, L]`, filled up with ends, as texts to read: from the second end on, padding.
pub fn pad_behind_end(tokens: Tensor<3, Int>, vocabulary: &Vocabulary) -> Tensor<3, Int> {
    let ends = tokens.clone().equal_elem(vocabulary.end).int().cumsum(2);
    tokens.mask_fill(ends.greater_elem(1), vocabulary.pad)
}

/// Takes the most probable token at each step, the same never twice in a row. The last of
/// `max_tokens` is always an end; more tokens than the model has positions cannot be asked for.
///
/// `state` has read the prefix of each of the `R` texts and nothing else.
pub fn greedy(model: &LanguageModel, mut state: LanguageState, max_tokens: usize) -> Generated {
    let rows = state.num_rows();
    let max_tokens = max_tokens.min(model.max_text_tokens());
    let read = |tokens: Tensor<2, Int>| {
        let features = model.read(&mut state, tokens);
        (model.logits(features.clone()).squeeze_dim(1), features)
    };
    greedy_by(read, rows, max_tokens, &model.vocabulary(), &model.device())
}

/// Greedy decoding over any `read`: the last token of each row `[R, 1]` → logits `[R, V]` and
/// features `[R, 1, D]`.
pub fn greedy_by(
    mut read: impl FnMut(Tensor<2, Int>) -> (Tensor<2>, Tensor<3>),
    rows: usize,
    max_tokens: usize,
    vocabulary: &Vocabulary,
    device: &Device,
) -> Generated {
    let mut previous = Tensor::<2, Int>::full([rows, 1], vocabulary.begin, device);
    let mut tokens = vec![previous.clone()];
    let mut log_probs = vec![Tensor::<2>::zeros([rows, 1], device)];
    let ids = Tensor::<1, Int>::arange(0..vocabulary.size as i64, device).unsqueeze::<2>();
    let (mut logits, first) = read(previous.clone());
    let mut features = vec![first];
    for _ in 2..max_tokens {
        let repeated = ids.clone().equal(previous.clone());
        let suppressed = logits.clone().clamp_max(FORBIDDEN);
        let scores = log_softmax(logits.mask_where(repeated, suppressed), 1);
        let (best, chosen) = scores.max_dim_with_indices(1);
        let ended = previous.equal_elem(vocabulary.end);
        previous = chosen.mask_fill(ended.clone(), vocabulary.end);
        tokens.push(previous.clone());
        log_probs.push(best.mask_fill(ended, 0.0));
        if previous.clone().equal_elem(vocabulary.end).all().into_scalar::<bool>() {
            break;
        }
        let (next, feature) = read(previous.clone());
        logits = next;
        features.push(feature);
    }
    let rest = max_tokens.saturating_sub(tokens.len());
    if rest > 0 {
        tokens.push(Tensor::full([rows, rest], vocabulary.end, device));
        log_probs.push(Tensor::zeros([rows, rest], device));
    }
    Generated {
        tokens: Tensor::cat(tokens, 1),
        log_probs: Tensor::cat(log_probs, 1),
        features: Tensor::cat(features, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_stays_and_from_the_second_on_is_padding() {
        let device = Device::flex();
        let vocabulary = Vocabulary { size: 8, pad: 0, begin: 1, end: 2 };
        let texts = [[[1, 5, 2, 2, 2], [1, 5, 6, 7, 2], [1, 2, 4, 2, 3]]];
        let read = pad_behind_end(Tensor::<3, Int>::from_data(texts, &device), &vocabulary);
        let expected = [1, 5, 2, 0, 0, 1, 5, 6, 7, 2, 1, 2, 4, 0, 0];
        assert_eq!(read.into_data().iter::<i64>().collect::<Vec<_>>(), expected);
    }
}

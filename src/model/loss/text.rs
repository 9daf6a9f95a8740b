//! Text loss (`spec/losses.md` §1): label-smoothed cross-entropy over the tokens of a batch.

use burn::tensor::{Int, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::kernels::cross_entropy::{Labels, cross_entropy};
use crate::model::language::Vocabulary;

/// Weight and shape of the text loss; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextLossConfig {
    /// Weight in the sum of losses.
    pub weight: f64,
    /// Probability spread over the wrong tokens, from 0 to below 1.
    pub label_smoothing: f64,
}

impl Default for TextLossConfig {
    fn default() -> Self {
        Self { weight: 1.0, label_smoothing: 0.1 }
    }
}

/// Mean over every token that is predicted: not padding, in a valid row that is not empty.
///
/// # Shapes
/// - `logits`: `[B, N, L, V]`
/// - `tokens`: `[B, N, L]`, begin token first
/// - `row_valid`: `[B, N]`, 1 or 0
/// - result: `[1]`; 0 where nothing is predicted
pub fn text_loss(
    logits: Tensor<4>,
    tokens: Tensor<3, Int>,
    row_valid: Tensor<2>,
    vocabulary: &Vocabulary,
    label_smoothing: f64,
) -> Tensor<1> {
    let [batch, rows, length, size] = logits.dims();
    let valid = predicted_tokens(tokens.clone(), row_valid, vocabulary);
    // (1 − ε) on the true class and ε / (V − 1) on each of the others.
    let others = label_smoothing / (size as f64 - 1.0);
    let labels = || labels(&tokens, &valid, [(1.0 - label_smoothing) as f32, others as f32]);
    let scores = logits.clone().reshape([batch * rows * length, size]);
    if let Some(loss) = cross_entropy(scores, labels) {
        return loss;
    }
    let targets = tokens.narrow(2, 1, length - 1);
    let logits = logits.narrow(2, 0, length - 1);

    let log_probs = activation::log_softmax(logits, 3);
    let picked = log_probs.clone().gather(3, targets.unsqueeze_dim(3));
    let picked = picked.reshape([batch, rows, length - 1]);
    let all = log_probs.sum_dim(3).reshape([batch, rows, length - 1]);
    let losses = picked * (1.0 - label_smoothing - others) + all * others;
    -(losses * valid.clone()).sum() / (valid.sum() + 1e-8)
}

/// The class of each token, which is the token that follows, and how much it counts: the last of a text does
/// not. Probabilities of the class and of each other.
///
/// # Shapes
/// - `tokens`: `[B, N, L]`
/// - `valid`: `[B, N, L - 1]`
fn labels(tokens: &Tensor<3, Int>, valid: &Tensor<3>, [of_class, of_others]: [f32; 2]) -> Labels {
    let length = tokens.dims()[2];
    let tokens: Vec<i64> = tokens.to_data().iter().collect();
    let valid: Vec<f32> = valid.to_data().iter().collect();
    let scale = 1.0 / (valid.iter().sum::<f32>() + 1e-8);
    let (mut classes, mut weights) = (Vec::new(), Vec::new());
    let mut valid = valid.into_iter();
    for text in tokens.chunks_exact(length) {
        classes.extend(text[1..].iter().map(|token| *token as usize).chain([0]));
        weights.extend(valid.by_ref().take(length - 1).map(|valid| valid * scale).chain([0.0]));
    }
    Labels { classes, weights, of_class, of_others }
}

/// 1 for every token that is predicted, of those after the first: `[B, N, L - 1]`. Shapes as in
/// [`text_loss`].
pub fn predicted_tokens(
    tokens: Tensor<3, Int>,
    row_valid: Tensor<2>,
    vocabulary: &Vocabulary,
) -> Tensor<3> {
    let length = tokens.dims()[2];
    let targets = tokens.narrow(2, 1, length - 1);
    let not_empty = targets.clone().narrow(2, 0, 1).not_equal_elem(vocabulary.end).float();
    let row_valid = row_valid.unsqueeze_dim::<3>(2) * not_empty;
    targets.greater_elem(0).float() * row_valid
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::testing::{assert_gradient, pattern};

    const VOCABULARY: Vocabulary = Vocabulary { size: 3, pad: 0, begin: 1, end: 2 };

    #[test]
    fn uniform_logits_cost_the_logarithm_of_the_vocabulary() {
        let device = Device::flex();
        let logits = Tensor::zeros([1, 1, 3, 3], &device);
        let tokens = Tensor::<3, Int>::from_data([[[1, 1, 2]]], &device);
        let valid = Tensor::ones([1, 1], &device);
        let loss = text_loss(logits, tokens, valid, &VOCABULARY, 0.1).into_scalar::<f32>();
        assert!((loss - 3f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn padding_invalid_and_empty_rows_cost_nothing() {
        let device = Device::flex();
        let logits = Tensor::<1>::from_data([5.0, 0.0, 0.0], &device)
            .reshape([1, 1, 1, 3])
            .expand([1, 3, 4, 3]);
        // A word, its end and padding; the same in an invalid row; an empty row.
        let tokens =
            Tensor::<3, Int>::from_data([[[1, 1, 2, 0], [1, 1, 2, 0], [1, 2, 0, 0]]], &device);
        let valid = Tensor::<2>::from_data([[1.0, 0.0, 1.0]], &device);
        let loss = text_loss(logits.clone(), tokens.clone(), valid.clone(), &VOCABULARY, 0.0);
        // −log softmax of a logit that is 5 below the largest of three.
        let expected = 5.0 + (1.0 + 2.0 * (-5f32).exp()).ln();
        assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-5);

        // T5's begin is its padding: never a target, so that the first word counts all the same.
        let t5 = Vocabulary { size: 3, pad: 0, begin: 0, end: 2 };
        let tokens = tokens.mask_fill(
            Tensor::<3, Int>::from_data([[[1, 0, 0, 0]; 3]], &device).equal_elem(1),
            t5.begin,
        );
        let loss = text_loss(logits.clone(), tokens.clone(), valid, &t5, 0.0);
        assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-5);

        let none = Tensor::zeros([1, 3], &device);
        let nothing = text_loss(logits, tokens, none, &VOCABULARY, 0.1);
        assert_eq!(nothing.into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let device = Device::flex().autodiff();
        let vocabulary = Vocabulary { size: 6, pad: 0, begin: 1, end: 2 };
        // A text, one that is cut, an empty one, a filler.
        let tokens = [[[1, 3, 4, 2, 0], [1, 5, 5, 3, 4], [1, 2, 0, 0, 0], [0; 5]]];
        let tokens = Tensor::<3, Int>::from_data(tokens, &device);
        let valid = Tensor::<2>::from_data([[1.0, 1.0, 1.0, 0.0]], &device);
        let logits = Tensor::<1>::from_data(pattern(4 * 5 * 6, 5).as_slice(), &device);
        let logits = logits.reshape([1, 4, 5, 6]) * 3.0;
        for smoothing in [0.0, 0.1] {
            assert_gradient(logits.clone().detach(), |logits| {
                text_loss(logits, tokens.clone(), valid.clone(), &vocabulary, smoothing)
            });
        }
    }
}

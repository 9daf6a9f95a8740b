//! Point loss (`spec/losses.md` §2): how far each word's corners are from where it was said.

use burn::tensor::{Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::token_rule::TokenKind;
use crate::model::language::Vocabulary;

/// Weight and unit of the point loss; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PointLossConfig {
    /// Weight in the sum of losses; the paper's 0.1 belongs to pixels of a 384-pixel canvas.
    pub weight: f64,
    /// What a distance of 1 is.
    pub unit: PointUnit,
    /// How far a token is from its target.
    pub distance: PointDistance,
}

impl Default for PointLossConfig {
    fn default() -> Self {
        Self { weight: 0.1, unit: PointUnit::Pixels, distance: PointDistance::L1Nonzero }
    }
}

/// What a distance of 1 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PointUnit {
    /// A pixel of the canvas (the reference).
    Pixels,
    /// The width or height of the un-padded image: does not depend on the canvas.
    Normalised,
}

/// How far a token is from its target: a mean over its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PointDistance {
    /// Absolute differences; a target of zeros is none (the paper).
    L1Nonzero,
    /// Absolute differences, to targets of zeros too.
    L1,
    /// Squared differences, to targets of zeros too.
    L2,
}

/// Which tokens of a text have a place to be learnt (§2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSelection {
    /// Every real piece of a word (`begin,end,pad` ignored): narratives.
    Words,
    /// The last piece before the end (`^end-1`): expressions. A text that was cut and has no end has
    /// none.
    LastWord,
}

/// 1 for the tokens that a rule selects, else 0.
///
/// # Shapes
/// - `tokens`: `[B, N, L]`
/// - result: `[B, N, L]`
pub fn select_tokens(
    tokens: Tensor<3, Int>,
    vocabulary: &Vocabulary,
    selection: TokenSelection,
) -> Tensor<3> {
    let of = |kind: TokenKind| kind.of(tokens.clone(), vocabulary);
    let selected = match selection {
        TokenSelection::Words => of(TokenKind::Text),
        // Of an empty text, the begin token stands before the end; it is not a word.
        TokenSelection::LastWord => of(TokenKind::BeforeEnd).bool_and(of(TokenKind::Text)),
    };
    selected.float()
}

/// Mean over the selected tokens of the distance to their target.
///
/// # Shapes
/// - `predicted`, `target`: `[B, N, L, P, 2]`, in the same unit
/// - `mask`: `[B, N, L]`, 1 where a token is selected and its row valid
/// - result: `[1]`; 0 where nothing is selected
pub fn point_loss(
    predicted: Tensor<5>,
    target: Tensor<5>,
    mask: Tensor<3>,
    distance: PointDistance,
) -> Tensor<1> {
    let [batch, rows, length, points, _] = target.dims();
    let flat = |x: Tensor<5>| x.reshape([batch, rows, length, points * 2]);
    let mask = counted_tokens(target.clone(), mask, distance);
    let differences = predicted - target;
    let differences = match distance {
        PointDistance::L1Nonzero | PointDistance::L1 => differences.abs(),
        PointDistance::L2 => differences.square(),
    };
    let errors = flat(differences).mean_dim(3).reshape([batch, rows, length]);
    (errors * mask.clone()).sum() / mask.sum().clamp_min(1.0)
}

/// Those of the selected tokens that count: `[B, N, L]`. Shapes as in [`point_loss`].
pub fn counted_tokens(target: Tensor<5>, mask: Tensor<3>, distance: PointDistance) -> Tensor<3> {
    match distance {
        PointDistance::L1Nonzero => {
            let squares = target.square().sum_dim(4).sum_dim(3).reshape(mask.dims());
            mask * squares.greater_elem(0.0).float()
        }
        PointDistance::L1 | PointDistance::L2 => mask,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::testing::{assert_gradient, pattern};

    const VOCABULARY: Vocabulary = Vocabulary { size: 10, pad: 0, begin: 1, end: 2 };

    fn selected(tokens: [[[i64; 5]; 3]; 1], selection: TokenSelection) -> Vec<f32> {
        let tokens = Tensor::<3, Int>::from_data(tokens, &Device::flex());
        select_tokens(tokens, &VOCABULARY, selection).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn words_are_all_but_special_tokens_and_the_last_word_comes_before_the_end() {
        // A text, one that was cut before its end, an empty one.
        let tokens = [[[1, 5, 6, 2, 0], [1, 5, 6, 7, 8], [1, 2, 0, 0, 0]]];
        let words = selected(tokens, TokenSelection::Words);
        assert_eq!(words, [0., 1., 1., 0., 0., 0., 1., 1., 1., 1., 0., 0., 0., 0., 0.]);
        let last = selected(tokens, TokenSelection::LastWord);
        assert_eq!(last, [0., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.]);
    }

    #[test]
    fn a_begin_that_is_padding_hides_no_words() {
        let t5 = Vocabulary { size: 10, pad: 0, begin: 0, end: 1 };
        // A text, one that was cut before its end, an empty one.
        let tokens = [[[0, 5, 6, 1, 0], [0, 5, 6, 7, 8], [0, 1, 0, 0, 0]]];
        let selected = |selection| {
            let tokens = Tensor::<3, Int>::from_data(tokens, &Device::flex());
            let selected = select_tokens(tokens, &t5, selection);
            selected.into_data().try_to_vec::<f32>().unwrap()
        };
        let words = selected(TokenSelection::Words);
        assert_eq!(words, [0., 1., 1., 0., 0., 0., 1., 1., 1., 1., 0., 0., 0., 0., 0.]);
        let last = selected(TokenSelection::LastWord);
        assert_eq!(last, [0., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.]);
    }

    #[test]
    fn the_error_is_a_mean_over_coordinates_of_tokens_with_a_target() {
        let device = Device::flex();
        let predicted = Tensor::<5>::zeros([1, 1, 3, 2, 2], &device);
        let target = Tensor::<1>::from_data(
            [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0],
            &device,
        )
        .reshape([1, 1, 3, 2, 2]);
        let mask = Tensor::<3>::from_data([[[1.0, 1.0, 0.0]]], &device);
        let loss = |distance| {
            let loss = point_loss(predicted.clone(), target.clone(), mask.clone(), distance);
            loss.into_scalar::<f32>()
        };
        assert_eq!(loss(PointDistance::L1Nonzero), 2.5);
        // The token whose target is zeros is where it should be.
        assert_eq!(loss(PointDistance::L1), 1.25);
        assert_eq!(loss(PointDistance::L2), (1.0 + 4.0 + 9.0 + 16.0) / 4.0 / 2.0);
        let nothing = Tensor::zeros([1, 1, 3], &device);
        let nothing = point_loss(predicted, target, nothing, PointDistance::L1Nonzero);
        assert_eq!(nothing.into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_central_differences() {
        let device = Device::flex().autodiff();
        let numbers = |seed| {
            let values = pattern(2 * 3 * 4, seed);
            Tensor::<1>::from_data(values.as_slice(), &device).reshape([1, 2, 3, 2, 2])
        };
        // No coordinate is so near to its target that a step would reach it.
        let (predicted, target) = (numbers(3), numbers(8) + 0.05);
        let mask = Tensor::<3>::from_data([[[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]], &device);
        for distance in [PointDistance::L1Nonzero, PointDistance::L1, PointDistance::L2] {
            assert_gradient(predicted.clone(), |predicted| {
                point_loss(predicted, target.clone(), mask.clone(), distance)
            });
        }
    }
}

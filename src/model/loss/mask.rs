//! Mask loss (`spec/losses.md` §4): focal and dice loss of masks, as for Segment Anything, and how far
//! their expected overlap is from the true one.

use burn::tensor::{Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::heads::masks::Masks;
use crate::model::vision::Resampling;
use crate::model::vision::resize::{Kernel, resize_map};

/// Weights and shape of the mask loss; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskLossConfig {
    /// Weight in the sum of losses.
    pub weight: f64,
    /// Weight of the focal loss within the mask loss.
    pub focal_weight: f64,
    /// Weight of the dice loss within the mask loss.
    pub dice_weight: f64,
    /// Weight of the error of the expected overlap within the mask loss.
    pub iou_weight: f64,
    /// Share of pixels inside in the focal loss, from 0 to 1; those outside have the rest.
    pub focal_alpha: f64,
    /// How much the focal loss prefers pixels that are still wrong; 0 is cross-entropy.
    pub focal_gamma: f64,
}

impl Default for MaskLossConfig {
    fn default() -> Self {
        Self {
            weight: 1.0,
            focal_weight: 20.0,
            dice_weight: 1.0,
            iou_weight: 1.0,
            focal_alpha: 0.5,
            focal_gamma: 2.0,
        }
    }
}

/// What masks should be.
#[derive(Debug, Clone)]
pub struct MaskTargets {
    /// Inside where above 0, `[B, N, S, S]`.
    pub masks: Tensor<4>,
    /// 1 for rows that have a mask, else 0: `[B, N]`.
    pub row_valid: Tensor<2>,
    /// 1 on the image, 0 on the padding: `[B, S, S]`.
    pub padding_mask: Tensor<3>,
}

/// The parts of the mask loss before their weights, `[1]` each; 0 where no row has a mask.
#[derive(Debug, Clone)]
pub struct MaskLosses {
    /// Focal loss per pixel of the image.
    pub focal: Tensor<1>,
    /// 1 − dice coefficient, on the whole canvas.
    pub dice: Tensor<1>,
    /// Squared error of the expected overlap.
    pub iou: Tensor<1>,
}

impl MaskLosses {
    /// The weighted sum, before [`MaskLossConfig::weight`].
    pub fn total(&self, config: &MaskLossConfig) -> Tensor<1> {
        self.focal.clone() * config.focal_weight
            + self.dice.clone() * config.dice_weight
            + self.iou.clone() * config.iou_weight
    }
}

/// Mean over the valid rows; of the candidates of a prompt only the one with the least loss has to
/// become the mask, but all have to know how good they are.
///
/// `masks` are on the whole canvas of the targets.
pub fn mask_loss(masks: Masks, targets: &MaskTargets, config: &MaskLossConfig) -> MaskLosses {
    let [batch, rows, candidates, height, width] = masks.logits.dims();
    let [_, _, canvas_height, canvas_width] = targets.masks.dims();
    let size = [canvas_height, canvas_width];
    let pixels = canvas_height * canvas_width;

    let logits = masks.logits.reshape([batch, rows * candidates, height, width]);
    let logits = resize_map(logits, size, Kernel::Linear, Resampling::Jax);
    let logits = logits.reshape([batch, rows, candidates, pixels]);
    let truth = targets.masks.clone().greater_elem(0.0).float();
    let truth = truth.reshape([batch, rows, 1, pixels]);
    let padding_mask = targets.padding_mask.clone().reshape([batch, 1, 1, pixels]);
    let valid = padding_mask * targets.row_valid.clone().reshape([batch, rows, 1, 1]);

    let focal = focal_loss(logits.clone(), truth.clone(), valid.clone(), config);
    let dice = dice_loss(logits.clone(), truth.clone(), valid);
    let of_candidates = focal.clone() * config.focal_weight + dice.clone() * config.dice_weight;
    let best = of_candidates.argmin(2);
    let mean = |losses: Tensor<3>| {
        let [_, _, count] = losses.dims();
        let row_valid = targets.row_valid.clone().unsqueeze_dim::<3>(2);
        let denominator = (row_valid.clone().sum() * count as f64).clamp_min(1.0);
        (losses * row_valid).sum() / denominator
    };
    let overlap = overlap(logits, truth);
    MaskLosses {
        focal: mean(focal.gather(2, best.clone())),
        dice: mean(dice.gather(2, best)),
        iou: mean((overlap - masks.ious).square()),
    }
}

/// Mean over valid pixels of `−α_t · (1 − p_t)^γ · log p_t` (Lin et al., ICCV 2017), where `p_t` is the
/// probability of what is true.
///
/// # Shapes
/// - `logits`: `[B, N, K, S·S]`
/// - `truth`, `valid`: `[B, N, 1, S·S]`
/// - result: `[B, N, K]`
fn focal_loss(
    logits: Tensor<4>,
    truth: Tensor<4>,
    valid: Tensor<4>,
    config: &MaskLossConfig,
) -> Tensor<3> {
    // The logit of what is true. Logarithms all the way: they are finite where probabilities are 0.
    let logits = logits * (truth.clone() * 2.0 - 1.0);
    let wrong = (activation::log_sigmoid(logits.clone().neg()) * config.focal_gamma).exp();
    let share = truth * (2.0 * config.focal_alpha - 1.0) + (1.0 - config.focal_alpha);
    let losses = activation::log_sigmoid(logits).neg() * wrong * share;
    let count = valid.clone().sum_dim(3).clamp_min(1.0);
    squeeze((losses * valid).sum_dim(3) / count)
}

/// `1 − (2·Σ p·g + 1) / (Σ p + Σ g + 1)`, padding included; 0 for rows without a valid pixel.
///
/// Shapes as in [`focal_loss`].
fn dice_loss(logits: Tensor<4>, truth: Tensor<4>, valid: Tensor<4>) -> Tensor<3> {
    let inside = activation::sigmoid(logits);
    let both = (inside.clone() * truth.clone()).sum_dim(3) * 2.0 + 1.0;
    let either = inside.sum_dim(3) + truth.sum_dim(3) + 1.0;
    let has_pixels = valid.max_dim(3).greater_elem(0.0).float();
    squeeze(((both / either).neg() + 1.0) * has_pixels)
}

/// Intersection over union of masks and truth, padding included; it has no gradient.
///
/// Shapes as in [`focal_loss`].
fn overlap(logits: Tensor<4>, truth: Tensor<4>) -> Tensor<3> {
    let inside = logits.greater_elem(0.0).float();
    let intersection = (inside.clone() * truth.clone()).sum_dim(3);
    let union = inside.max_pair(truth).sum_dim(3);
    squeeze(intersection / union.clamp_min(1.0))
}

/// `[B, N, K, 1]` → `[B, N, K]`
fn squeeze(losses: Tensor<4>) -> Tensor<3> {
    let [batch, rows, candidates, _] = losses.dims();
    losses.reshape([batch, rows, candidates])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// One image of 2 × 2 with rows of `candidates` masks of the same size.
    fn losses(logits: Tensor<5>, ious: Tensor<3>, truth: &[f32], valid: &[f32]) -> MaskLosses {
        let device = logits.device();
        let rows = valid.len();
        let targets = MaskTargets {
            masks: Tensor::<1>::from_data(truth, &device).reshape([1, rows, 2, 2]),
            row_valid: Tensor::<1>::from_data(valid, &device).reshape([1, rows]),
            padding_mask: Tensor::from_data([[[1.0, 1.0], [1.0, 0.0]]], &device),
        };
        mask_loss(Masks { logits, ious }, &targets, &MaskLossConfig::default())
    }

    fn logits(values: &[f32], rows: usize, candidates: usize, device: &Device) -> Tensor<5> {
        Tensor::<1>::from_data(values, device).reshape([1, rows, candidates, 2, 2])
    }

    fn value(loss: Tensor<1>) -> f32 {
        loss.into_scalar()
    }

    #[test]
    fn undecided_masks_cost_what_a_half_costs_and_only_dice_sees_the_padding() {
        let device = Device::flex();
        let zeros = logits(&[0.0; 4], 1, 1, &device);
        let found = losses(zeros, Tensor::zeros([1, 1, 1], &device), &[1.0, 1.0, 0.0, 1.0], &[1.0]);
        // ½ · (1 − ½)² · ln 2 at each pixel.
        assert!((value(found.focal.clone()) - 0.125 * 2f32.ln()).abs() < 1e-6);
        // Σ p·g = 1.5, Σ p = 2, Σ g = 3.
        assert!((value(found.dice.clone()) - (1.0 - 4.0 / 6.0)).abs() < 1e-6);
        // Nothing is above 0: no overlap, as expected.
        assert_eq!(value(found.iou.clone()), 0.0);
        let total = 20.0 * 0.125 * 2f32.ln() + 1.0 / 3.0;
        assert!((value(found.total(&MaskLossConfig::default())) - total).abs() < 1e-5);
    }

    #[test]
    fn the_best_candidate_learns_the_mask_and_all_learn_how_good_they_are() {
        let device = Device::flex();
        let truth = [1.0, 0.0, 0.0, 0.0];
        // Certain and right, certain and wrong.
        let both = [50.0, -50.0, -50.0, -50.0, -50.0, 50.0, 50.0, 50.0];
        let ious = Tensor::<3>::from_data([[[0.5, 0.5]]], &device);
        let found = losses(logits(&both, 1, 2, &device), ious, &truth, &[1.0]);
        assert!(value(found.focal).abs() < 1e-6);
        assert!(value(found.dice).abs() < 1e-6);
        // Overlaps of 1 and 0, each expected to be ½.
        assert!((value(found.iou) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn rows_without_a_mask_cost_nothing() {
        let device = Device::flex();
        let truth = [[1.0; 4], [0.0; 4]].concat();
        let values = [[50.0; 4], [50.0; 4]].concat();
        let ious = Tensor::<3>::from_data([[[1.0], [1.0]]], &device);
        let of = |valid: [f32; 2]| {
            let found = losses(logits(&values, 2, 1, &device), ious.clone(), &truth, &valid);
            value(found.total(&MaskLossConfig::default()))
        };
        assert!(of([1.0, 0.0]).abs() < 1e-5);
        assert!(of([1.0, 1.0]) > 1.0);
        assert_eq!(of([0.0, 0.0]), 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_and_finite_where_a_mask_is_certain() {
        let start = [0.3f32, -0.7, 1.2, 0.4];
        let truth = [1.0, 0.0, 0.0, 1.0];
        let device = Device::flex().autodiff();
        let gradient = |start: &[f32]| -> Vec<f32> {
            let values = logits(start, 1, 1, &device).require_grad();
            let ious = Tensor::full([1, 1, 1], 0.4, &device);
            let found = losses(values.clone(), ious, &truth, &[1.0]);
            let gradients = found.total(&MaskLossConfig::default()).backward();
            values.grad(&gradients).unwrap().into_data().try_to_vec().unwrap()
        };
        let device = Device::flex();
        for (index, found) in gradient(&start).into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start;
                moved[index] += step;
                let ious = Tensor::full([1, 1, 1], 0.4, &device);
                let found = losses(logits(&moved, 1, 1, &device), ious, &truth, &[1.0]);
                value(found.total(&MaskLossConfig::default()))
            };
            let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((found - expected).abs() < 2e-3, "{index}: {found} {expected}");
        }
        assert!(gradient(&[200.0, -200.0, 200.0, -200.0]).iter().all(|x| x.is_finite()));
    }
}

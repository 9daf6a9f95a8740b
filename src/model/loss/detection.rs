//! Detection losses (`spec/losses.md` §3): where objects are, how far their edges, and what the second
//! stage makes of boxes. All normalisers are of the local batch.

use burn::tensor::{Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::generalised_iou::Areas;

/// Keeps quotients of areas finite; areas are in cells.
const AREA_EPSILON: f64 = 1e-6;
/// Keeps a mean over no boxes finite.
const COUNT_EPSILON: f64 = 1e-4;

/// Weights of the detection losses; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionLossConfig {
    /// Weight in the sum of losses.
    pub weight: f64,
    /// Weight of the heatmap's loss: where centres are.
    pub heatmap_weight: f64,
    /// Weight of the loss of the distances to edges.
    pub distance_weight: f64,
    /// Weight of the second stage's loss of background and object.
    pub class_weight: f64,
    /// Weight of the second stage's loss of corrections of boxes.
    pub box_weight: f64,
    /// How the heatmap's loss weighs places.
    pub focal: FocalConfig,
}

impl Default for DetectionLossConfig {
    fn default() -> Self {
        Self {
            weight: 1.0,
            heatmap_weight: 0.5,
            distance_weight: 1.0,
            class_weight: 1.0,
            box_weight: 1.0,
            focal: FocalConfig::default(),
        }
    }
}

/// How a focal loss weighs places (Lin et al., *Focal loss*, ICCV 2017; Law and Deng, *CornerNet*,
/// ECCV 2018).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FocalConfig {
    /// Weight of centres; all other places have the rest to 1.
    pub alpha: f64,
    /// Power of `1 − target`: places near a centre count less.
    pub beta: f64,
    /// Power of the error: what is nearly right counts less.
    pub gamma: f64,
    /// Probabilities are kept this far from 0 and 1.
    pub epsilon: f64,
}

impl Default for FocalConfig {
    fn default() -> Self {
        Self { alpha: 0.25, beta: 4.0, gamma: 2.0, epsilon: 1e-4 }
    }
}

/// The heatmap's losses, `[1]` each.
#[derive(Debug, Clone)]
pub struct HeatmapLoss {
    /// Of centres.
    pub positive: Tensor<1>,
    /// Of all other places.
    pub negative: Tensor<1>,
    /// What both were divided by: the mean number of centres per image, each image at least 1.
    pub normaliser: Tensor<1>,
}

/// Focal loss of a heatmap; a target of exactly 1 is a centre.
///
/// # Shapes
/// - `logits`, `target`: `[B, M]` at `M` places
pub fn heatmap_loss(logits: Tensor<2>, target: Tensor<2>, focal: &FocalConfig) -> HeatmapLoss {
    let FocalConfig { alpha, beta, gamma, epsilon } = *focal;
    let [batch, _] = logits.dims();
    let probability = activation::sigmoid(logits).clamp(epsilon, 1.0 - epsilon);
    let error = probability.clone().neg() + 1.0;
    let center = target.clone().equal_elem(1.0).float();
    let normaliser = count_per_image(center.clone());
    let positive = probability.clone().log() * error.clone().powf_scalar(gamma) * center.clone();
    let far = (target.neg() + 1.0).powf_scalar(beta) * (center.neg() + 1.0);
    let negative = error.log() * probability.powf_scalar(gamma) * far;
    let mean = |sum: Tensor<1>, weight: f64| sum * (-weight / batch as f64) / normaliser.clone();
    HeatmapLoss {
        positive: mean(positive.sum(), alpha),
        negative: mean(negative.sum(), 1.0 - alpha),
        normaliser,
    }
}

/// Mean over the images of how many places count, each image at least 1: `[B, M]` → `[1]`.
fn count_per_image(mask: Tensor<2>) -> Tensor<1> {
    mask.sum_dim(1).clamp_min(1.0).mean()
}

/// The loss of distances.
#[derive(Debug, Clone)]
pub struct DistanceLoss {
    /// `[1]`
    pub loss: Tensor<1>,
    /// What it was divided by: the mean number of places per image, each image at least 1.
    pub normaliser: Tensor<1>,
    /// `1 − generalised IoU` at every place that counts, else 0: `[B, M]`.
    pub by_place: Tensor<2>,
}

/// `1 − generalised IoU` of the boxes that distances draw around a place.
///
/// # Shapes
/// - `predicted`, `target`: `[B, M, 4]`, to left, top, right and bottom, from 0
/// - `mask`: `[B, M]`, 1 where a place counts
pub fn distance_loss(predicted: Tensor<3>, target: Tensor<3>, mask: Tensor<2>) -> DistanceLoss {
    let [batch, places, _] = predicted.dims();
    let intersection = area(predicted.clone().min_pair(target.clone()));
    let hull = area(predicted.clone().max_pair(target.clone()));
    let areas = Areas { intersection, sum: area(predicted) + area(target), hull };
    let by_place = areas.loss(AREA_EPSILON).reshape([batch, places]) * mask.clone();
    let normaliser = count_per_image(mask);
    let loss = by_place.clone().sum() / batch as f64 / normaliser.clone();
    DistanceLoss { loss, normaliser, by_place }
}

/// Area of the box that distances `[B, M, 4]` draw: `[B, M, 1]`.
fn area(distances: Tensor<3>) -> Tensor<3> {
    let sides = distances.clone().narrow(2, 0, 2) + distances.narrow(2, 2, 2);
    sides.clone().narrow(2, 0, 1) * sides.narrow(2, 1, 1)
}

/// Cross-entropy of background and object, averaged over the boxes that count.
///
/// # Shapes
/// - `logits`: `[B, N, 2]`
/// - `object`: `[B, N]`, 1 where a box holds an object
/// - `mask`: `[B, N]`, 1 where a box counts
pub fn class_loss(logits: Tensor<3>, object: Tensor<2>, mask: Tensor<2>) -> Tensor<1> {
    let [batch, rows, _] = logits.dims();
    let log = activation::log_softmax(logits, 2);
    let of = |class| log.clone().narrow(2, class, 1).reshape([batch, rows]);
    let likelihood = of(1) * object.clone() + of(0) * (object.neg() + 1.0);
    (likelihood * mask.clone()).sum().neg() / (mask.sum() + COUNT_EPSILON)
}

/// Summed absolute error of the corrections of boxes that hold an object, by the number of *all*
/// boxes, as in Detectron2.
///
/// # Shapes
/// - `predicted`, `target`: `[B, N, 4]`
/// - `object`: `[B, N]`, 1 where a box holds an object
pub fn box_loss(predicted: Tensor<3>, target: Tensor<3>, object: Tensor<2>) -> Tensor<1> {
    let [batch, rows, _] = predicted.dims();
    let errors = (predicted - target).abs() * object.unsqueeze_dim::<3>(2);
    errors.sum() / (batch * rows).max(1) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_heatmap_loss_is_that_of_the_formula() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], &device);
        let target = Tensor::<2>::from_data([[1.0, 1.0, 1.0], [0.5, 0.0, 0.0]], &device);
        let loss = heatmap_loss(logits, target, &FocalConfig::default());
        // Three centres and none, which counts as one.
        assert_eq!(loss.normaliser.into_scalar::<f32>(), 2.0);
        let one = 0.25 * 2.0f32.ln();
        let positive = 0.25 * 3.0 * one / 2.0 / 2.0;
        let negative = 0.75 * (2.0 + 0.0625) * one / 2.0 / 2.0;
        assert!((loss.positive.into_scalar::<f32>() - positive).abs() < 1e-6);
        assert!((loss.negative.into_scalar::<f32>() - negative).abs() < 1e-6);
    }

    #[test]
    fn distances_to_the_same_box_cost_nothing_and_masked_places_do_not_count() {
        let device = Device::flex();
        let predicted = Tensor::<3>::from_data([[[1.0; 4], [1.0; 4], [9.0; 4]]], &device);
        let target = Tensor::<3>::from_data([[[1.0; 4], [2.0, 1.0, 2.0, 1.0], [0.0; 4]]], &device);
        let mask = Tensor::<2>::from_data([[1.0, 1.0, 0.0]], &device);
        let found = distance_loss(predicted, target, mask);
        // The second: intersection 4, union and hull 8.
        let by_place: Vec<f32> = found.by_place.into_data().try_to_vec().unwrap();
        for (found, expected) in by_place.into_iter().zip([0.0, 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-5);
        }
        assert!((found.loss.into_scalar::<f32>() - 0.25).abs() < 1e-5);
    }

    #[test]
    fn the_second_stage_counts_valid_boxes_for_classes_and_all_boxes_for_corrections() {
        let device = Device::flex();
        let logits = Tensor::<3>::zeros([1, 4, 2], &device);
        let object = Tensor::<2>::from_data([[1.0, 0.0, 0.0, 0.0]], &device);
        let mask = Tensor::<2>::from_data([[1.0, 1.0, 0.0, 0.0]], &device);
        let class = class_loss(logits, object.clone(), mask).into_scalar::<f32>();
        assert!((class - 2.0f32.ln()).abs() < 1e-4);
        let deltas = Tensor::<3>::ones([1, 4, 4], &device);
        let loss = box_loss(deltas, Tensor::zeros([1, 4, 4], &device), object);
        assert_eq!(loss.into_scalar::<f32>(), 1.0);
    }

    /// Autodiff beside central differences, number by number.
    fn check_gradient(name: &str, loss: impl Fn(Tensor<1>) -> Tensor<1>) {
        let device = Device::flex();
        let start = [0.7f32, -0.4, 0.9, 1.7, 0.3, 0.8, 1.1, 0.6];
        let values = Tensor::<1>::from_data(start, &device.clone().autodiff()).require_grad();
        let gradient = values.grad(&loss(values.clone()).backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        assert!(gradient.iter().any(|value| value.abs() > 1e-3), "{name}: {gradient:?}");
        for (index, found) in gradient.into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start;
                moved[index] += step;
                loss(Tensor::from_data(moved, &device)).into_scalar::<f32>()
            };
            let expected = (at(5e-3) - at(-5e-3)) / 1e-2;
            assert!((found - expected).abs() < 2e-3, "{name} {index}: {found} {expected}");
        }
    }

    #[test]
    fn the_gradient_of_each_loss_is_that_of_finite_differences() {
        let matrix = |rows: &[f32], shape: [usize; 2], device: &Device| {
            Tensor::<1>::from_data(rows, device).reshape(shape)
        };
        let target = [1.0, 0.2, 0.0, 0.4, 1.0, 0.0, 0.1, 0.3];
        let heatmap = |values: &Tensor<1>| {
            let target = matrix(&target, [1, 8], &values.device());
            heatmap_loss(values.clone().reshape([1, 8]), target, &FocalConfig::default())
        };
        check_gradient("centres", |values| heatmap(&values).positive);
        check_gradient("other places", |values| heatmap(&values).negative);
        let wanted = [1.0, 0.5, 0.6, 1.0, 0.9, 0.4, 0.2, 2.0];
        check_gradient("distances", |values| {
            let wanted = Tensor::<1>::from_data(wanted, &values.device()).reshape([1, 2, 4]);
            let mask = Tensor::ones([1, 2], &values.device());
            distance_loss(values.abs().reshape([1, 2, 4]), wanted, mask).loss
        });
        let rows = |values: &Tensor<1>, counts: [f32; 4]| matrix(&counts, [1, 4], &values.device());
        check_gradient("classes", |values| {
            let object = rows(&values, [1.0, 0.0, 1.0, 0.0]);
            let mask = rows(&values, [1.0, 1.0, 1.0, 0.0]);
            class_loss(values.reshape([1, 4, 2]), object, mask)
        });
        check_gradient("corrections", |values| {
            let wanted = Tensor::<1>::from_data(wanted, &values.device()).reshape([1, 2, 4]);
            let object = matrix(&[1.0, 0.0], [1, 2], &values.device());
            box_loss(values.reshape([1, 2, 4]), wanted, object)
        });
    }

    #[test]
    fn losses_of_nothing_are_zero_and_so_are_their_gradients() {
        let device = Device::flex().autodiff();
        let none = || Tensor::<2>::zeros([2, 3], &device);
        let distances = Tensor::<3>::zeros([2, 3, 4], &device).require_grad();
        let loss = distance_loss(distances.clone(), Tensor::zeros([2, 3, 4], &device), none()).loss;
        let logits = Tensor::<3>::zeros([2, 3, 2], &device).require_grad();
        let total = loss
            + class_loss(logits.clone(), none(), none())
            + box_loss(distances.clone(), Tensor::ones([2, 3, 4], &device), none());
        assert_eq!(total.clone().into_scalar::<f32>(), 0.0);
        let gradients = total.backward();
        for gradient in [distances.grad(&gradients).unwrap(), logits.grad(&gradients).unwrap()] {
            assert_eq!(gradient.abs().sum().into_scalar::<f32>(), 0.0);
        }
    }
}

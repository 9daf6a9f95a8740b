//! Overlap loss: how little two boxes overlap, as `1 − generalised IoU`.
//!
//! Not in the reference, whose boxes learn from the point loss alone. That loss weighs a pixel of a small
//! box as much as one of a large box; this one weighs what it does to the overlap, which is what `P@0.5`
//! asks for.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::generalised_iou::Areas;

/// Keeps a quotient of areas finite; far below the area of a pixel in either unit.
const EPSILON: f64 = 1e-7;

/// Weight of the overlap loss.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OverlapLossConfig {
    /// Weight in the sum of losses; the paper has no such loss.
    pub weight: f64,
}

/// Mean over the selected tokens that have a target of `1 − generalised IoU`: 0 for the same box, 1 for
/// boxes that touch, up to 2 for boxes far apart.
///
/// # Shapes
/// - `predicted`: `[B, N, L, 2, 2]`, two opposite corners in any order
/// - `target`: `[B, N, L, 2, 2]`, in the same unit; a target of zeros is none
/// - `mask`: `[B, N, L]`, 1 where a token is selected and its row valid
/// - result: `[1]`; 0 where nothing is selected
pub fn overlap_loss(predicted: Tensor<5>, target: Tensor<5>, mask: Tensor<3>) -> Tensor<1> {
    let has_target = target.clone().square().sum_dim(4).sum_dim(3).greater_elem(0.0).float();
    let [batch, rows, length] = mask.dims();
    let mask = mask * has_target.reshape([batch, rows, length]);
    let (found, wanted) = (corners(predicted), corners(target));
    let intersection = area(
        found.0.clone().max_pair(wanted.0.clone()),
        found.1.clone().min_pair(wanted.1.clone()),
    );
    let hull = area(
        found.0.clone().min_pair(wanted.0.clone()),
        found.1.clone().max_pair(wanted.1.clone()),
    );
    let sum = area(found.0, found.1) + area(wanted.0, wanted.1);
    let loss = Areas { intersection, sum, hull }.loss(EPSILON).reshape([batch, rows, length]);
    (loss * mask.clone()).sum() / mask.sum().clamp_min(1.0)
}

/// Least and greatest corner, each `[B, N, L, 1, 2]`.
fn corners(points: Tensor<5>) -> (Tensor<5>, Tensor<5>) {
    let (first, second) = (points.clone().narrow(3, 0, 1), points.narrow(3, 1, 1));
    (first.clone().min_pair(second.clone()), first.max_pair(second))
}

/// Area between two corners, 0 where the second is not beyond the first: `[B, N, L, 1, 1]`.
fn area(least: Tensor<5>, greatest: Tensor<5>) -> Tensor<5> {
    let sides = (greatest - least).clamp_min(0.0);
    sides.clone().narrow(4, 0, 1) * sides.narrow(4, 1, 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const ONE: [f32; 4] = [0.0, 0.0, 2.0, 2.0];

    fn boxes(values: &[[f32; 4]], device: &Device) -> Tensor<5> {
        let flat: Vec<f32> = values.concat();
        Tensor::<1>::from_data(flat.as_slice(), device).reshape([1, 1, values.len(), 2, 2])
    }

    fn loss(predicted: [f32; 4], target: [f32; 4]) -> f32 {
        let device = Device::flex();
        let mask = Tensor::ones([1, 1, 1], &device);
        overlap_loss(boxes(&[predicted], &device), boxes(&[target], &device), mask).into_scalar()
    }

    #[test]
    fn the_same_box_costs_nothing_whichever_corners_are_given() {
        assert!(loss(ONE, ONE).abs() < 1e-5);
        assert!(loss([2.0, 0.0, 0.0, 2.0], ONE).abs() < 1e-5);
    }

    #[test]
    fn overlap_and_the_empty_part_of_the_hull_count() {
        // Intersection 1, union 7, hull 9: 1 − (1/7 − 2/9).
        let expected = 1.0 - (1.0 / 7.0 - 2.0 / 9.0);
        assert!((loss([1.0, 1.0, 3.0, 3.0], ONE) - expected).abs() < 1e-5);
        // Apart: intersection 0, union 5, hull 20.
        let expected = 1.0 + 15.0 / 20.0;
        assert!((loss([9.0, 0.0, 10.0, 1.0], ONE) - expected).abs() < 1e-5);
    }

    #[test]
    fn only_selected_tokens_with_a_target_count() {
        let device = Device::flex();
        let far = [9.0, 0.0, 10.0, 1.0];
        let predicted = boxes(&[ONE, far, far], &device);
        let target = boxes(&[ONE, ONE, [0.0; 4]], &device);
        let mask = |values: [f32; 3]| Tensor::<3>::from_data([[values]], &device);
        let of = |values| {
            let loss = overlap_loss(predicted.clone(), target.clone(), mask(values));
            loss.into_scalar::<f32>()
        };
        assert!(of([1.0, 0.0, 1.0]).abs() < 1e-5);
        assert!((of([1.0, 1.0, 1.0]) - 1.75 / 2.0).abs() < 1e-5);
        assert_eq!(of([0.0; 3]), 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let device = Device::flex().autodiff();
        let start = [1.0f32, 0.5, 3.0, 3.5];
        let predicted = boxes(&[start], &device).require_grad();
        let mask = Tensor::ones([1, 1, 1], &device);
        let gradients = overlap_loss(predicted.clone(), boxes(&[ONE], &device), mask).backward();
        let found: Vec<f32> = predicted.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        for (index, found) in found.into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start;
                moved[index] += step;
                loss(moved, ONE)
            };
            let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((found - expected).abs() < 1e-3, "{index}: {found} {expected}");
        }
    }
}

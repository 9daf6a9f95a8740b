//! Non-maximum suppression on a device that is not asked in between: the same as
//! [`super::nms::suppress`].

use burn::tensor::{Bool, Tensor};

use super::device_rows::is_before;

/// Rounds of [`survivors`]: how long a chain of boxes may be, each of which suppresses the next, so that what
/// the last does depends on the first. With an overlap of 0.9, chains are short.
pub(super) const ROUNDS: usize = 24;

/// Whether the way of the host can be gone here: with an overlap of more than a half.
///
/// The host looks at boxes in tiles of 256, and a box of a tile that is suppressed by overlaps of at most a
/// half suppresses others all the same. Suppressed means an overlap of `threshold` at least; where that is
/// more than a half, there is no such box, and tiles make no difference.
pub(super) fn has_same_rule(threshold: f32) -> bool {
    threshold > 0.5
}

/// Which boxes of an image no better one suppresses, `[B, C]`, and how many images are not settled yet,
/// `[1]`.
///
/// A box survives if none of the survivors before it overlaps it by `threshold` or more. All boxes are
/// supposed to survive, and the rule is applied to all at once, again and again: after `n` rounds,
/// everything at the `n`-th place of a chain is as it must be. What a further round does not change is the one
/// solution, since by the rule each box follows from those before it.
///
/// # Shapes
/// - `boxes`: `[B, C, 4]`, by falling score; finite
pub(super) fn survivors(boxes: &Tensor<3>, threshold: f32) -> (Tensor<2, Bool>, Tensor<1>) {
    let [batch, count, _] = boxes.dims();
    let suppresses = overlap_by(boxes, threshold);
    let suppresses = suppresses.bool_and(is_before(batch, count, &boxes.device())).float();
    let round = |standing: Tensor<2, Bool>| -> Tensor<2, Bool> {
        let standing: Tensor<3> = standing.float().unsqueeze_dim(1);
        // A sum of at most `C` ones is exact.
        (suppresses.clone() * standing).sum_dim(2).squeeze_dim::<2>(2).lower_elem(0.5)
    };
    let all = Tensor::<2>::ones([batch, count], &boxes.device()).greater_elem(0.5);
    let standing = (0..ROUNDS).fold(all, |standing, _| round(standing));
    let changed = round(standing.clone()).not_equal(standing.clone());
    (standing, changed.float().sum())
}

/// Whether two boxes overlap by `threshold` or more, as [`crate::geometry::BoundingBox::iou`] sees it:
/// `[B, C, C]`.
fn overlap_by(boxes: &Tensor<3>, threshold: f32) -> Tensor<3, Bool> {
    let [batch, count, _] = boxes.dims();
    let shape = [batch, count, count];
    let corner = |index: usize| boxes.clone().narrow(2, index, 1);
    let extent = |axis: usize| (corner(axis + 2) - corner(axis)).clamp_min(0.0);
    let both = |one: Tensor<3>| (one.clone().expand(shape), one.swap_dims(1, 2).expand(shape));
    let overlap = |axis: usize| {
        let ((start_a, start_b), (end_a, end_b)) = (both(corner(axis)), both(corner(axis + 2)));
        (end_a.min_pair(end_b) - start_a.max_pair(start_b)).clamp_min(0.0)
    };
    let intersection = overlap(0) * overlap(1);
    let (area_a, area_b) = both(extent(0) * extent(1));
    let union = area_a + area_b - intersection.clone();
    let has_union = union.clone().greater_elem(0.0);
    (intersection / union).greater_equal_elem(threshold).bool_and(has_union)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::geometry::BoundingBox;
    use crate::model::heads::boxes::nms::suppress;

    /// Indices of the survivors of one image, and whether they are settled.
    fn found(boxes: &[BoundingBox], threshold: f32) -> (Vec<usize>, bool) {
        let values: Vec<f32> = boxes.iter().flat_map(|one| one.to_array()).collect();
        let values = TensorData::new(values, [1, boxes.len(), 4]);
        let values = Tensor::<3>::from_data(values, &Device::flex());
        let (standing, unsettled) = survivors(&values, threshold);
        let standing: Vec<u8> = standing.int().into_data().iter::<u8>().collect();
        let indices = (0..boxes.len()).filter(|&index| standing[index] == 1).collect();
        (indices, unsettled.into_scalar::<f32>() == 0.0)
    }

    /// Boxes on top of each other, more than a tile of them.
    fn heap(rng: &mut ChaCha8Rng, count: usize) -> Vec<BoundingBox> {
        let one = |_| {
            let [x, y] = [(); 2].map(|()| rng.random_range(1.0..9.0));
            let [width, height] = [(); 2].map(|()| rng.random_range(10.0..14.0));
            BoundingBox::from_xywh(x, y, width, height)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn survivors_are_those_of_the_host() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for threshold in [0.51, 0.7, 0.9, 0.999] {
            let mut boxes = heap(&mut rng, 700);
            // The same box again, boxes without an area, and inverted ones.
            boxes[300] = boxes[20];
            boxes[301] = BoundingBox::new(3.0, 3.0, 3.0, 9.0);
            boxes[302] = boxes[301];
            boxes[303] = BoundingBox::new(9.0, 9.0, 2.0, 2.0);
            let (indices, settled) = found(&boxes, threshold);
            assert!(settled);
            assert_eq!(indices, suppress(&boxes, threshold, usize::MAX));
            assert!(indices.len() < boxes.len(), "{threshold}");
        }
    }

    #[test]
    fn a_chain_is_settled_up_to_the_number_of_rounds() {
        // Each overlaps the next by 9/11.
        let chain = |count: usize| -> Vec<BoundingBox> {
            (0..count).map(|index| BoundingBox::from_xywh(index as f32, 1.0, 10.0, 10.0)).collect()
        };
        let (indices, settled) = found(&chain(ROUNDS + 1), 0.8);
        assert!(settled);
        assert_eq!(indices, suppress(&chain(ROUNDS + 1), 0.8, usize::MAX));
        assert!(!found(&chain(ROUNDS + 2), 0.8).1);
    }

    #[test]
    fn at_a_half_the_rule_of_the_host_is_another() {
        assert!(has_same_rule(0.9) && !has_same_rule(0.5) && !has_same_rule(f32::NAN));
        // The second is suppressed by an overlap of exactly a half, and suppresses the third all the same,
        // which overlaps the first by 0.4 only.
        let spans = [[0.0, 1.0], [0.0, 0.5], [-0.25, 0.5]];
        let boxes = spans.map(|[x0, x1]| BoundingBox::new(x0, 1.0, x1, 2.0));
        assert_eq!(suppress(&boxes, 0.5, 9), [0]);
        assert_eq!(found(&boxes, 0.5), (vec![0, 2], true));
        assert_eq!(suppress(&boxes, 0.501, 9), found(&boxes, 0.501).0);
    }
}

//! `1 − generalised IoU` (Rezatofighi et al., CVPR 2019): how little two boxes overlap, also where they do
//! not touch.

use burn::tensor::Tensor;

/// Areas of two boxes, each of the same shape.
pub(super) struct Areas<const N: usize> {
    /// Of what is in both.
    pub(super) intersection: Tensor<N>,
    /// Of the one and of the other, added.
    pub(super) sum: Tensor<N>,
    /// Of the smallest box around both.
    pub(super) hull: Tensor<N>,
}

impl<const N: usize> Areas<N> {
    /// 0 for the same box, 1 for boxes that touch, up to 2 for boxes far apart. `epsilon`, which should be
    /// far below the area of a box, keeps quotients of areas finite.
    pub(super) fn loss(self, epsilon: f64) -> Tensor<N> {
        let union = self.sum - self.intersection.clone();
        let overlap = self.intersection / (union.clone() + epsilon);
        let empty = (self.hull.clone() - union) / (self.hull + epsilon);
        (overlap - empty).neg() + 1.0
    }
}

//! Stochastic depth: whole residual branches are dropped per sample while training.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Tensor;

/// Drops a branch with some probability, and scales kept ones by what was dropped.
#[derive(Module, Debug)]
pub struct DropPath {
    dropout: Dropout,
}

impl DropPath {
    /// For block `index` of `depth`: rates grow linearly from 0 to `largest`.
    pub fn of_block(largest: f64, index: usize, depth: usize) -> Self {
        let share = if depth > 1 { index as f64 / (depth - 1) as f64 } else { 0.0 };
        Self { dropout: DropoutConfig::new(largest * share).init() }
    }

    /// The branch, or nothing of it, per sample (first axis).
    pub fn forward<const R: usize>(&self, branch: Tensor<R>) -> Tensor<R> {
        if self.dropout.prob == 0.0 {
            return branch;
        }
        let mut shape = [1; R];
        shape[0] = branch.dims()[0];
        let kept = self.dropout.forward(Tensor::<R>::ones(shape, &branch.device()));
        branch * kept
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_sample_keeps_all_of_its_branch_or_nothing_and_only_in_training() {
        let drop_path = DropPath::of_block(0.5, 3, 4);
        let inference = drop_path.forward(Tensor::<3>::ones([64, 2, 3], &Device::flex()));
        assert_eq!(inference.sum().into_scalar::<f32>(), 384.0);

        let training = drop_path.forward(Tensor::<3>::ones([64, 2, 3], &Device::flex().autodiff()));
        let values: Vec<f32> = training.into_data().try_to_vec().unwrap();
        let samples: Vec<&[f32]> = values.chunks(6).collect();
        assert!(samples.iter().all(|s| s.iter().all(|v| *v == s[0])));
        assert!(samples.iter().any(|s| s[0] == 0.0) && samples.iter().any(|s| s[0] == 2.0));
    }

    #[test]
    fn the_first_block_is_never_dropped() {
        let first = DropPath::of_block(0.9, 0, 4);
        let kept = first.forward(Tensor::<2>::ones([32, 1], &Device::flex().autodiff()));
        assert_eq!(kept.sum().into_scalar::<f32>(), 32.0);
    }
}

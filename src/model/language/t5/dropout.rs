//! Dropout that is the same at every place of the length axis.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Tensor;

/// T5's dropout: what is dropped of one token, or of one query's weights, is dropped of all.
#[derive(Module, Debug)]
pub(super) struct LengthDropout {
    dropout: Dropout,
}

impl LengthDropout {
    pub(super) fn new(probability: f64) -> Self {
        Self { dropout: DropoutConfig::new(probability).init() }
    }

    /// `x`: `[…, L, D]`.
    pub(super) fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        if self.dropout.prob == 0.0 || !x.device().is_autodiff() {
            return x;
        }
        let mut shape = x.dims();
        shape[N - 2] = 1;
        let kept = self.dropout.forward(Tensor::<N>::ones(shape, &x.device()));
        x * kept
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_channel_is_dropped_at_every_token_or_at_none_and_only_in_training() {
        let dropout = LengthDropout::new(0.5);
        let training = Device::flex().autodiff();
        let dropped = dropout.forward(Tensor::<3>::ones([1, 3, 64], &training));
        let values: Vec<f32> = dropped.into_data().try_to_vec().unwrap();
        let tokens: Vec<&[f32]> = values.chunks(64).collect();
        assert!(tokens[0] == tokens[1] && tokens[1] == tokens[2]);
        assert!(tokens[0].contains(&0.0) && tokens[0].contains(&2.0));
        let inference = dropout.forward(Tensor::<3>::ones([1, 3, 64], &Device::flex()));
        assert_eq!(inference.sum().into_scalar::<f32>(), 192.0);
    }
}

//! Cross-entropy of rows of scores with smoothed labels, without a copy of the scores for every operation.

use burn::tensor::Tensor;
pub use pixelllm_kernels::cross_entropy::Labels;
use pixelllm_kernels::cross_entropy::{backward, forward};

use crate::backend::host::{HostArray, HostInput, HostOperation, apply, is_here};

/// The weighted sum over rows of `−Σ p · log softmax(scores)`, `[1]`; `None` where Burn's own operations have to
/// do it, and then nobody asks for `labels`.
///
/// `scores`: `[R, V]`
pub fn cross_entropy(scores: Tensor<2>, labels: impl FnOnce() -> Labels) -> Option<Tensor<1>> {
    if !is_here(&scores) {
        return None;
    }
    let labels = labels();
    Some(apply([HostInput::take(scores)], move |[scores]| {
        let labels = labels.clone();
        let (loss, normalisers) = forward(scores.values(), scores.last(), &labels);
        (HostArray::new(vec![loss], [1]), CrossEntropy { scores, labels, normalisers })
    }))
}

#[derive(Debug, Clone)]
struct CrossEntropy {
    scores: HostArray,
    labels: Labels,
    /// log Σ exp of every row.
    normalisers: Vec<f32>,
}

impl HostOperation<1> for CrossEntropy {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 1] {
        let Self { scores, labels, normalisers } = self;
        let gradient = gradient.values().first().copied().unwrap_or(0.0);
        let (shape, length) = (scores.shape(), scores.last());
        // In place where nobody else reads the scores.
        let mut values = scores.into_values();
        backward(&mut values, length, &labels, &normalisers, gradient);
        [Some(HostArray::new(values, shape))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, activation};

    use super::*;
    use crate::model::kernels::testing::{compare, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        let device = Device::flex().autodiff();
        let weights = [0.5, 0.0, 1.0, 0.25, 2.0];
        for smoothing in [0.0, 0.1] {
            let length = 37;
            let of_others = smoothing / (length as f32 - 1.0);
            let classes = vec![3, 5, 0, 36, 7];
            let labels = Labels {
                classes: classes.clone(),
                weights: weights.to_vec(),
                of_class: 1.0 - smoothing,
                of_others,
            };
            let formed = |scores: Tensor<2>| {
                let picked: Vec<i64> = classes.iter().map(|class| *class as i64).collect();
                let picked = Tensor::<1, Int>::from_data(picked.as_slice(), &device);
                let log = activation::log_softmax(scores, 1);
                let right = log.clone().gather(1, picked.unsqueeze_dim(1)).squeeze_dim::<1>(1);
                let all = log.sum_dim(1).squeeze_dim::<1>(1);
                let losses = right * (1.0 - smoothing - of_others) + all * of_others;
                -(losses * Tensor::from_data(weights, &device)).sum()
            };
            let scores = random([5, length], 3.0);
            compare(
                [scores],
                |[scores]| match cross_entropy(scores, || labels.clone()) {
                    Some(loss) => loss,
                    None => unreachable!("on the processor"),
                },
                |[scores]| formed(scores),
            );
        }
    }
}

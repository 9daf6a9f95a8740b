//! Softmax over the last axis.

use burn::tensor::{Tensor, activation};
use pixelllm_kernels::softmax::{backward, forward};

use crate::backend::host::{HostArray, HostInput, HostOperation, apply, is_here};

/// Softmax of every row of `scores`, `[…, L]`; the result has its shape.
pub fn softmax<const D: usize>(scores: Tensor<D>) -> Tensor<D> {
    if !is_here(&scores) {
        return activation::softmax(scores, D - 1);
    }
    apply([HostInput::take(scores)], |[scores]| {
        let (shape, length) = (scores.shape(), scores.last());
        let mut values = scores.into_values();
        forward(&mut values, length);
        let weights = HostArray::new(values, shape);
        (weights.clone(), Softmax { weights })
    })
}

#[derive(Debug, Clone)]
struct Softmax {
    weights: HostArray,
}

impl HostOperation<1> for Softmax {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 1] {
        let (shape, length) = (gradient.shape(), gradient.last());
        let mut values = gradient.into_values();
        backward(self.weights.values(), &mut values, length);
        [Some(HostArray::new(values, shape))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::testing::{compare, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        for length in [1, 5, 16, 147] {
            let scores = random([2, 3, 40, length], 4.0);
            compare([scores], |[x]| softmax(x), |[x]| activation::softmax(x, 3));
        }
    }
}

//! Layer norm (Ba et al. 2016).

use burn::module::{Initializer, Module, Param};
use burn::tensor::{DType, Device, Tensor, module};
use pixelllm_kernels::layer_norm::{Statistics, backward, forward};

use crate::backend::host::{HostArray, HostInput, HostOperation, apply};

/// Sizes of a layer norm.
#[derive(Debug, Clone, Copy)]
pub struct LayerNormConfig {
    width: usize,
    epsilon: f64,
}

impl LayerNormConfig {
    /// For numbers whose last axis has `width`.
    pub fn new(width: usize) -> Self {
        Self { width, epsilon: 1e-5 }
    }

    /// With what is added to the variance; 1e-5 without.
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Builds the norm on `device`; it starts by changing no scale.
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Initializer::Ones.init([self.width], device),
            beta: Initializer::Zeros.init([self.width], device),
            epsilon: self.epsilon,
        }
    }
}

/// Rows to zero mean and unit variance, times `gamma`, plus `beta`.
///
/// Type and parameters have the names of Burn's own, by which weights of other frameworks are read.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale of every channel, `[D]`.
    pub gamma: Param<Tensor<1>>,
    /// Added to every channel, `[D]`.
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// `x`: `[…, D]`; the result has its shape.
    pub fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        layer_norm(x, gamma, beta, self.epsilon)
    }
}

/// As [`LayerNorm::forward`]; `gamma`, `beta`: `[D]`.
fn layer_norm<const N: usize>(
    x: Tensor<N>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<N> {
    let channels = [&gamma, &beta].map(HostInput::of);
    match (HostInput::of(&x), channels) {
        (Some(x), [Some(gamma), Some(beta)]) => {
            apply([x, gamma, beta], move |[x, gamma, beta]| fused(x, gamma, &beta, epsilon as f32))
        }
        _ => by_burn(x, gamma, beta, epsilon),
    }
}

/// Burn's own, in 32 bits where numbers have fewer. Shapes as in [`layer_norm`].
fn by_burn<const N: usize>(
    x: Tensor<N>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<N> {
    let dtype = x.dtype();
    match dtype {
        DType::F16 | DType::BF16 => {
            let [gamma, beta] = [gamma, beta].map(|one| one.cast(DType::F32));
            module::layer_norm(x.cast(DType::F32), gamma, Some(beta), epsilon).cast(dtype)
        }
        _ => module::layer_norm(x, gamma, Some(beta), epsilon),
    }
}

/// What is kept for the backward pass.
#[derive(Debug, Clone)]
struct Kept {
    x: HostArray,
    gamma: HostArray,
    statistics: Vec<Statistics>,
}

fn fused(x: HostArray, gamma: HostArray, beta: &HostArray, epsilon: f32) -> (HostArray, Kept) {
    let mut output = vec![0.0; x.values().len()];
    let statistics = forward(x.values(), gamma.values(), beta.values(), epsilon, &mut output);
    (HostArray::new(output, x.shape()), Kept { x, gamma, statistics })
}

impl HostOperation<3> for Kept {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 3] {
        let (shape, width) = (gradient.shape(), gradient.last());
        let mut values = gradient.into_values();
        let (x, gamma) = (self.x.values(), self.gamma.values());
        let channels = backward(x, gamma, &self.statistics, &mut values);
        let [gamma, beta] = channels.map(|sums| Some(HostArray::new(sums, [width])));
        [Some(HostArray::new(values, shape)), gamma, beta]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::testing::{compare, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        for width in [1, 7, 96, 768] {
            let x = random([3, 50, width], 2.0) + 1.0;
            let channels = [random([1, 1, width], 1.0), random([1, 1, width], 1.0)];
            let [gamma, beta] = channels;
            let flat = |one: Tensor<3>| one.flatten::<1>(0, 2);
            compare(
                [x, gamma, beta],
                |[x, gamma, beta]| layer_norm(x, flat(gamma), flat(beta), 1e-6),
                |[x, gamma, beta]| by_burn(x, flat(gamma), flat(beta), 1e-6),
            );
        }
    }
}

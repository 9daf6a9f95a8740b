//! Activations of feed-forward layers.

use burn::tensor::{Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kernels::gelu::gelu;

/// The non-linearity of a feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Exact GELU: every published encoder and decoder.
    #[default]
    Gelu,
    /// ReLU: for models trained from scratch on a CPU, where GELU's error function costs some twenty
    /// times as much.
    Relu,
}

impl Activation {
    /// Applies it to every element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::Relu => activation::relu(x),
        }
    }
}

/// GELU by its tanh approximation, as T5 has it: `x · (1 + tanh u) / 2` with
/// `u = √(2/π) · (x + 0.044715 x³)`. Written as `x · sigmoid(2u)`, which is the same, because on a CPU
/// tanh and the power that Burn's own has cost several times as much.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let double = 2.0 * std::f64::consts::FRAC_2_PI.sqrt();
    let cubic = x.clone().square().mul_scalar(0.044715 * double).add_scalar(double);
    activation::sigmoid(cubic * x.clone()) * x
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;

    #[test]
    fn gelu_by_tanh_is_that_of_burn() {
        let x = Tensor::<1>::from_data([-9.0, -1.0, -0.1, 0.0, 0.3, 2.0, 9.0], &Device::flex());
        let expected = activation::gelu_approximate(x.clone()).into_data();
        gelu_tanh(x).into_data().assert_approx_eq(&expected, Tolerance::<f32>::absolute(1e-6));
    }
}

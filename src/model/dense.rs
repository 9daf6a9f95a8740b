//! The linear layer of the reference.

use burn::module::{Initializer, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

/// A linear layer as JAX starts it: kernels N(0, 1 / inputs), which keep the variance of what comes
/// in, and biases at 0. (Burn's own default has a third of that variance, and random biases.)
pub fn dense(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let bias: Param<Tensor<1>> = Initializer::Zeros.init([outputs], device);
    Linear { bias: Some(bias), ..dense_without_bias(inputs, outputs, device) }
}

/// [`dense`] without a bias.
pub fn dense_without_bias(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let kernel = Initializer::Normal { mean: 0.0, std: (inputs as f64).powf(-0.5) };
    Linear { weight: kernel.init([inputs, outputs], device), bias: None }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn a_layer_keeps_the_variance_of_what_comes_in() {
        let device = Device::flex();
        let input = Tensor::<2>::random([256, 64], Distribution::Normal(0.0, 1.0), &device);
        let output = dense(64, 128, &device).forward(input);
        let deviation = output.square().mean().into_scalar::<f32>().sqrt();
        assert!((deviation - 1.0).abs() < 0.1, "{deviation}");
    }
}

//! Dropout (Srivastava et al. 2014) without a tensor of random numbers: which numbers are dropped follows from
//! their place and a seed, and is found again in the backward pass.

use burn::nn::Dropout;
use burn::tensor::{Distribution, Tensor};
use pixelllm_kernels::dropout::Dropped;

use crate::backend::host::{HostArray, HostInput, HostOperation, apply, is_here};

/// What `layer` makes of `x`, with other random numbers than its own; `x` may have any shape.
pub fn dropout<const D: usize>(layer: &Dropout, x: Tensor<D>) -> Tensor<D> {
    let device = x.device();
    if layer.prob == 0.0 || !layer.training.is_enabled() || !device.is_autodiff() {
        return x;
    }
    if !is_here(&x) {
        return layer.forward(x);
    }
    // Drawn from the generator that every step seeds.
    let places = Distribution::Uniform(0.0, 16_777_216.0);
    let seeds = Tensor::<1>::random([2], places, &device.inner()).into_data();
    let seed = seeds.iter::<f32>().fold(0, |seed, part| (seed << 16) ^ part as u32);
    let dropped = Dropped::new(layer.prob, seed);
    apply([HostInput::take(x)], move |[x]| (apply_to(dropped, x), dropped))
}

/// What is left of `x`.
fn apply_to(dropped: Dropped, x: HostArray) -> HostArray {
    let shape = x.shape();
    let mut values = x.into_values();
    dropped.apply(&mut values);
    HostArray::new(values, shape)
}

impl HostOperation<1> for Dropped {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 1] {
        [Some(apply_to(self, gradient))]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::nn::DropoutConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn gradients_of_the_same_numbers_are_dropped() {
        let device = Device::flex().autodiff();
        let layer = DropoutConfig::new(0.1).init();
        // Several blocks.
        let x = Tensor::<2>::ones([200, 300], &device).require_grad();
        let output = dropout(&layer, x.clone());
        let gradient = x.grad(&output.clone().sum().backward()).unwrap();
        assert_eq!(gradient.into_data(), output.to_data());
        let dropped = output.into_data().iter::<f32>().filter(|value| *value == 0.0).count();
        // Of 60,000, within five standard deviations.
        assert!(dropped.abs_diff(6_000) < 370, "{dropped}");
    }

    #[test]
    fn every_call_drops_others_and_inference_none() {
        let device = Device::flex().autodiff();
        let layer = DropoutConfig::new(0.5).init();
        let x = Tensor::<1>::ones([100], &device);
        let once = || dropout(&layer, x.clone()).into_data();
        assert_ne!(once(), once());
        let plain = Tensor::<1>::ones([100], &device.clone().inner());
        assert_eq!(dropout(&layer, plain.clone()).into_data(), plain.into_data());
    }
}

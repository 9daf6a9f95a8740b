//! The convolutions of the box decoder, as the reference starts them.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::Device;

/// A convolution that keeps the size of the map, but for its stride.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    /// Channels in.
    pub from: usize,
    /// Channels out.
    pub to: usize,
    /// Side of the kernel; odd.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Standard deviation of the initial kernel.
    pub deviation: f64,
    /// Initial bias; `None` for none.
    pub bias: Option<f64>,
}

impl Convolution {
    /// With an initial kernel that keeps the variance of what comes in, and a bias at 0.
    pub(super) fn new(from: usize, to: usize, kernel: usize) -> Self {
        let fan_in = (from * kernel * kernel) as f64;
        Self { from, to, kernel, stride: 1, deviation: fan_in.powf(-0.5), bias: Some(0.0) }
    }

    /// Builds it on `device`.
    pub(super) fn init(self, device: &Device) -> Conv2d {
        let padding = self.kernel / 2;
        let kernel = Initializer::Normal { mean: 0.0, std: self.deviation };
        let mut convolution = Conv2dConfig::new([self.from, self.to], [self.kernel, self.kernel])
            .with_stride([self.stride, self.stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .with_initializer(kernel)
            .init(device);
        let bias = |value| Initializer::Constant { value }.init([self.to], device);
        convolution.bias = self.bias.map(bias);
        convolution
    }
}

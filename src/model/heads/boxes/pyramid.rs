//! Simple feature pyramid (`spec/model.md` §10.1; Li et al., *Exploring plain vision transformer
//! backbones for object detection*, ECCV 2022): maps of several sizes from one.

use burn::module::Module;
use burn::nn::conv::{Conv2d, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolution::Convolution;
use crate::model::ConfigProblem;
use crate::model::kernels::gelu::gelu;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};

/// Epsilon of every norm.
const EPSILON: f64 = 1e-6;
/// Level of the image encoder's map: cells of nominally 2⁴ pixels.
const ENCODER_LEVEL: usize = 4;

/// Sizes of the pyramid; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PyramidConfig {
    /// Twice the channels of the map of double size before its first convolution. (The reference's
    /// `in_dim`; the image encoder's channels may be others.)
    pub inner_width: usize,
    /// Channels of every level.
    pub channels: usize,
    /// The levels made directly from the image encoder's map.
    pub scales: Vec<Scale>,
    /// Further levels, each of half the size of the one before: 0; 1, by a max-pool; 2, by
    /// convolutions.
    pub extra_levels: usize,
}

/// Size of a level as a multiple of the image encoder's map.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// 4.
    Quadruple,
    /// 2.
    Double,
    /// 1.
    Same,
    /// 1/2.
    Half,
}

impl Scale {
    /// Level: cells of nominally `2^level` pixels.
    pub fn level(self) -> usize {
        match self {
            Self::Quadruple => ENCODER_LEVEL - 2,
            Self::Double => ENCODER_LEVEL - 1,
            Self::Same => ENCODER_LEVEL,
            Self::Half => ENCODER_LEVEL + 1,
        }
    }
}

impl Default for PyramidConfig {
    fn default() -> Self {
        Self {
            inner_width: 768,
            channels: 256,
            scales: vec![Scale::Double, Scale::Same, Scale::Half],
            extra_levels: 2,
        }
    }
}

impl PyramidConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, problem: String, allowed: &str| {
            problems.push(ConfigProblem { key: key.into(), problem, allowed: allowed.into() });
        };
        let levels: Vec<usize> = self.scales.iter().map(|scale| scale.level()).collect();
        if levels.is_empty() || levels.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            let allowed = "sizes from large to small, each half of the one before";
            problem("scales", format!("{:?}", self.scales), allowed);
        }
        if self.extra_levels > 2 {
            problem("extra_levels", self.extra_levels.to_string(), "0, 1 or 2");
        }
        // A quarter of it must be left for the finest level.
        if self.inner_width < 4 {
            problem("inner_width", self.inner_width.to_string(), "at least 4");
        }
        problems
    }

    /// The levels, finest first.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = self.scales.iter().map(|scale| scale.level()).collect();
        let last = levels.last().copied().unwrap_or(ENCODER_LEVEL);
        levels.extend((1..=self.extra_levels).map(|further| last + further));
        levels
    }

    /// Builds the pyramid for a map of `image_channels` on `device`.
    pub fn init(&self, image_channels: usize, device: &Device) -> Pyramid {
        let level = |scale: Scale| {
            let wanted = self.scales.contains(&scale);
            wanted.then(|| Level::new(self, scale, image_channels, device))
        };
        let halving = || {
            Convolution { stride: 2, ..Convolution::new(self.channels, self.channels, 3) }
                .init(device)
        };
        let by_convolutions = self.extra_levels == 2;
        Pyramid {
            quadruple: level(Scale::Quadruple),
            double: level(Scale::Double),
            same: level(Scale::Same),
            half: level(Scale::Half),
            extra_1: by_convolutions.then(halving),
            extra_2: by_convolutions.then(halving),
            extra_levels: self.extra_levels,
        }
    }
}

/// Makes maps of several sizes.
#[derive(Module, Debug)]
pub struct Pyramid {
    quadruple: Option<Level>,
    double: Option<Level>,
    same: Option<Level>,
    half: Option<Level>,
    extra_1: Option<Conv2d>,
    extra_2: Option<Conv2d>,
    #[module(skip)]
    extra_levels: usize,
}

impl Pyramid {
    /// # Shapes
    /// - `map`: `[B, D, H, W]`
    /// - result: `[B, channels, H, W]` each, finest first
    pub fn forward(&self, map: Tensor<4>) -> Vec<Tensor<4>> {
        let levels = [&self.quadruple, &self.double, &self.same, &self.half];
        let mut maps: Vec<_> =
            levels.into_iter().flatten().map(|level| level.forward(map.clone())).collect();
        let Some(last) = maps.last().cloned() else { return maps };
        if let (Some(first), Some(second)) = (&self.extra_1, &self.extra_2) {
            let finer = first.forward(last);
            maps.push(finer.clone());
            maps.push(second.forward(activation::relu(finer)));
        } else if self.extra_levels == 1 {
            // Every second cell, as Detectron2 does it: a max-pool whose window is one cell.
            maps.push(pool(1).forward(last));
        }
        maps
    }
}

/// A max-pool to half the size.
fn pool(window: usize) -> MaxPool2d {
    MaxPool2dConfig::new([window, window])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Valid)
        .init()
}

/// One level: the map at its size, then two convolutions with norms over channels.
#[derive(Module, Debug)]
struct Level {
    upscale_1: Option<ConvTranspose2d>,
    /// Between two doublings; a GELU follows.
    upscale_norm: Option<LayerNorm>,
    upscale_2: Option<ConvTranspose2d>,
    /// 1×1
    reduce: Conv2d,
    norm_1: LayerNorm,
    /// 3×3
    mix: Conv2d,
    norm_2: LayerNorm,
    #[module(skip)]
    scale: Scale,
}

impl Level {
    fn new(config: &PyramidConfig, scale: Scale, image_channels: usize, device: &Device) -> Self {
        let norm = |channels| LayerNormConfig::new(channels).with_epsilon(EPSILON).init(device);
        let [half, quarter] = [config.inner_width / 2, config.inner_width / 4];
        let upscale = |from, to| upscale(from, to, device);
        let (upscale_1, upscale_norm, upscale_2, width) = match scale {
            Scale::Quadruple => (
                Some(upscale(image_channels, half)),
                Some(norm(half)),
                Some(upscale(half, quarter)),
                quarter,
            ),
            Scale::Double => (Some(upscale(image_channels, half)), None, None, half),
            Scale::Same | Scale::Half => (None, None, None, image_channels),
        };
        let without_bias = |from, kernel| {
            Convolution { bias: None, ..Convolution::new(from, config.channels, kernel) }
                .init(device)
        };
        Self {
            upscale_1,
            upscale_norm,
            upscale_2,
            reduce: without_bias(width, 1),
            norm_1: norm(config.channels),
            mix: without_bias(config.channels, 3),
            norm_2: norm(config.channels),
            scale,
        }
    }

    /// `[B, D, H, W]` → `[B, channels, H, W]`
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let mut map = if self.scale == Scale::Half { pool(2).forward(map) } else { map };
        if let Some(upscale) = &self.upscale_1 {
            map = upscale.forward(map);
        }
        if let Some(norm) = &self.upscale_norm {
            map = gelu(over_channels(norm, map));
        }
        if let Some(upscale) = &self.upscale_2 {
            map = upscale.forward(map);
        }
        let map = over_channels(&self.norm_1, self.reduce.forward(map));
        over_channels(&self.norm_2, self.mix.forward(map))
    }
}

/// A transposed convolution to double the size, as JAX starts it.
fn upscale(from: usize, to: usize, device: &Device) -> ConvTranspose2d {
    let fan_in = (from * 4) as f64;
    let kernel = Initializer::Normal { mean: 0.0, std: fan_in.powf(-0.5) };
    let mut upscale = ConvTranspose2dConfig::new([from, to], [2, 2])
        .with_stride([2, 2])
        .with_initializer(kernel)
        .init(device);
    upscale.bias = Some(Initializer::Zeros.init([to], device));
    upscale
}

/// A norm over the channels of `[B, D, H, W]`.
fn over_channels(norm: &LayerNorm, map: Tensor<4>) -> Tensor<4> {
    norm.forward(map.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_half_the_size_of_the_one_before() {
        let device = Device::flex();
        let sizes = |config: &PyramidConfig| -> Vec<usize> {
            let maps = config.init(6, &device).forward(Tensor::ones([1, 6, 27, 27], &device));
            assert!(maps.iter().all(|map| map.dims()[1] == 8));
            maps.iter().map(|map| map.dims()[2]).collect()
        };
        let config = PyramidConfig { inner_width: 8, channels: 8, ..PyramidConfig::default() };
        assert_eq!(config.levels(), [3, 4, 5, 6, 7]);
        assert_eq!(sizes(&config), [54, 27, 13, 7, 4]);
        let scales = vec![Scale::Quadruple, Scale::Double];
        let config = PyramidConfig { scales, extra_levels: 1, ..config };
        assert_eq!(config.levels(), [2, 3, 4]);
        assert_eq!(sizes(&config), [108, 54, 27]);
        let scales = vec![Scale::Half, Scale::Double];
        assert_eq!(PyramidConfig { scales, ..config }.validate().len(), 1);
    }
}

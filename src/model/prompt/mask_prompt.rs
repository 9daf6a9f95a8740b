//! Mask prompts (`spec/model.md` §5): a low-resolution mask → dense prompt tokens. SAM has it; the
//! paper's model never uses it.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::kernels::gelu::gelu;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};

/// Of the norms over channels, as in all of SAM.
const EPSILON: f64 = 1e-6;
/// Each of the two steps halves height and width.
const STRIDE: usize = 2;
/// The first step has this share of the channels of the second.
const FIRST_SHARE: usize = 4;

/// Sizes of the mask prompt encoder; defaults are SAM's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskPromptConfig {
    /// Channels after the second step; a multiple of 4.
    pub channels: usize,
    /// Width of a prompt token.
    pub width: usize,
    /// How the norms compute a variance.
    pub variance: Variance,
}

/// How a variance is computed: the same but for rounding, which is seen where a norm has few channels
/// and they are nearly equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// E[(x − E[x])²]: Meta's implementation, and the better one.
    Centred,
    /// E[x²] − E[x]²: the reference in JAX.
    Moments,
}

impl Default for MaskPromptConfig {
    fn default() -> Self {
        Self { channels: 16, width: 256, variance: Variance::Centred }
    }
}

impl MaskPromptConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let unfit = self.channels == 0 || !self.channels.is_multiple_of(FIRST_SHARE);
        unfit
            .then(|| ConfigProblem {
                key: "channels".into(),
                problem: format!(
                    "a quarter of {} channels is no number of channels",
                    self.channels
                ),
                allowed: "a multiple of 4".into(),
            })
            .into_iter()
            .collect()
    }

    /// Builds the encoder on `device`.
    pub fn init(&self, device: &Device) -> MaskPromptEncoder {
        let first = self.channels / FIRST_SHARE;
        MaskPromptEncoder {
            step_1: Step::new(1, first, self.variance, device),
            step_2: Step::new(first, self.channels, self.variance, device),
            output: Conv2dConfig::new([self.channels, self.width], [1, 1]).init(device),
        }
    }
}

/// Turns masks into dense prompt tokens.
#[derive(Module, Debug)]
pub struct MaskPromptEncoder {
    step_1: Step,
    step_2: Step,
    /// 1×1
    output: Conv2d,
}

impl MaskPromptEncoder {
    /// # Shapes
    /// - `masks`: `[R, 1, 4·H, 4·W]`, logits
    /// - result: `[R, D, H, W]`
    pub fn forward(&self, masks: Tensor<4>) -> Tensor<4> {
        self.output.forward(self.step_2.forward(self.step_1.forward(masks)))
    }
}

/// A convolution that halves the grid, a norm over channels, and GELU.
#[derive(Module, Debug)]
struct Step {
    convolution: Conv2d,
    norm: LayerNorm,
    #[module(skip)]
    variance: Variance,
}

impl Step {
    fn new(from: usize, to: usize, variance: Variance, device: &Device) -> Self {
        let convolution = Conv2dConfig::new([from, to], [STRIDE; 2]).with_stride([STRIDE; 2]);
        Self {
            convolution: convolution.init(device),
            norm: LayerNormConfig::new(to).with_epsilon(EPSILON).init(device),
            variance,
        }
    }

    /// `[R, C, 2·H, 2·W]` → `[R, C', H, W]`
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.convolution.forward(map).permute([0, 2, 3, 1]);
        let map = match self.variance {
            Variance::Centred => self.norm.forward(map),
            Variance::Moments => self.normalise_by_moments(map),
        };
        gelu(map).permute([0, 3, 1, 2])
    }

    /// The norm over the last axis of `map` `[R, H, W, C]`.
    fn normalise_by_moments(&self, map: Tensor<4>) -> Tensor<4> {
        let mean = map.clone().mean_dim(3);
        let variance = map.clone().square().mean_dim(3) - mean.clone().square();
        let deviation = (variance.clamp_min(0.0) + EPSILON).sqrt();
        let scaled = (map - mean) / deviation * self.norm.gamma.val().unsqueeze();
        scaled + self.norm.beta.val().unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn a_mask_has_a_token_for_every_four_by_four_pixels() {
        let device = Device::flex();
        let config = MaskPromptConfig { channels: 8, width: 6, ..MaskPromptConfig::default() };
        assert!(config.validate().is_empty());
        let tokens = config.init(&device).forward(Tensor::ones([2, 1, 12, 8], &device));
        assert_eq!(tokens.dims(), [2, 6, 3, 2]);
        assert_eq!(MaskPromptConfig { channels: 6, ..config }.validate().len(), 1);
    }

    #[test]
    fn both_ways_to_compute_a_variance_agree_where_channels_differ() {
        let device = Device::flex();
        let centred = MaskPromptConfig { channels: 8, width: 6, ..MaskPromptConfig::default() };
        let mut encoder = centred.init(&device);
        let masks = Tensor::random([1, 1, 8, 8], Distribution::Normal(0.0, 3.0), &device);
        let expected = encoder.forward(masks.clone());
        encoder.step_2.variance = Variance::Moments;
        let difference = (encoder.forward(masks) - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-3, "{difference}");
    }
}

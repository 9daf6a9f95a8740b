//! Point head (`spec/model.md` §9): two corner points per token.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::activation::Activation;
use crate::model::dense::dense;

/// Channels per point: x, y and two that the reference computes and never uses (Quirk 5); they are
/// kept so that its weights fit.
const CHANNELS: usize = 4;

/// Sizes of the point head; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PointConfig {
    /// Number of linear layers.
    pub depth: usize,
    /// Hidden width.
    pub hidden_width: usize,
    /// Points per token, `P`; 2 are the corners of a box.
    pub num_points: usize,
    /// Whether a layer norm comes first.
    pub pre_norm: bool,
    /// Non-linearity between layers.
    pub activation: Activation,
}

impl Default for PointConfig {
    fn default() -> Self {
        Self {
            depth: 4,
            hidden_width: 512,
            num_points: 2,
            pre_norm: true,
            activation: Activation::Gelu,
        }
    }
}

impl PointConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let checks = [("depth", self.depth, 1), ("num_points", self.num_points, 2)];
        let too_few = checks.into_iter().filter(|(_, value, least)| value < least);
        let mut problems: Vec<_> = too_few
            .map(|(key, value, least)| ConfigProblem {
                key: key.into(),
                problem: format!("{value}"),
                allowed: format!("at least {least}"),
            })
            .collect();
        if self.num_points > 2 {
            problems.push(ConfigProblem {
                key: "num_points".into(),
                problem: format!("targets have two corners, not {}", self.num_points),
                allowed: "2".into(),
            });
        }
        problems
    }

    /// Builds the head on `device`, for features of `feature_width`.
    pub fn init(&self, feature_width: usize, device: &Device) -> PointHead {
        let output = self.num_points * CHANNELS;
        let layers = (0..self.depth).map(|i| {
            let from = if i == 0 { feature_width } else { self.hidden_width };
            let to = if i + 1 == self.depth { output } else { self.hidden_width };
            dense(from, to, device)
        });
        let norm = || LayerNormConfig::new(feature_width).with_epsilon(1e-6).init(device);
        PointHead {
            norm: self.pre_norm.then(norm),
            layers: layers.collect(),
            num_points: self.num_points,
            activation: self.activation,
        }
    }
}

/// Says where each token is.
#[derive(Module, Debug)]
pub struct PointHead {
    norm: Option<LayerNorm>,
    layers: Vec<Linear>,
    #[module(skip)]
    num_points: usize,
    #[module(skip)]
    activation: Activation,
}

impl PointHead {
    /// Points are not clamped: a place outside the image stays outside.
    ///
    /// # Shapes
    /// - `features`: `[B, N, L, D]`
    /// - result: `[B, N, L, P, 2]`, `(x, y)` normalised to the un-padded image
    pub fn forward(&self, features: Tensor<4>) -> Tensor<5> {
        let [batch, rows, tokens, _] = features.dims();
        let features = match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        };
        let last = self.layers.len() - 1;
        let raw = self.layers.iter().enumerate().fold(features, |x, (i, layer)| {
            let x = layer.forward(x);
            if i < last { self.activation.forward(x) } else { x }
        });
        let raw = raw.reshape([batch, rows, tokens, self.num_points, CHANNELS]);
        (raw.narrow(4, 0, 2) + 1.0) / 2.0
    }
}

/// Normalised points to pixels of the canvas.
///
/// # Shapes
/// - `points`: `[B, N, L, P, 2]`
/// - `sizes`: `[B, 2]`, un-padded `(width, height)` in pixels
pub fn to_pixels(points: Tensor<5>, sizes: Tensor<2>) -> Tensor<5> {
    points * sizes.reshape([-1, 1, 1, 1, 2])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_of_each_image_s_own_size() {
        let device = Device::flex();
        let points = Tensor::<5>::ones([2, 1, 1, 2, 2], &device) / 2.0;
        let sizes = Tensor::<2>::from_data([[64.0, 32.0], [10.0, 20.0]], &device);
        let pixels: Vec<f32> = to_pixels(points, sizes).into_data().try_to_vec().unwrap();
        assert_eq!(pixels, [32.0, 16.0, 32.0, 16.0, 5.0, 10.0, 5.0, 10.0]);
    }
}

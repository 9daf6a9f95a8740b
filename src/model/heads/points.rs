//! Point head (`spec/model.md` §9): two corner points per token.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::activation::Activation;
use crate::model::dense::dense;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::mixed_precision::linear;

/// Channels of a place: x and y.
const COORDINATES: usize = 2;

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
    /// Classes of points. The reference computes a score for each and one for "none", and never uses
    /// them (Quirk 5); they are kept so that its weights fit.
    pub num_classes: usize,
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
            num_classes: 1,
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
        let output = self.num_points * (COORDINATES + 1 + self.num_classes);
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
        (self.channels(features).narrow(4, 0, COORDINATES) + 1.0) / 2.0
    }

    /// Scores of the classes of points, which nothing in the model reads.
    ///
    /// # Shapes
    /// - `features`: `[B, N, L, D]`
    /// - result: `[B, N, L, P, 1 + num_classes]`, "none" first
    pub fn class_scores(&self, features: Tensor<4>) -> Tensor<5> {
        let channels = self.channels(features);
        let count = channels.dims()[4] - COORDINATES;
        channels.narrow(4, COORDINATES, count)
    }

    /// `[B, N, L, D]` → `[B, N, L, P, 3 + num_classes]`
    fn channels(&self, features: Tensor<4>) -> Tensor<5> {
        let [batch, rows, tokens, _] = features.dims();
        let features = match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        };
        let last = self.layers.len() - 1;
        let raw = self.layers.iter().enumerate().fold(features, |x, (i, layer)| {
            let x = linear(layer, x);
            if i < last { self.activation.forward(x) } else { x }
        });
        let channels = raw.dims()[3] / self.num_points;
        raw.reshape([batch, rows, tokens, self.num_points, channels])
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
    fn every_point_has_its_place_and_a_score_for_each_class_and_none() {
        let device = Device::flex();
        let config = PointConfig {
            hidden_width: 8,
            num_points: 3,
            num_classes: 2,
            ..PointConfig::default()
        };
        let head = config.init(6, &device);
        let features = Tensor::ones([1, 2, 4, 6], &device);
        assert_eq!(head.forward(features.clone()).dims(), [1, 2, 4, 3, 2]);
        assert_eq!(head.class_scores(features).dims(), [1, 2, 4, 3, 3]);
    }

    #[test]
    fn pixels_are_of_each_image_s_own_size() {
        let device = Device::flex();
        let points = Tensor::<5>::ones([2, 1, 1, 2, 2], &device) / 2.0;
        let sizes = Tensor::<2>::from_data([[64.0, 32.0], [10.0, 20.0]], &device);
        let pixels: Vec<f32> = to_pixels(points, sizes).into_data().try_to_vec().unwrap();
        assert_eq!(pixels, [32.0, 16.0, 32.0, 16.0, 5.0, 10.0, 5.0, 10.0]);
    }
}

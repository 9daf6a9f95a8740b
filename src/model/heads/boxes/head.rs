//! CenterNet head (`spec/model.md` §10.2; Zhou et al., *Probabilistic two-stage detection*, 2021): at
//! every cell of every level, is an object's centre here, and how far are the edges of its box.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, GroupNormConfig};
use burn::tensor::{Device, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolution::Convolution;
use crate::model::ConfigProblem;

/// Epsilon of the group norms.
const EPSILON: f64 = 1e-6;
/// Standard deviation of the initial kernels.
const DEVIATION: f64 = 0.01;
/// Initial bias of the heatmap: a probability of about 1 % everywhere.
const HEATMAP_BIAS: f64 = -4.6;
/// Initial distance to every edge, in cells.
const DISTANCE_BIAS: f64 = 8.0;

/// Sizes of the head; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// Channels of its convolutions.
    pub channels: usize,
    /// Number of convolutions before the outputs.
    pub layers: usize,
    /// Groups of the norms; divide `channels`.
    pub groups: usize,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { channels: 256, layers: 4, groups: 32 }
    }
}

impl HeadConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let divides = self.groups > 0 && self.channels.is_multiple_of(self.groups);
        let problem = || ConfigProblem {
            key: "groups".into(),
            problem: format!("{} groups do not divide {} channels", self.groups, self.channels),
            allowed: "a divisor of the channels".into(),
        };
        (!divides || self.channels == 0).then(problem).into_iter().collect()
    }

    /// Builds the head for `num_levels` maps of `channels` on `device`.
    pub fn init(&self, channels: usize, num_levels: usize, device: &Device) -> Head {
        let layer = |index| {
            let from = if index == 0 { channels } else { self.channels };
            let norm = GroupNormConfig::new(self.groups, self.channels).with_epsilon(EPSILON);
            TowerLayer {
                convolution: near_zero(from, self.channels, 0.0, device),
                norm: norm.init(device),
            }
        };
        let from = if self.layers == 0 { channels } else { self.channels };
        let one = || Param::from_tensor(Tensor::ones([1], device));
        Head {
            tower: (0..self.layers).map(layer).collect(),
            heatmap: near_zero(from, 1, HEATMAP_BIAS, device),
            distances: near_zero(from, 4, DISTANCE_BIAS, device),
            scales: (0..num_levels).map(|_| one()).collect(),
        }
    }
}

/// A 3×3 convolution whose output starts near `bias`.
fn near_zero(from: usize, to: usize, bias: f64, device: &Device) -> Conv2d {
    let convolution = Convolution::new(from, to, 3);
    Convolution { deviation: DEVIATION, bias: Some(bias), ..convolution }.init(device)
}

/// The head: the same for every level, but for a scale.
#[derive(Module, Debug)]
pub struct Head {
    tower: Vec<TowerLayer>,
    heatmap: Conv2d,
    distances: Conv2d,
    /// What the distances of each level are multiplied by, `[1]` each.
    scales: Vec<Param<Tensor<1>>>,
}

/// `relu(norm(convolution(x)))`
#[derive(Module, Debug)]
struct TowerLayer {
    convolution: Conv2d,
    norm: GroupNorm,
}

/// What the head says of a level.
#[derive(Debug, Clone)]
pub struct LevelOutput {
    /// Logits of an object's centre: `[B, 1, H, W]`.
    pub heatmap: Tensor<4>,
    /// Distances to left, top, right and bottom edge, in cells, from 0: `[B, 4, H, W]`.
    pub distances: Tensor<4>,
}

impl Head {
    /// # Shapes
    /// - `maps`: `[B, D, H, W]`, one for each level
    pub fn forward(&self, maps: &[Tensor<4>]) -> Vec<LevelOutput> {
        let level = |(map, scale): (&Tensor<4>, &Param<Tensor<1>>)| {
            let features = self.tower.iter().fold(map.clone(), |x, layer| {
                activation::relu(layer.norm.forward(layer.convolution.forward(x)))
            });
            let scale = scale.val().reshape([1, 1, 1, 1]);
            LevelOutput {
                heatmap: self.heatmap.forward(features.clone()),
                distances: activation::relu(self.distances.forward(features) * scale),
            }
        };
        maps.iter().zip(&self.scales).map(level).collect()
    }
}

/// All levels together, finest first, rows of cells from the top: `[B, M]` logits and `[B, M, 4]`
/// distances at `M` places.
pub fn flatten(levels: &[LevelOutput]) -> (Tensor<2>, Tensor<3>) {
    let heatmaps = levels.iter().map(|level| {
        let [batch, _, height, width] = level.heatmap.dims();
        level.heatmap.clone().reshape([batch, height * width])
    });
    let distances = levels.iter().map(|level| {
        let [batch, _, height, width] = level.distances.dims();
        level.distances.clone().permute([0, 2, 3, 1]).reshape([batch, height * width, 4])
    });
    (Tensor::cat(heatmaps.collect(), 1), Tensor::cat(distances.collect(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_head_sees_hardly_anything_and_draws_boxes_of_16_cells() {
        let device = Device::flex();
        let config = HeadConfig { channels: 8, layers: 2, groups: 4 };
        let head = config.init(6, 2, &device);
        let maps = [[4, 4], [2, 2]].map(|[h, w]| Tensor::ones([3, 6, h, w], &device));
        let (heatmap, distances) = flatten(&head.forward(&maps));
        assert_eq!((heatmap.dims(), distances.dims()), ([3, 20], [3, 20, 4]));
        assert!((heatmap.mean().into_scalar::<f32>() + 4.6).abs() < 0.5);
        assert!((distances.mean().into_scalar::<f32>() - 8.0).abs() < 0.5);
    }
}

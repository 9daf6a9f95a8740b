//! SAM's mask decoder (`spec/model.md` §11.3; Kirillov et al., *Segment Anything*, 2023): tokens of a
//! prompt and the image update each other; each mask token then says by how much every channel of the
//! up-scaled image counts for its mask.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::tensor::{Device, Distribution, Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Masks;
use crate::model::ConfigProblem;
use crate::model::dense::dense;
use crate::model::kernels::gelu::gelu;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::prompt::two_way::{CROSS_ATTENTION_REDUCTION, TwoWayConfig, TwoWayTransformer};

/// The first up-scaling leaves this part of the channels, the second half of those (SAM).
const FIRST_REDUCTION: usize = 4;
/// What both up-scalings leave of the channels.
const CHANNEL_REDUCTION: usize = 8;
/// How many cells of a mask lie along the side of one of the image map, after two doublings.
pub const UPSCALING: usize = 4;
/// Layers of the network that reads a mask token (SAM).
const HYPER_DEPTH: usize = 3;

/// Sizes of the mask decoder; defaults are SAM's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskDecoderConfig {
    /// Width of tokens and channels of the image map; at least 8.
    pub width: usize,
    /// Number of two-way layers.
    pub depth: usize,
    /// Number of attention heads; divides `width / cross_attention_reduction`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Attention between tokens and what they read works on `width` divided by this.
    pub cross_attention_reduction: usize,
    /// Masks per prompt where several are asked for; one more is for where a single one is.
    pub num_multiple: usize,
    /// Hidden width of the network that reads a mask token.
    pub hyper_width: usize,
    /// Number of layers that predict how good a mask is.
    pub iou_depth: usize,
    /// Their hidden width.
    pub iou_width: usize,
}

impl Default for MaskDecoderConfig {
    fn default() -> Self {
        Self {
            width: 256,
            depth: 2,
            num_heads: 8,
            mlp_width: 2048,
            cross_attention_reduction: CROSS_ATTENTION_REDUCTION,
            num_multiple: 3,
            hyper_width: 256,
            iou_depth: 3,
            iou_width: 256,
        }
    }
}

/// How many masks a prompt is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// One: the prompt says what is meant.
    One,
    /// [`MaskDecoderConfig::num_multiple`]: a point may mean a thing, a part of it, or what it is a
    /// part of.
    Several,
}

impl MaskDecoderConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = self.two_way().validate();
        if self.width < CHANNEL_REDUCTION {
            problems.push(ConfigProblem {
                key: "width".into(),
                problem: format!(
                    "up-scaling leaves an eighth of the channels, none of {}",
                    self.width
                ),
                allowed: format!("at least {CHANNEL_REDUCTION}"),
            });
        }
        for (key, value) in [("num_multiple", self.num_multiple), ("iou_depth", self.iou_depth)] {
            if value == 0 {
                problems.push(ConfigProblem {
                    key: key.into(),
                    problem: "0".into(),
                    allowed: "at least 1".into(),
                });
            }
        }
        problems
    }

    fn two_way(&self) -> TwoWayConfig {
        TwoWayConfig {
            depth: self.depth,
            width: self.width,
            num_heads: self.num_heads,
            mlp_width: self.mlp_width,
            cross_attention_reduction: self.cross_attention_reduction,
        }
    }

    /// Builds the decoder on `device`.
    pub fn init(&self, device: &Device) -> MaskDecoder {
        let tokens = |count| {
            let normal = Distribution::Normal(0.0, 1.0);
            Param::from_tensor(Tensor::random([count, self.width], normal, device))
        };
        let num_masks = self.num_multiple + 1;
        let hyper = [self.width, self.hyper_width, self.width / CHANNEL_REDUCTION];
        MaskDecoder {
            iou_token: tokens(1),
            mask_tokens: tokens(num_masks),
            two_way: self.two_way().init(device),
            upscaling: Upscaling::new(self.width, device),
            hyper_networks: (0..num_masks).map(|_| Mlp::new(hyper, HYPER_DEPTH, device)).collect(),
            iou_head: Mlp::new([self.width, self.iou_width, num_masks], self.iou_depth, device),
        }
    }
}

/// Decodes masks.
#[derive(Module, Debug)]
pub struct MaskDecoder {
    /// Reads how good the masks are, `[1, D]`.
    iou_token: Param<Tensor<2>>,
    /// One for each mask, the single one first: `[1 + multiple, D]`.
    mask_tokens: Param<Tensor<2>>,
    two_way: TwoWayTransformer,
    upscaling: Upscaling,
    /// One for each mask token.
    hyper_networks: Vec<Mlp>,
    iou_head: Mlp,
}

impl MaskDecoder {
    /// # Shapes
    /// - `image`: `[B, D, H, W]`, SAM's map
    /// - `positions`: `[D, H, W]`, the encoding of the cells' places
    /// - `prompts`: `[B, N, K, D]`, the tokens of each prompt
    /// - `dense`: what is added to the map for each prompt, `[B, N, D, H, W]` or 1 instead of any of
    ///   these but `D`
    pub fn forward(
        &self,
        image: Tensor<4>,
        positions: Tensor<3>,
        prompts: Tensor<4>,
        dense: Tensor<5>,
        candidates: Candidates,
    ) -> Masks {
        let [batch, rows, num_prompts, width] = prompts.dims();
        let [_, _, height, map_width] = image.dims();
        let (count, cells) = (batch * rows, height * map_width);

        let map = image.unsqueeze_dim::<5>(1).expand([batch, rows, width, height, map_width]);
        let keys = (map + dense).reshape([count, width, cells]).swap_dims(1, 2);
        let positions = positions.reshape([1, width, cells]).swap_dims(1, 2);
        let own = Tensor::cat(vec![self.iou_token.val(), self.mask_tokens.val()], 0);
        let [num_own, _] = own.dims();
        let own = own.unsqueeze::<3>().expand([count, num_own, width]);
        let queries = Tensor::cat(vec![own, prompts.reshape([count, num_prompts, width])], 1);

        let (queries, keys) = self.two_way.forward(queries, keys, positions);
        let map = keys.swap_dims(1, 2).reshape([count, width, height, map_width]);
        let map = self.upscaling.forward(map);
        let [_, channels, height, map_width] = map.dims();

        let num_masks = self.hyper_networks.len();
        let (first, number) = match candidates {
            Candidates::One => (0, 1),
            Candidates::Several => (1, num_masks - 1),
        };
        let networks = self.hyper_networks.iter().enumerate().skip(first).take(number);
        // The first query is the IoU token.
        let weights =
            networks.map(|(i, network)| network.forward(queries.clone().narrow(1, 1 + i, 1)));
        let weights = Tensor::cat(weights.collect(), 1);
        let logits = weights.matmul(map.reshape([count, channels, height * map_width]));
        let ious = self.iou_head.forward(queries.narrow(1, 0, 1)).narrow(2, first, number);
        Masks {
            logits: logits.reshape([batch, rows, number, height, map_width]),
            ious: ious.reshape([batch, rows, number]),
        }
    }
}

/// Doubles a map twice.
#[derive(Module, Debug)]
struct Upscaling {
    first: ConvTranspose2d,
    /// Over channels.
    norm: LayerNorm,
    second: ConvTranspose2d,
}

impl Upscaling {
    fn new(width: usize, device: &Device) -> Self {
        let doubling = |from, to| {
            ConvTranspose2dConfig::new([from, to], [2, 2]).with_stride([2, 2]).init(device)
        };
        let (middle, last) = (width / FIRST_REDUCTION, width / CHANNEL_REDUCTION);
        Self {
            first: doubling(width, middle),
            norm: LayerNormConfig::new(middle).with_epsilon(1e-6).init(device),
            second: doubling(middle, last),
        }
    }

    /// `[R, D, H, W]` → `[R, D / 8, 4·H, 4·W]`
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.first.forward(map).permute([0, 2, 3, 1]);
        let map = gelu(self.norm.forward(map)).permute([0, 3, 1, 2]);
        gelu(self.second.forward(map))
    }
}

/// Linear layers with a ReLU between them.
#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new([inputs, hidden, outputs]: [usize; 3], depth: usize, device: &Device) -> Self {
        let layers = (0..depth).map(|i| {
            let from = if i == 0 { inputs } else { hidden };
            let to = if i + 1 == depth { outputs } else { hidden };
            dense(from, to, device)
        });
        Self { layers: layers.collect() }
    }

    /// `[R, K, inputs]` → `[R, K, outputs]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.layers
            .iter()
            .enumerate()
            .fold(x, |x, (i, layer)| layer.forward(if i == 0 { x } else { activation::relu(x) }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn small() -> MaskDecoderConfig {
        MaskDecoderConfig {
            width: 16,
            depth: 1,
            num_heads: 2,
            mlp_width: 8,
            cross_attention_reduction: 2,
            num_multiple: 2,
            hyper_width: 6,
            iou_depth: 2,
            iou_width: 5,
        }
    }

    fn decode(decoder: &MaskDecoder, dense: Tensor<5>, candidates: Candidates) -> Masks {
        let device = Device::flex();
        let values = Tensor::arange(0..2 * 16 * 2 * 3, &device).float();
        let image = (values * 0.1).sin().reshape([2, 16, 2, 3]);
        let prompts = (Tensor::arange(0..2 * 4 * 2 * 16, &device).float() * 0.3).cos();
        let prompts = prompts.reshape([2, 4, 2, 16]);
        decoder.forward(image, Tensor::ones([16, 2, 3], &device), prompts, dense, candidates)
    }

    #[test]
    fn masks_have_four_cells_along_one_of_the_map_and_a_score_each() {
        assert!(small().validate().is_empty());
        let device = Device::flex();
        let decoder = small().init(&device);
        for (candidates, number) in [(Candidates::One, 1), (Candidates::Several, 2)] {
            let masks = decode(&decoder, Tensor::zeros([1, 1, 16, 1, 1], &device), candidates);
            assert_eq!(masks.logits.dims(), [2, 4, number, 2 * UPSCALING, 3 * UPSCALING]);
            assert_eq!(masks.ious.dims(), [2, 4, number]);
        }
    }

    #[test]
    fn a_dense_prompt_of_one_vector_is_that_vector_in_every_cell() {
        let device = Device::flex();
        let decoder = small().init(&device);
        let vector = Tensor::<1>::ones([16], &device).reshape([1, 1, 16, 1, 1]);
        let everywhere = vector.clone().expand([2, 4, 16, 2, 3]);
        let [one, all] = [vector, everywhere].map(|dense| {
            let logits = decode(&decoder, dense, Candidates::One).logits;
            logits.into_data().try_to_vec::<f32>().unwrap()
        });
        assert_eq!(one, all);
    }

    #[test]
    fn widths_that_cannot_be_up_scaled_are_refused() {
        let keys = |config: MaskDecoderConfig| -> Vec<String> {
            config.validate().into_iter().map(|problem| problem.key).collect()
        };
        assert_eq!(keys(MaskDecoderConfig { width: 4, ..small() }), ["width"]);
        assert_eq!(keys(MaskDecoderConfig { num_heads: 3, ..small() }), ["num_heads"]);
        assert_eq!(keys(MaskDecoderConfig { iou_depth: 0, ..small() }), ["iou_depth"]);
    }

    #[test]
    fn the_gradient_of_a_prompt_is_that_of_finite_differences() {
        let decoder = small().init(&Device::flex());
        let start: Vec<f32> = (0..16).map(|i| (i as f32).sin()).collect();
        // A sum of all logits and scores, with weights that differ.
        let read = |decoder: &MaskDecoder, prompts: Tensor<4>| {
            let device = prompts.device();
            let image = (Tensor::arange(0..16 * 4, &device).float() * 0.1).cos();
            let zeros = Tensor::zeros([1, 1, 16, 1, 1], &device);
            let grid = Tensor::ones([16, 2, 2], &device);
            let image = image.reshape([1, 16, 2, 2]);
            let masks = decoder.forward(image, grid, prompts, zeros, Candidates::Several);
            let weights = (Tensor::arange(0..2 * 64, &device).float() * 0.7).sin();
            let logits = masks.logits.reshape([2 * 64]) * weights;
            (logits.mean() + masks.ious.mean()) * 10.0
        };
        let device = Device::flex().autodiff();
        let prompts = Tensor::<1>::from_data(start.as_slice(), &device).require_grad();
        let training = decoder.clone().fork(&device);
        let gradients = read(&training, prompts.clone().reshape([1, 1, 1, 16])).backward();
        let found: Vec<f32> = prompts.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        for (index, found) in found.into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start.clone();
                moved[index] += step;
                let moved = Tensor::<1>::from_data(moved.as_slice(), &Device::flex());
                read(&decoder, moved.reshape([1, 1, 1, 16])).into_scalar::<f32>()
            };
            let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
            let tolerance = 2e-2 * (1.0 + expected.abs());
            assert!((found - expected).abs() < tolerance, "{index}: {found} {expected}");
        }
    }
}

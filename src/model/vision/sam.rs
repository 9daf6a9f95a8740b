//! SAM ViT image encoder (`spec/model.md` §3).

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drop_path::DropPath;
use super::positions::InitialPositions;
use super::resize::{Kernel, resize_map};
use super::stem::PatchEmbedding;
use super::windowed_attention::WindowedAttention;
use super::{Resampling, Stem, stem_problem};
use crate::model::ConfigProblem;
use crate::model::activation::Activation;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::mixed_precision::linear;
use crate::model::storage::{Storage, store};

/// Epsilon of every norm.
const EPSILON: f64 = 1e-6;

/// Sizes of a SAM encoder; defaults are SAM ViT-H/16.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamConfig {
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads; divides `width`.
    pub num_heads: usize,
    /// Side of a patch, in pixels.
    pub patch_px: usize,
    /// Hidden width of the feed-forward, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Side of an attention window, in tokens.
    pub window_tokens: usize,
    /// Blocks (from 0) that attend globally; all others attend within windows.
    pub global_blocks: Vec<usize>,
    /// Side of the images whose grid the position tables have, in pixels.
    pub pretrain_image_px: usize,
    /// Side, in pixels, of the square to which the canvas is resized for this encoder (bilinear);
    /// without it, the encoder sees the canvas as it is.
    pub input_px: Option<usize>,
    /// Channels of the map after the neck.
    pub output_channels: usize,
    /// Largest drop-path rate; block `i` of `n` has `i / (n - 1)` of it.
    pub drop_path: f64,
    /// Non-linearity of the feed-forward.
    pub activation: Activation,
    /// How position tables are resized to the grid of the canvas.
    pub resampling: Resampling,
    /// How pixels become tokens.
    pub stem: Stem,
    /// What the position table starts from.
    pub initial_positions: InitialPositions,
    /// Standard deviation of initial kernels; SAM's 0.02 belongs to its width.
    pub initial_deviation: f64,
    /// What matrices are kept in where the encoder is frozen: half of 32 bits is half of the memory. They
    /// are widened, layer by layer, where they are read, and everything is computed in 32 bits.
    pub storage: Storage,
}

impl Default for SamConfig {
    fn default() -> Self {
        Self {
            width: 1280,
            depth: 32,
            num_heads: 16,
            patch_px: 16,
            mlp_ratio: 4.0,
            window_tokens: 14,
            global_blocks: vec![7, 15, 23, 31],
            pretrain_image_px: 1024,
            input_px: None,
            output_channels: 256,
            drop_path: 0.5,
            activation: Activation::Gelu,
            resampling: Resampling::Jax,
            stem: Stem::Patch,
            initial_positions: InitialPositions::Random,
            initial_deviation: 0.02,
            storage: Storage::F32,
        }
    }
}

impl SamConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        if self.num_heads == 0 || !self.width.is_multiple_of(self.num_heads) {
            problems.push(ConfigProblem {
                key: "num_heads".into(),
                problem: format!(
                    "{} heads do not divide a width of {}",
                    self.num_heads, self.width
                ),
                allowed: "a divisor of the width".into(),
            });
        }
        if let Some(block) = self.global_blocks.iter().find(|&&block| block >= self.depth) {
            problems.push(ConfigProblem {
                key: "global_blocks".into(),
                problem: format!("there is no block {block}"),
                allowed: format!("blocks from 0 to {}", self.depth.saturating_sub(1)),
            });
        }
        if self.window_tokens == 0 {
            problems.push(ConfigProblem {
                key: "window_tokens".into(),
                problem: "0".into(),
                allowed: "a window of at least one token".into(),
            });
        }
        problems.extend(stem_problem(self.stem, self.patch_px));
        problems
    }

    /// A linear layer.
    pub(super) fn linear(&self, from: usize, to: usize, device: &Device) -> Linear {
        let initializer = Initializer::Normal { mean: 0.0, std: self.initial_deviation };
        LinearConfig::new(from, to).with_initializer(initializer).init(device)
    }

    /// Builds the encoder on `device`.
    pub fn init(&self, device: &Device) -> Sam {
        let grid = self.pretrain_image_px / self.patch_px;
        let positions = self.initial_positions.table(self.width, grid, device);
        let encoder = Sam {
            patch_embedding: PatchEmbedding::new(self.stem, self.width, self.patch_px, device),
            positions: Param::from_tensor(positions),
            blocks: (0..self.depth).map(|index| Block::new(self, index, device)).collect(),
            neck: Neck::new(self.width, self.output_channels, device),
            resampling: self.resampling,
        };
        store(encoder, self.storage)
    }
}

/// The SAM encoder.
#[derive(Module, Debug)]
pub struct Sam {
    patch_embedding: PatchEmbedding,
    /// `[1, D, H, W]`
    positions: Param<Tensor<4>>,
    blocks: Vec<Block>,
    neck: Neck,
    #[module(skip)]
    resampling: Resampling,
}

impl Sam {
    /// # Shapes
    /// - `images`: `[B, 3, S, S]`, normalised
    /// - result: `[B, output_channels, H, W]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let map = self.patch_embedding.forward(images);
        let [_, _, height, width] = map.dims();
        let positions = self.positions.val();
        let positions = resize_map(positions, [height, width], Kernel::Cubic, self.resampling);
        let map = (map + positions).permute([0, 2, 3, 1]);
        let map = self.blocks.iter().fold(map, |x, block| block.forward(x));
        self.neck.forward(map)
    }
}

/// `x += attention(norm(x))` within windows or globally, `x += feed_forward(norm(x))`.
#[derive(Module, Debug)]
struct Block {
    norm_1: LayerNorm,
    attention: WindowedAttention,
    norm_2: LayerNorm,
    expand: Linear,
    contract: Linear,
    drop_path: DropPath,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    fn new(config: &SamConfig, index: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(config.width).with_epsilon(EPSILON).init(device);
        let hidden = (config.width as f64 * config.mlp_ratio) as usize;
        Self {
            norm_1: norm(),
            attention: WindowedAttention::new(config, index, device),
            norm_2: norm(),
            expand: config.linear(config.width, hidden, device),
            contract: config.linear(hidden, config.width, device),
            drop_path: DropPath::of_block(config.drop_path, index, config.depth),
            activation: config.activation,
        }
    }

    /// `x`: `[B, H, W, D]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let attended = self.attention.forward(self.norm_1.forward(x.clone()));
        let x = x + self.drop_path.forward(attended);
        let hidden = linear(&self.expand, self.norm_2.forward(x.clone()));
        let fed = linear(&self.contract, self.activation.forward(hidden));
        x + self.drop_path.forward(fed)
    }
}

/// Two convolutions down to the output channels, each followed by a norm over channels.
#[derive(Module, Debug)]
struct Neck {
    /// 1×1
    reduce: Conv2d,
    norm_1: LayerNorm,
    /// 3×3
    mix: Conv2d,
    norm_2: LayerNorm,
}

impl Neck {
    fn new(width: usize, channels: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(channels).with_epsilon(EPSILON).init(device);
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let mix = Conv2dConfig::new([channels, channels], [3, 3]).with_padding(padding);
        Self {
            reduce: Conv2dConfig::new([width, channels], [1, 1]).with_bias(false).init(device),
            norm_1: norm(),
            mix: mix.with_bias(false).init(device),
            norm_2: norm(),
        }
    }

    /// From `[B, H, W, D]` to `[B, output_channels, H, W]`.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.reduce.forward(map.permute([0, 3, 1, 2]));
        let map = self.norm_1.forward(map.permute([0, 2, 3, 1]));
        let map = self.mix.forward(map.permute([0, 3, 1, 2]));
        self.norm_2.forward(map.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}

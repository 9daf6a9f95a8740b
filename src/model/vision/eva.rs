//! EVA-02 image encoder (`spec/model.md` §2).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drop_path::DropPath;
use super::positions::InitialPositions;
use super::resize::{Kernel, resize_map};
use super::rotary::Rotary;
use super::stem::PatchEmbedding;
use super::{Resampling, Stem, stem_problem};
use crate::model::ConfigProblem;
use crate::model::attention::attend;
use crate::model::dense::{dense, dense_without_bias};
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::kernels::swiglu::silu_gate;
use crate::model::mixed_precision::linear;
use crate::model::storage::{Storage, store};

/// Epsilon of the norms around blocks.
const BLOCK_EPSILON: f64 = 1e-6;

/// Sizes of an EVA-02 encoder; defaults are EVA-02-L/14.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaConfig {
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of attention heads; divides `width`.
    pub num_heads: usize,
    /// Side of a patch, in pixels.
    pub patch_px: usize,
    /// Hidden width of the SwiGLU feed-forward, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Whether the feed-forward has a norm before its last layer; sizes Ti and S have none.
    pub inner_norm: bool,
    /// Epsilon of that norm: 1e-5 in the reference, 1e-6 in timm.
    pub inner_norm_epsilon: f64,
    /// Largest drop-path rate; block `i` of `n` has `i / (n - 1)` of it.
    pub drop_path: f64,
    /// Side of the images whose grid the position table has, in pixels.
    pub pretrain_image_px: usize,
    /// Side, in pixels, of the square to which the canvas is resized for this encoder (bilinear);
    /// without it, the encoder sees the canvas as it is.
    pub input_px: Option<usize>,
    /// Whether a layer norm follows the last block.
    pub final_norm: bool,
    /// How the position table is resized to the grid of the canvas.
    pub resampling: Resampling,
    /// Side, in cells, of the grid over which rotary positions are spread. Without it they are the raw
    /// indices of the grid, as in the reference; EVA-02's own fine-tuned models have 16.
    pub rotary_reference_cells: Option<usize>,
    /// How pixels become tokens.
    pub stem: Stem,
    /// What the position table starts from.
    pub initial_positions: InitialPositions,
    /// What matrices are kept in where the encoder is frozen: half of 32 bits is half of the memory. They
    /// are widened, layer by layer, where they are read, and everything is computed in 32 bits.
    pub storage: Storage,
}

impl Default for EvaConfig {
    fn default() -> Self {
        Self {
            width: 1024,
            depth: 24,
            num_heads: 16,
            patch_px: 14,
            mlp_ratio: 8.0 / 3.0,
            inner_norm: true,
            inner_norm_epsilon: 1e-5,
            drop_path: 0.1,
            pretrain_image_px: 224,
            input_px: None,
            final_norm: true,
            resampling: Resampling::Jax,
            rotary_reference_cells: None,
            stem: Stem::Patch,
            initial_positions: InitialPositions::Random,
            storage: Storage::F32,
        }
    }
}

impl EvaConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        if self.num_heads == 0 || !self.width.is_multiple_of(self.num_heads * 4) {
            problems.push(ConfigProblem {
                key: "num_heads".into(),
                problem: format!("{} heads on a width of {}", self.num_heads, self.width),
                allowed: "heads that divide the width into multiples of 4 (rotary pairs in two \
                          directions)"
                    .into(),
            });
        }
        problems.extend(stem_problem(self.stem, self.patch_px));
        problems
    }

    /// Hidden width of the feed-forward.
    pub fn hidden_width(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    /// CLS, then the cells of the grid.
    fn positions(&self, grid: usize, device: &Device) -> Param<Tensor<3>> {
        let cells = self.initial_positions.table(self.width, grid, device);
        let cells = cells.reshape([1, self.width, grid * grid]).swap_dims(1, 2);
        let class = token(self.width, device);
        Param::from_tensor(Tensor::cat(vec![class, cells], 1))
    }

    /// Builds the encoder on `device`.
    pub fn init(&self, device: &Device) -> Eva {
        let grid = self.pretrain_image_px / self.patch_px;
        let norm = || LayerNormConfig::new(self.width).with_epsilon(BLOCK_EPSILON).init(device);
        let encoder = Eva {
            patch_embedding: PatchEmbedding::new(self.stem, self.width, self.patch_px, device),
            class_token: Param::from_tensor(token(self.width, device)),
            positions: self.positions(grid, device),
            blocks: (0..self.depth).map(|index| Block::new(self, index, device)).collect(),
            norm: self.final_norm.then(norm),
            head_width: self.width / self.num_heads,
            pretrain_grid: grid,
            resampling: self.resampling,
            rotary_reference_cells: self.rotary_reference_cells,
        };
        store(encoder, self.storage)
    }
}

/// A learned token `[1, 1, width]`. Published weights replace it; from scratch it starts small.
fn token(width: usize, device: &Device) -> Tensor<3> {
    Tensor::random([1, 1, width], Distribution::Normal(0.0, 0.02), device)
}

/// The EVA-02 encoder.
#[derive(Module, Debug)]
pub struct Eva {
    patch_embedding: PatchEmbedding,
    class_token: Param<Tensor<3>>,
    positions: Param<Tensor<3>>,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    head_width: usize,
    #[module(skip)]
    pretrain_grid: usize,
    #[module(skip)]
    resampling: Resampling,
    #[module(skip)]
    rotary_reference_cells: Option<usize>,
}

impl Eva {
    /// The map without the CLS token.
    ///
    /// # Shapes
    /// - `images`: `[B, 3, S, S]`, normalised
    /// - result: `[B, D, H, W]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let (tokens, [height, width]) = self.encode(images);
        let tokens = self.finish(tokens);
        let [batch, count, channels] = tokens.dims();
        let cells = tokens.slice([0..batch, 1..count, 0..channels]);
        cells.swap_dims(1, 2).reshape([batch, channels, height, width])
    }

    /// All tokens, CLS first.
    ///
    /// # Shapes
    /// - `images`: `[B, 3, S, S]`, normalised
    /// - result: `[B, 1 + H·W, D]`
    pub fn tokens(&self, images: Tensor<4>) -> Tensor<3> {
        self.finish(self.encode(images).0)
    }

    /// [`Self::tokens`] before the final norm, and after it.
    pub fn tokens_around_norm(&self, images: Tensor<4>) -> [Tensor<3>; 2] {
        let tokens = self.encode(images).0;
        [tokens.clone(), self.finish(tokens)]
    }

    /// Tokens before the final norm, and the grid.
    fn encode(&self, images: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let map = self.patch_embedding.forward(images);
        let [batch, width, rows, columns] = map.dims();
        let cells = map.reshape([batch, width, rows * columns]).swap_dims(1, 2);
        let class = self.class_token.val().repeat_dim(0, batch);
        let tokens = Tensor::cat(vec![class, cells], 1) + self.positions_on([rows, columns]);
        let grid = [rows, columns];
        let reference = self.rotary_reference_cells;
        let rotary = Rotary::new(grid, reference, self.head_width, &tokens.device());
        (self.blocks.iter().fold(tokens, |x, block| block.forward(x, &rotary)), grid)
    }

    /// `tokens`: `[B, 1 + H·W, D]`
    fn finish(&self, tokens: Tensor<3>) -> Tensor<3> {
        match &self.norm {
            Some(norm) => norm.forward(tokens),
            None => tokens,
        }
    }

    /// The position table on a grid, CLS first: `[1, 1 + H·W, D]`.
    fn positions_on(&self, [rows, columns]: [usize; 2]) -> Tensor<3> {
        let table = self.positions.val();
        let side = self.pretrain_grid;
        if [rows, columns] == [side, side] {
            return table;
        }
        let [_, count, width] = table.dims();
        let class = table.clone().slice([0..1, 0..1, 0..width]);
        let cells = table.slice([0..1, 1..count, 0..width]);
        let map = cells.swap_dims(1, 2).reshape([1, width, side, side]);
        let map = resize_map(map, [rows, columns], Kernel::Cubic, self.resampling);
        let cells = map.reshape([1, width, rows * columns]).swap_dims(1, 2);
        Tensor::cat(vec![class, cells], 1)
    }
}

/// `x += attention(norm(x))`, `x += feed_forward(norm(x))`.
#[derive(Module, Debug)]
struct Block {
    norm_1: LayerNorm,
    attention: Attention,
    norm_2: LayerNorm,
    feed_forward: FeedForward,
    drop_path: DropPath,
}

impl Block {
    fn new(config: &EvaConfig, index: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(config.width).with_epsilon(BLOCK_EPSILON).init(device);
        Self {
            norm_1: norm(),
            attention: Attention::new(config, device),
            norm_2: norm(),
            feed_forward: FeedForward::new(config, device),
            drop_path: DropPath::of_block(config.drop_path, index, config.depth),
        }
    }

    /// `x`: `[B, 1 + H·W, D]`
    fn forward(&self, x: Tensor<3>, rotary: &Rotary) -> Tensor<3> {
        let attended = self.attention.forward(self.norm_1.forward(x.clone()), rotary);
        let x = x + self.drop_path.forward(attended);
        let fed = self.feed_forward.forward(self.norm_2.forward(x.clone()));
        x + self.drop_path.forward(fed)
    }
}

/// Self-attention with rotary positions; query and value have a bias, the key has none.
#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    num_heads: usize,
}

impl Attention {
    fn new(config: &EvaConfig, device: &Device) -> Self {
        let square = || dense(config.width, config.width, device);
        Self {
            query: square(),
            key: dense_without_bias(config.width, config.width, device),
            value: square(),
            output: square(),
            num_heads: config.num_heads,
        }
    }

    /// `x`: `[B, 1 + H·W, D]`
    fn forward(&self, x: Tensor<3>, rotary: &Rotary) -> Tensor<3> {
        let [batch, count, width] = x.dims();
        let head_width = width / self.num_heads;
        // [B, heads, 1 + H·W, head]
        let heads =
            |x: Tensor<3>| x.reshape([batch, count, self.num_heads, head_width]).swap_dims(1, 2);
        let query = rotary.forward(linear(&self.query, x.clone()));
        let key = rotary.forward(linear(&self.key, x.clone()));
        let value = heads(linear(&self.value, x));
        let attended = attend(query * (head_width as f64).powf(-0.5), key, value);
        linear(&self.output, attended.swap_dims(1, 2).reshape([batch, count, width]))
    }
}

/// SwiGLU with a norm before its last layer.
#[derive(Module, Debug)]
struct FeedForward {
    gate: Linear,
    up: Linear,
    norm: Option<LayerNorm>,
    down: Linear,
}

impl FeedForward {
    fn new(config: &EvaConfig, device: &Device) -> Self {
        let (width, hidden) = (config.width, config.hidden_width());
        let norm = LayerNormConfig::new(hidden).with_epsilon(config.inner_norm_epsilon);
        Self {
            gate: dense(width, hidden, device),
            up: dense(width, hidden, device),
            norm: config.inner_norm.then(|| norm.init(device)),
            down: dense(hidden, width, device),
        }
    }

    /// `x`: `[B, 1 + H·W, D]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let hidden = silu_gate(linear(&self.gate, x.clone()), linear(&self.up, x));
        let hidden = match &self.norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        };
        linear(&self.down, hidden)
    }
}

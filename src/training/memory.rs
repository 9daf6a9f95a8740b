//! An estimate of the memory that training needs.
//!
//! Weights, gradients and AdamW's two moments are exact. Activations are counted from the sizes of
//! the blocks: what a backward pass keeps of one, times how many there are. The real peak is some
//! tens of per cent off either way; `docs/benchmarks.md` compares both. The activations of the
//! box decoder and the mask branch are not counted; nor what gradient checkpointing, 16-bit products and
//! matrices of T5 in 16 bits change.

use super::parameters::ParameterCount;
use crate::data::batch::BatchDims;
use crate::model::language::LanguageConfig;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::prompt::adapter::PromptFeatures;

/// Bytes of a number.
const BYTES: usize = 4;

/// Bytes by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// All parameters.
    pub weights: usize,
    /// Gradients of what is trained.
    pub gradients: usize,
    /// AdamW's two moments of what is trained.
    pub optimizer: usize,
    /// What the backward pass keeps of the forward pass.
    pub activations: usize,
}

impl MemoryEstimate {
    /// For the parameters of `count`, on batches of `dims`.
    pub fn new(count: &ParameterCount, config: &PixelLlmConfig, dims: BatchDims) -> Self {
        let activations = activations(config, dims) * BYTES;
        Self { activations, ..Self::without_batch(count) }
    }

    /// What is there before the first batch.
    pub fn without_batch(count: &ParameterCount) -> Self {
        Self {
            weights: count.total * BYTES,
            gradients: count.trainable * BYTES,
            optimizer: 2 * count.trainable * BYTES,
            activations: 0,
        }
    }

    /// Everything together.
    pub fn total(&self) -> usize {
        self.weights + self.gradients + self.optimizer + self.activations
    }
}

/// Numbers that one attention and one feed-forward keep: per token its norms, projections and
/// residuals (12 widths), the hidden layer before and after its non-linearity, and for each head the
/// scores before and after the softmax.
fn block(tokens: usize, seen: usize, width: usize, hidden: usize, heads: usize) -> usize {
    tokens * (12 * width + 3 * hidden + 2 * heads * seen)
}

fn activations(config: &PixelLlmConfig, dims: BatchDims) -> usize {
    let input_px = |side: Option<usize>| side.unwrap_or(config.canvas_px);
    let mut cells = 0;
    let mut sum = 0;
    if let Some(eva) = &config.vision.eva {
        let grid = input_px(eva.input_px) / eva.patch_px;
        let tokens = grid * grid + 1;
        let one = block(tokens, tokens, eva.width, eva.hidden_width(), eva.num_heads);
        sum += dims.images * eva.depth * one;
        cells = cells.max(grid * grid);
    }
    if let Some(sam) = &config.vision.sam {
        let grid = input_px(sam.input_px) / sam.patch_px;
        let tokens = grid * grid;
        let hidden = (sam.width as f64 * sam.mlp_ratio) as usize;
        for index in 0..sam.depth {
            let global = sam.global_blocks.contains(&index);
            let seen = if global { tokens } else { sam.window_tokens.pow(2).min(tokens) };
            // Relative positions add a third score.
            sum += dims.images * block(tokens, seen * 3 / 2, sam.width, hidden, sam.num_heads);
        }
        cells = cells.max(tokens);
    }
    let adapter = &config.adapter;
    let prompts = dims.images * dims.prompts;
    let queries = adapter.num_queries + 5;
    sum += prompts
        * adapter.depth
        * (block(
            queries,
            queries + 2 * cells,
            adapter.width,
            adapter.mlp_width,
            adapter.num_heads,
        ) + block(cells, 2 * queries, adapter.width, 0, adapter.num_heads));

    let features = match dims.prompts {
        1 => adapter.features,
        _ => adapter.region_features,
    };
    let visual = match features {
        PromptFeatures::Sparse => adapter.num_queries,
        PromptFeatures::Dense => cells,
        PromptFeatures::Both => adapter.num_queries + cells,
    };
    sum + language(&config.language, dims, visual)
}

/// Numbers that the language model keeps, after `visual` tokens per prompt.
fn language(config: &LanguageConfig, dims: BatchDims, visual: usize) -> usize {
    let prefix = visual + dims.context_tokens;
    let prompts = dims.images * dims.prompts;
    let texts = dims.images * dims.rows;
    let text = dims.text_tokens;
    match config {
        LanguageConfig::Git(git) => {
            let layer = |rows, tokens, seen| {
                rows * block(tokens, seen, git.width, git.mlp_width, git.num_heads)
            };
            let both = layer(prompts, prefix, prefix) + layer(texts, text, prefix + text);
            // Keys and values of the prefix, once per text.
            git.depth * (both + texts * 2 * prefix * git.width)
        }
        LanguageConfig::T5(t5) => {
            let size = t5.dimensions();
            let inner = size.num_heads * size.head_width;
            // The gate is a second hidden layer.
            let hidden = size.mlp_width * 5 / 3;
            let layer = |tokens, seen| block(tokens, seen, size.width, hidden, size.num_heads);
            let cross = block(text, prefix, size.width, 0, size.num_heads);
            let decoder = texts * (layer(text, text) + cross + 2 * prefix * inner);
            size.encoder_depth * prompts * layer(prefix, prefix) + size.decoder_depth * decoder
        }
    }
}

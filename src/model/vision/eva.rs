//! EVA-02 image encoder (`spec/model.md` §2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resampling, Stem};

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
    /// Largest drop-path rate; block `i` of `n` has `i / (n - 1)` of it.
    pub drop_path: f64,
    /// Side of the images whose grid the position table has, in pixels.
    pub pretrain_image_px: usize,
    /// Whether a layer norm follows the last block.
    pub final_norm: bool,
    /// How the position table is resized to the grid of the canvas.
    pub resampling: Resampling,
    /// How pixels become tokens.
    pub stem: Stem,
}

impl Default for EvaConfig {
    fn default() -> Self {
        Self {
            width: 1024,
            depth: 24,
            num_heads: 16,
            patch_px: 14,
            mlp_ratio: 8.0 / 3.0,
            drop_path: 0.1,
            pretrain_image_px: 224,
            final_norm: true,
            resampling: Resampling::Jax,
            stem: Stem::Patch,
        }
    }
}

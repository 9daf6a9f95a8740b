//! SAM ViT image encoder (`spec/model.md` §3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resampling, Stem};

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
    /// Channels of the map after the neck.
    pub output_channels: usize,
    /// Largest drop-path rate; block `i` of `n` has `i / (n - 1)` of it.
    pub drop_path: f64,
    /// How position tables are resized to the grid of the canvas.
    pub resampling: Resampling,
    /// How pixels become tokens.
    pub stem: Stem,
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
            output_channels: 256,
            drop_path: 0.5,
            resampling: Resampling::Jax,
            stem: Stem::Patch,
        }
    }
}

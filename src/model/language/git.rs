//! GIT-style decoder (`spec/model.md` §7): a post-norm BERT with visual tokens as a prefix.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the decoder; defaults are the paper's small variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GitConfig {
    /// Width of a token.
    pub width: usize,
    /// Number of layers.
    pub depth: usize,
    /// Number of attention heads; divides `width`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Longest text, in tokens.
    pub max_positions: usize,
    /// Dropout on embeddings, attention and hidden states.
    pub dropout: f64,
}

impl Default for GitConfig {
    fn default() -> Self {
        Self {
            width: 768,
            depth: 6,
            num_heads: 12,
            mlp_width: 3072,
            max_positions: 1024,
            dropout: 0.1,
        }
    }
}

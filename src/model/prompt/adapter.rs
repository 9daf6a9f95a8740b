//! Prompt adapter (`spec/model.md` §6): learned queries and prompt tokens read the image map.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the prompt adapter; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterConfig {
    /// Number of two-way layers.
    pub depth: usize,
    /// Width inside the two-way transformer.
    pub width: usize,
    /// Number of attention heads; divides `width / 2`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Number of learned queries.
    pub num_queries: usize,
    /// Width of a visual token handed to the language model.
    pub output_width: usize,
    /// Which tokens are handed to the language model.
    pub features: PromptFeatures,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            depth: 6,
            width: 512,
            num_heads: 8,
            mlp_width: 2048,
            num_queries: 32,
            output_width: 1024,
            features: PromptFeatures::Sparse,
        }
    }
}

/// Which tokens of the adapter the language model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptFeatures {
    /// The learned queries, each through its own output head (the paper).
    Sparse,
    /// Every cell of the image map, as the prompt has updated it.
    Dense,
    /// Queries, then cells.
    Both,
}

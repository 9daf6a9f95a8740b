//! Settings of the reference's two-way transformer, which is a part of several components.

use serde::Deserialize;

use super::vectors::Vectors;
use crate::error::Result;
use crate::model::prompt::two_way::CROSS_ATTENTION_REDUCTION;

/// Its settings; SAM's unless said otherwise.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TwoWaySettings {
    pub(super) depth: Option<usize>,
    embedding_dim: Option<usize>,
    pub(super) num_heads: usize,
    pub(super) mlp_dim: usize,
    pub(super) attention_downsample_rate: usize,
    activation: String,
}

impl Default for TwoWaySettings {
    fn default() -> Self {
        Self {
            depth: None,
            embedding_dim: None,
            num_heads: 8,
            mlp_dim: 2048,
            attention_downsample_rate: CROSS_ATTENTION_REDUCTION,
            activation: "relu".into(),
        }
    }
}

impl TwoWaySettings {
    /// An error unless it can be built, with `depth` layers of `width`.
    pub(super) fn check(&self, vectors: &Vectors, depth: usize, width: usize) -> Result<()> {
        vectors.require("transformer.depth", &self.depth.unwrap_or(depth), &depth)?;
        vectors.require(
            "transformer.embedding_dim",
            &self.embedding_dim.unwrap_or(width),
            &width,
        )?;
        vectors.require("transformer.activation", &self.activation.as_str(), &"relu")
    }
}

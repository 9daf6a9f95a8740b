//! Point head (`spec/model.md` §9): two corner points per token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the point head; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PointConfig {
    /// Number of linear layers.
    pub depth: usize,
    /// Hidden width.
    pub hidden_width: usize,
    /// Points per token, `P`; 2 are the corners of a box.
    pub num_points: usize,
    /// Whether a layer norm comes first.
    pub pre_norm: bool,
}

impl Default for PointConfig {
    fn default() -> Self {
        Self { depth: 4, hidden_width: 512, num_points: 2, pre_norm: true }
    }
}

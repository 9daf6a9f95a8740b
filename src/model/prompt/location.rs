//! Location prompt encoder (`spec/model.md` §5): points and boxes → sparse tokens, grids → dense ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the location prompt encoder; defaults are SAM's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocationConfig {
    /// Width of a prompt token; even.
    pub width: usize,
}

impl Default for LocationConfig {
    fn default() -> Self {
        Self { width: 256 }
    }
}

//! The `shapes` world.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the world is like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Seed.
    pub seed: u64,
}

/// Placeholder.
pub fn ensure(_directory: &std::path::Path, _config: &ShapesConfig) -> crate::Result<()> {
    Ok(())
}

//! What is written beside `metrics.jsonl`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written beside `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingConfig {
    /// Whether event files for TensorBoard are written, under `tensorboard/` in the run directory.
    pub tensorboard: bool,
    /// Whether the same numbers are written as a flat table, `metrics.csv` in the run directory.
    pub csv: bool,
}

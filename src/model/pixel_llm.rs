//! The whole model: vision → prompt → language → points. This file wires and nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::heads::points::PointConfig;
use super::language::LanguageConfig;
use super::prompt::adapter::AdapterConfig;
use super::prompt::location::LocationConfig;
use super::vision::VisionConfig;

/// Every module's sizes; defaults are the paper's (with the GIT-style decoder).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PixelLlmConfig {
    /// Side of the square canvas that images are padded to, in pixels.
    pub canvas_px: usize,
    /// Image encoders and fusion.
    pub vision: VisionConfig,
    /// Location prompt encoder.
    pub location: LocationConfig,
    /// Prompt adapter.
    pub adapter: AdapterConfig,
    /// Language model.
    pub language: LanguageConfig,
    /// Point head.
    pub points: PointConfig,
}

impl Default for PixelLlmConfig {
    fn default() -> Self {
        Self {
            canvas_px: 384,
            vision: VisionConfig::default(),
            location: LocationConfig::default(),
            adapter: AdapterConfig::default(),
            language: LanguageConfig::default(),
            points: PointConfig::default(),
        }
    }
}

//! A tiny model for tests: every part that the defaults have, at sizes that cost nothing.

use super::heads::boxes::head::HeadConfig;
use super::heads::boxes::proposals::ProposalConfig;
use super::heads::boxes::pyramid::{PyramidConfig, Scale};
use super::heads::boxes::roi_head::RoiHeadConfig;
use super::heads::boxes::{BoxDecoderConfig, DetectionConfig, Strides};
use super::heads::points::PointConfig;
use super::language::git::GitConfig;
use super::language::{LanguageConfig, Vocabulary};
use super::pixel_llm::PixelLlmConfig;
use super::prompt::adapter::{AdapterConfig, PromptFeatures};
use super::prompt::location::LocationConfig;
use super::vision::VisionConfig;
use super::vision::eva::EvaConfig;
use super::vision::sam::SamConfig;

/// Words of a tiny model.
pub(crate) const VOCABULARY: Vocabulary = Vocabulary { size: 10, pad: 0, begin: 1, end: 2 };

/// Two encoders of four pixels a patch, on a canvas of 16; texts of up to eight tokens.
pub(crate) fn tiny_config() -> PixelLlmConfig {
    PixelLlmConfig {
        canvas_px: 16,
        vision: VisionConfig {
            eva: Some(EvaConfig {
                width: 16,
                depth: 1,
                num_heads: 2,
                patch_px: 4,
                pretrain_image_px: 16,
                ..EvaConfig::default()
            }),
            sam: Some(SamConfig {
                width: 12,
                depth: 1,
                num_heads: 2,
                patch_px: 4,
                window_tokens: 2,
                global_blocks: vec![],
                pretrain_image_px: 16,
                output_channels: 6,
                ..SamConfig::default()
            }),
            ..VisionConfig::default()
        },
        location: LocationConfig { width: 8, ..LocationConfig::default() },
        adapter: AdapterConfig {
            depth: 1,
            width: 16,
            num_heads: 2,
            mlp_width: 32,
            cross_attention_reduction: 2,
            num_queries: 3,
            output_width: 12,
            features: PromptFeatures::Both,
            region_features: PromptFeatures::Sparse,
        },
        language: LanguageConfig::Git(GitConfig {
            width: 16,
            depth: 2,
            num_heads: 2,
            mlp_width: 32,
            max_positions: 8,
            dropout: 0.0,
            ..GitConfig::default()
        }),
        points: Some(PointConfig { hidden_width: 16, ..PointConfig::default() }),
        boxes: None,
        masks: None,
    }
}

/// A box decoder for the tiny model, of two levels.
pub(crate) fn tiny_boxes() -> BoxDecoderConfig {
    BoxDecoderConfig {
        pyramid: PyramidConfig {
            inner_width: 8,
            channels: 8,
            scales: vec![Scale::Double, Scale::Same],
            extra_levels: 0,
        },
        head: HeadConfig { channels: 8, layers: 1, groups: 2 },
        strides: Strides::Effective,
        level_ranges: vec![[0.0, 4.0], [3.0, 100.0]],
        proposals: ProposalConfig {
            training_candidates: 40,
            training_kept: 20,
            candidates: 40,
            kept: 20,
            ..ProposalConfig::default()
        },
        roi: RoiHeadConfig { widths: vec![12], samples: 12, ..RoiHeadConfig::default() },
        detections: DetectionConfig { count: 6, ..DetectionConfig::default() },
        captioned: 4,
        ..BoxDecoderConfig::default()
    }
}

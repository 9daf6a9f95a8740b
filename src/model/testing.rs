//! A tiny model for tests: every part that the defaults have, at sizes that cost nothing; and gradients
//! beside central differences.

use burn::tensor::{Tensor, TensorData};

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

/// Numbers from −1 to 1 without a pattern that a model could have, different for each `seed`.
pub(crate) fn pattern(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * i * 13 + i * 37 + seed * 101) % 19) as f32 / 9.0 - 1.0).collect()
}

/// Asserts that the gradient of `loss` at `x`, which is on a device with autodiff, is that of central
/// differences along three directions.
#[track_caller]
pub(crate) fn assert_gradient<const D: usize>(x: Tensor<D>, loss: impl Fn(Tensor<D>) -> Tensor<1>) {
    const STEP: f64 = 5e-3;
    let x = x.require_grad();
    let Some(gradient) = x.grad(&loss(x.clone()).backward()) else {
        unreachable!("the loss does not depend on x")
    };
    let gradient: Vec<f32> = gradient.into_data().iter().collect();
    let shape = x.dims();
    for seed in 0..3 {
        let values = pattern(gradient.len(), seed);
        let said: f32 = gradient.iter().zip(&values).map(|(slope, along)| slope * along).sum();
        let direction = Tensor::<D>::from_data(TensorData::new(values, shape), &x.device());
        let at = |step: f64| {
            let moved = x.clone().detach() + direction.clone() * step;
            f64::from(loss(moved).into_scalar::<f32>())
        };
        let found = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        let said = f64::from(said);
        assert!((found - said).abs() < 0.01 * said.abs() + 1e-3, "{found} {said}");
    }
}

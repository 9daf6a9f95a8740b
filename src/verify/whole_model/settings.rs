//! Settings of the reference's whole model; [`config`] says them in our words.

mod config;

use serde::Deserialize;
use serde_json::Value;

use super::super::box_decoder::DecoderSettings;
use super::super::masks;
use super::super::points::PointSettings;
use super::super::prompt::AdapterSettings;
use super::super::t5::VisualProjectionSettings;
use super::super::vectors::Vectors;
use super::rows::TokenRules;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::loss::point::PointDistance;
use crate::model::loss::token_rule::TokenRule;

/// The name of a part that a model does without.
const NONE: &str = "none";
/// Names of the encoders' maps.
const EVA_KEY: &str = "git_visual_features";
const SAM_KEY: &str = "sam_visual_features";

/// Settings of the reference's whole model. Those of parts stay as they are in the file until the part
/// is built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    det_backbone_name: String,
    git_backbone_name: String,
    #[serde(default)]
    git_backbone_args: Value,
    git_preprocess_args: Option<InputSettings>,
    sam_backbone_name: String,
    #[serde(default)]
    sam_backbone_args: Value,
    sam_preprocess_args: Option<InputSettings>,
    /// Maps that no gradient goes back through, by name.
    frozen_feature_keys: String,
    text_decoder_feature_key: String,
    prompt_encoder_name: String,
    prompt_encoder_args: PromptEncoderSettings,
    prompt_adapter_name: String,
    prompt_adapter_args: AdapterSettings,
    prompt_fuse_fn: String,
    prompt_drop_rate: f64,
    prompt_use_box_rate: f64,
    pub(super) box_points_per_side: i64,
    pub(super) box_point_with_offset: bool,
    visual_project_layers_name: String,
    visual_project_layers_args: Option<VisualProjectionSettings>,
    text_decoder_name: String,
    text_decoder_args: Value,
    t5_arch: Option<Value>,
    vocab_size: usize,
    begin_token_id: i64,
    end_token_id: i64,
    pub(super) max_caption_length: usize,
    point_predictor_name: String,
    point_predictor_args: Option<PointSettings>,
    point_output_ignore: String,
    trace_point_output_ignore: String,
    pub(super) gt_box_points_per_side: i64,
    pub(super) gt_box_point_with_offset: bool,
    point_loss_type: String,
    pub(super) use_points_as_det: bool,
    box_decoder_name: String,
    box_decoder_args: Option<DecoderSettings>,
    box_decoder_feature_key: Option<String>,
    #[serde(default = "head_channels")]
    head_out_channels: usize,
    cascade_box_weights_stage0: Option<[f32; 4]>,
    #[serde(default)]
    use_roi_box_in_training: bool,
    /// The reference's defaults for the numbers of captioned and of rescored boxes.
    #[serde(default = "num_text_proposals")]
    pub(super) num_text_proposals: usize,
    #[serde(default = "num_detections")]
    pub(super) num_detections: usize,
    mask_decoder_name: String,
    mask_decoder_args: Option<masks::DecoderSettings>,
    mask_decoder_feature_key: Option<String>,
    mask_adapter_name: String,
    mask_adapter_args: Option<masks::AdapterSettings>,
    pub(super) label_smooth: f64,
    #[serde(default = "one")]
    pub(super) text_loss_weight: f64,
    #[serde(default = "one")]
    pub(super) point_loss_weight: f64,
    #[serde(default = "one")]
    pub(super) det_loss_weight: f64,
    #[serde(default = "one")]
    pub(super) mask_loss_weight: f64,
    /// Of the file: the order of `grad_norms`.
    pub(super) grad_norm_param_order: Vec<String>,
}

/// Of an encoder's input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSettings {
    /// `(height, width)`
    image_size: [usize; 2],
}

/// Of SAM's prompt encoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptEncoderSettings {
    embed_dim: usize,
    /// Of mask prompts, which the model never reads.
    #[serde(default)]
    #[allow(dead_code)]
    mask_in_chans: usize,
}

fn one() -> f64 {
    1.0
}

fn head_channels() -> usize {
    256
}

fn num_text_proposals() -> usize {
    128
}

fn num_detections() -> usize {
    100
}

impl Settings {
    fn unknown(&self, vectors: &Vectors, setting: &str, found: &str) -> crate::error::Error {
        vectors.problem(
            format!("`{setting}` is {found:?}, which is not built"),
            "Nothing in the paper's configurations needs it.",
        )
    }

    /// Settings without which a part cannot be built.
    fn needed<'a, T>(
        &self,
        vectors: &Vectors,
        setting: &str,
        found: &'a Option<T>,
    ) -> Result<&'a T> {
        found
            .as_ref()
            .ok_or_else(|| vectors.problem(format!("it has no `{setting}`"), "Is it a whole file?"))
    }

    /// The settings of the box decoder.
    pub(super) fn decoder(&self, vectors: &Vectors) -> Result<&DecoderSettings> {
        self.needed(vectors, "box_decoder_args", &self.box_decoder_args)
    }

    /// Whether the encoders are frozen: EVA-02, and SAM.
    pub(super) fn frozen(&self, vectors: &Vectors) -> Result<[bool; 2]> {
        let mut frozen = [false; 2];
        for key in self.frozen_feature_keys.split(',').filter(|key| !key.is_empty()) {
            match key {
                EVA_KEY => frozen[0] = true,
                SAM_KEY => frozen[1] = true,
                other => return Err(self.unknown(vectors, "frozen_feature_keys", other)),
            }
        }
        Ok(frozen)
    }

    /// Whether texts are read again when they are written: points and corrections of masks need it.
    pub(super) fn reads_back(&self) -> bool {
        let corrects = self.mask_decoder_name != NONE && self.mask_adapter_name != NONE;
        self.point_predictor_name != NONE || corrects
    }

    /// What the model must know of its words.
    pub(super) fn vocabulary(&self) -> Vocabulary {
        let (size, begin, end) = (self.vocab_size, self.begin_token_id, self.end_token_id);
        Vocabulary { size, pad: 0, begin, end }
    }

    /// How far points are from their targets.
    pub(super) fn point_distance(&self, vectors: &Vectors) -> Result<PointDistance> {
        match self.point_loss_type.as_str() {
            "l1" => Ok(PointDistance::L1),
            "l2" => Ok(PointDistance::L2),
            "l1_nonzero" => Ok(PointDistance::L1Nonzero),
            other => Err(self.unknown(vectors, "point_loss_type", other)),
        }
    }

    /// The tokens that have a place: in a text with a trace, and in any other.
    pub(super) fn token_rules(&self, vectors: &Vectors) -> Result<TokenRules> {
        let rule = |rule: &str| -> Result<TokenRule> {
            rule.parse()
                .map_err(|error: String| vectors.problem(error, "Rules name kinds of tokens."))
        };
        Ok(TokenRules {
            traced: rule(&self.trace_point_output_ignore)?,
            other: rule(&self.point_output_ignore)?,
            vocabulary: self.vocabulary(),
        })
    }

    /// What the grid of a box's points has per side where it has an offset; else 0.
    pub(super) fn offset_points_per_side(&self) -> i64 {
        if self.gt_box_point_with_offset { self.gt_box_points_per_side } else { 0 }
    }
}

//! Settings of the reference's whole model.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::box_decoder::DecoderSettings;
use super::super::git::GitSettings;
use super::super::masks::{self, check};
use super::super::points::PointSettings;
use super::super::prompt::AdapterSettings;
use super::super::t5::{T5Settings, VisualProjectionSettings};
use super::super::vectors::Vectors;
use super::super::vision::{EvaSettings, SamSettings};
use super::rows::TokenRules;
use crate::error::Result;
use crate::model::heads::boxes::BoxDecoderConfig;
use crate::model::heads::boxes::box_coding::BoxCoding;
use crate::model::heads::boxes::head::HeadConfig;
use crate::model::heads::masks::MaskConfig;
use crate::model::language::git::GitConfig;
use crate::model::language::t5::T5Config;
use crate::model::language::{LanguageConfig, Vocabulary};
use crate::model::loss::point::PointDistance;
use crate::model::loss::token_rule::TokenRule;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::places::border_grid;
use crate::model::prompt::adapter::PromptFeatures;
use crate::model::prompt::location::{BoxTokens, LocationConfig, ReferenceSize};
use crate::model::vision::eva::EvaConfig;
use crate::model::vision::sam::SamConfig;
use crate::model::vision::{FusionGrid, VisionConfig};

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
    /// The same in our words, for a canvas of `canvas_px` pixels.
    pub(super) fn config(&self, vectors: &Vectors, canvas_px: usize) -> Result<PixelLlmConfig> {
        let vision = self.vision(vectors)?;
        let read = match self.prompt_fuse_fn.as_str() {
            "sparse" => PromptFeatures::Sparse,
            "dense" => PromptFeatures::Dense,
            other => return Err(self.unknown(vectors, "prompt_fuse_fn", other)),
        };
        let mut adapter = self.prompt_adapter_args.config(vectors, read)?;
        // The reference has the heads of both, whichever it reads: prompts of regions, of which there
        // are none here, have the other.
        adapter.region_features = match read {
            PromptFeatures::Sparse => PromptFeatures::Dense,
            _ => PromptFeatures::Sparse,
        };
        let width = self.prompt_encoder_args.embed_dim;
        let found = self.prompt_adapter_args.input_embedding_dim;
        vectors.require("prompt_adapter_args.input_embedding_dim", &found, &width)?;
        let config = PixelLlmConfig {
            canvas_px,
            location: LocationConfig {
                width,
                points_per_side: self.box_points_per_side,
                point_offset: self.box_point_with_offset,
                box_tokens: match self.prompt_use_box_rate {
                    0.0 => BoxTokens::Points,
                    _ => BoxTokens::Corners,
                },
                reference_size: ReferenceSize::EncoderInput,
                ..LocationConfig::default()
            },
            adapter,
            language: self.language(vectors)?,
            points: match self.point_predictor_name.as_str() {
                NONE => None,
                "mlp_point_predictor" => {
                    let args = &self.point_predictor_args;
                    let config = self.needed(vectors, "point_predictor_args", args)?;
                    let config = config.config(vectors)?;
                    let grid = border_grid(self.gt_box_points_per_side, 1, false).len();
                    vectors.require("num_output_points", &config.num_points, &grid)?;
                    Some(config)
                }
                other => return Err(self.unknown(vectors, "point_predictor_name", other)),
            },
            boxes: self.boxes(vectors)?,
            masks: self.masks(vectors)?,
            vision,
        };
        self.check_names(vectors)?;
        // How many points there are is between the head and the grid of its targets.
        let mut problems = config.validate();
        problems.retain(|problem| problem.key != "points.num_points");
        check(vectors, problems)?;
        Ok(config)
    }

    /// What is not built in any other way.
    fn check_names(&self, vectors: &Vectors) -> Result<()> {
        let name =
            |setting: &str, found: &str, built: &str| vectors.require(setting, &found, &built);
        name("det_backbone_name", &self.det_backbone_name, NONE)?;
        name("prompt_encoder_name", &self.prompt_encoder_name, "sam_prompt_encoder")?;
        name("prompt_adapter_name", &self.prompt_adapter_name, "sam_prompt_adapter")?;
        vectors.require("prompt_drop_rate", &self.prompt_drop_rate, &0.0)?;
        let drawn = self.prompt_use_box_rate > 0.0 && self.prompt_use_box_rate < 1.0;
        vectors.require("boxes told by their corners by chance", &drawn, &false)?;
        vectors.require("use_roi_box_in_training", &self.use_roi_box_in_training, &false)
    }

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

    fn vision(&self, vectors: &Vectors) -> Result<VisionConfig> {
        let eva = match self.git_backbone_name.as_str() {
            NONE => None,
            "eva02_vit" => {
                let settings: EvaSettings = part(vectors, &self.git_backbone_args)?;
                let input_px = input_px(vectors, &self.git_preprocess_args)?;
                Some(EvaConfig { input_px, ..settings.config(vectors)? })
            }
            other => return Err(self.unknown(vectors, "git_backbone_name", other)),
        };
        let sam = match self.sam_backbone_name.as_str() {
            NONE => None,
            "sam_vit" => {
                let settings: SamSettings = part(vectors, &self.sam_backbone_args)?;
                let input_px = input_px(vectors, &self.sam_preprocess_args)?;
                Some(SamConfig { input_px, ..settings.config(vectors)? })
            }
            other => return Err(self.unknown(vectors, "sam_backbone_name", other)),
        };
        let (fusion, separator) = match self.text_decoder_feature_key.contains('+') {
            true => (FusionGrid::Largest, "+"),
            false => (FusionGrid::First, ","),
        };
        let keys = [(eva.is_some(), EVA_KEY), (sam.is_some(), SAM_KEY)];
        let keys: Vec<&str> = keys.into_iter().filter(|(is, _)| *is).map(|(_, key)| key).collect();
        let keys = keys.join(separator);
        vectors.require("text_decoder_feature_key", &self.text_decoder_feature_key, &keys)?;
        Ok(VisionConfig { eva, sam, fusion })
    }

    fn language(&self, vectors: &Vectors) -> Result<LanguageConfig> {
        let projection = self.visual_project_layers_name.as_str();
        if self.text_decoder_name == "git" {
            vectors.require("visual_project_layers_name", &projection, &NONE)?;
            let settings: GitSettings = part(vectors, &self.text_decoder_args)?;
            let config = settings.config(vectors)?;
            return Ok(LanguageConfig::Git(GitConfig { dropout: 0.0, ..config }));
        }
        let mut values = self.needed(vectors, "t5_arch", &self.t5_arch)?.clone();
        if let (Some(values), Some(args)) =
            (values.as_object_mut(), self.text_decoder_args.as_object())
        {
            values.extend(args.clone());
        }
        let settings: T5Settings = part(vectors, &values)?;
        let config = settings.config(vectors)?;
        if projection == NONE {
            return Ok(LanguageConfig::T5(T5Config { visual_projection: false, ..config }));
        }
        vectors.require("visual_project_layers_name", &projection, &"linear")?;
        let args = &self.visual_project_layers_args;
        let args = self.needed(vectors, "visual_project_layers_args", args)?;
        let width = config.dimensions().width;
        vectors.require("visual_project_layers_args.emb_dim", &args.emb_dim, &width)?;
        Ok(LanguageConfig::T5(T5Config { visual_norm: args.use_projection_ln, ..config }))
    }

    fn boxes(&self, vectors: &Vectors) -> Result<Option<BoxDecoderConfig>> {
        match self.box_decoder_name.as_str() {
            NONE => return Ok(None),
            "centernet2_det_decoder" => {}
            other => return Err(self.unknown(vectors, "box_decoder_name", other)),
        }
        let key = self.box_decoder_feature_key.as_ref().unwrap_or(&self.text_decoder_feature_key);
        vectors.require("box_decoder_feature_key", key, &self.text_decoder_feature_key)?;
        let mut config = self.decoder(vectors)?.config(vectors)?;
        config.head = HeadConfig { channels: self.head_out_channels, ..config.head };
        if let Some(weights) = self.cascade_box_weights_stage0 {
            config.roi.coding = BoxCoding { weights };
        }
        Ok(Some(config))
    }

    /// The settings of the box decoder.
    pub(super) fn decoder(&self, vectors: &Vectors) -> Result<&DecoderSettings> {
        self.needed(vectors, "box_decoder_args", &self.box_decoder_args)
    }

    fn masks(&self, vectors: &Vectors) -> Result<Option<MaskConfig>> {
        match self.mask_decoder_name.as_str() {
            NONE => return Ok(None),
            "sam_mask_decoder" => {}
            other => return Err(self.unknown(vectors, "mask_decoder_name", other)),
        }
        let key = self.mask_decoder_feature_key.as_deref().unwrap_or(SAM_KEY);
        vectors.require("mask_decoder_feature_key", &key, &SAM_KEY)?;
        let decoder = self.needed(vectors, "mask_decoder_args", &self.mask_decoder_args)?;
        let adapter = match self.mask_adapter_name.as_str() {
            NONE => None,
            "sam_mask_adapter" => {
                let args = &self.mask_adapter_args;
                Some(self.needed(vectors, "mask_adapter_args", args)?.config(vectors)?)
            }
            other => return Err(self.unknown(vectors, "mask_adapter_name", other)),
        };
        Ok(Some(MaskConfig { decoder: decoder.config(vectors)?, adapter }))
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

/// The settings of a part.
fn part<T: DeserializeOwned>(vectors: &Vectors, values: &Value) -> Result<T> {
    serde_json::from_value(values.clone()).map_err(|error| {
        let help = "This component is built for the settings that it knows, and for no others.";
        vectors.problem(format!("settings of a part cannot be used: {error}"), help)
    })
}

/// The side of an encoder's input, which is square.
fn input_px(vectors: &Vectors, settings: &Option<InputSettings>) -> Result<Option<usize>> {
    let Some(InputSettings { image_size: [height, width] }) = settings else { return Ok(None) };
    vectors.require("image_size", &[*height, *width], &[*height; 2])?;
    Ok(Some(*height))
}

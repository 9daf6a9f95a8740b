//! The reference's settings as those of our model.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::super::git::GitSettings;
use super::super::super::masks::check;
use super::super::super::t5::T5Settings;
use super::super::super::vectors::Vectors;
use super::super::super::vision::{EvaSettings, SamSettings};
use super::{EVA_KEY, InputSettings, NONE, SAM_KEY, Settings};
use crate::error::Result;
use crate::model::heads::boxes::BoxDecoderConfig;
use crate::model::heads::boxes::box_coding::BoxCoding;
use crate::model::heads::boxes::head::HeadConfig;
use crate::model::heads::masks::MaskConfig;
use crate::model::language::LanguageConfig;
use crate::model::language::git::GitConfig;
use crate::model::language::t5::T5Config;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::places::border_grid;
use crate::model::prompt::adapter::PromptFeatures;
use crate::model::prompt::location::{BoxTokens, LocationConfig, ReferenceSize};
use crate::model::vision::eva::EvaConfig;
use crate::model::vision::sam::SamConfig;
use crate::model::vision::{FusionGrid, VisionConfig};
impl Settings {
    /// The same in our words, for a canvas of `canvas_px` pixels.
    pub(in super::super) fn config(
        &self,
        vectors: &Vectors,
        canvas_px: usize,
    ) -> Result<PixelLlmConfig> {
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

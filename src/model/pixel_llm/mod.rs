//! The whole model: vision → prompt → language → points, boxes and masks. Here is the wiring and
//! nothing else.
//!
//! | file | subject |
//! |---|---|
//! | this | its parts; images and texts in, features out |
//! | [`write`] | texts out |
//! | [`locate`] | points, boxes and masks out |
//! | [`placement`] | its parts on several devices |

pub mod locate;
pub mod placement;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigProblem;
use super::heads::boxes::{BoxDecoder, BoxDecoderConfig};
use super::heads::masks::{MaskConfig, MaskHead};
use super::heads::points::{PointConfig, PointHead};
use super::language::{LanguageConfig, LanguageModel, LanguageState, Vocabulary};
use super::prompt::adapter::{AdapterConfig, PromptAdapter, PromptScope};
use super::prompt::location::{LocationConfig, LocationEncoder, ReferenceSize};
use super::prompt::points::{PointPrompts, Prompts};
use super::storage::Storage;
use super::vision::{InputSides, Vision, VisionConfig, VisionFeatures};

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
    /// Point head; `false` for a model that says where nothing is.
    pub points: Option<PointConfig>,
    /// Box decoder, which finds the boxes to describe; `false` for none. It learns from sources of the
    /// task `detect`; without one it stays as it starts.
    pub boxes: Option<BoxDecoderConfig>,
    /// Mask branch, which needs `[model.vision.sam]`; `false` for none. It is trained by sources with
    /// `masks = true`.
    pub masks: Option<MaskConfig>,
}

impl Default for PixelLlmConfig {
    fn default() -> Self {
        Self {
            canvas_px: 384,
            vision: VisionConfig::default(),
            location: LocationConfig::default(),
            adapter: AdapterConfig::default(),
            language: LanguageConfig::default(),
            points: Some(PointConfig::default()),
            boxes: None,
            masks: None,
        }
    }
}

impl PixelLlmConfig {
    /// What the matrices of its parts are kept in.
    pub fn storage(&self) -> impl Iterator<Item = Storage> {
        self.vision.storage().chain([self.language.storage()])
    }

    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let of = ConfigProblem::under;
        [
            of("vision", self.vision.validate(self.canvas_px)),
            of("location", self.location.validate()),
            of("adapter", self.adapter.validate()),
            of("language", self.language.validate()),
            of("points", self.points.as_ref().map(PointConfig::validate).unwrap_or_default()),
            of("boxes", self.boxes.as_ref().map(BoxDecoderConfig::validate).unwrap_or_default()),
            of("masks", self.masks.as_ref().map(|masks| self.check(masks)).unwrap_or_default()),
            self.unprojected().into_iter().collect(),
        ]
        .concat()
    }

    /// Visual tokens that are not projected have the width of words already.
    fn unprojected(&self) -> Option<ConfigProblem> {
        let LanguageConfig::T5(t5) = &self.language else { return None };
        let (found, wanted) = (self.adapter.output_width, t5.dimensions().width);
        (!t5.visual_projection && found != wanted).then(|| ConfigProblem {
            key: "adapter.output_width".into(),
            problem: format!("words have a width of {wanted}, and nothing projects to it"),
            allowed: format!("{wanted}, or language.visual_projection = true"),
        })
    }

    /// What is wrong with the mask branch in this model.
    fn check(&self, masks: &MaskConfig) -> Vec<ConfigProblem> {
        let Some(sam) = &self.vision.sam else {
            return vec![ConfigProblem {
                key: "decoder".into(),
                problem: "there is no map of SAM to decode masks from".into(),
                allowed: "[model.vision.sam], or masks = false".into(),
            }];
        };
        let visual_width = self.language.projected_width(self.adapter.output_width);
        let text_width = self.language.width();
        masks.validate(sam.output_channels, self.location.width, visual_width, text_width)
    }

    /// Builds the model on `device`, for texts over `vocabulary`.
    pub fn init(&self, vocabulary: Vocabulary, device: &Device) -> PixelLlm {
        let visual_width = self.adapter.output_width;
        let projected_width = self.language.projected_width(visual_width);
        let (channels, text_width) = (self.vision.output_channels(), self.language.width());
        let boxes = self.boxes.as_ref();
        let masks = self.masks.as_ref();
        PixelLlm {
            vision: self.vision.init(device),
            location: self.location.init(device),
            adapter: self.adapter.init(channels, self.location.width, device),
            language: self.language.init(visual_width, vocabulary, device),
            points: self.points.as_ref().map(|points| points.init(text_width, device)),
            boxes: boxes.map(|boxes| boxes.init(channels, self.canvas_px, device)),
            masks: masks.map(|masks| masks.init(projected_width, text_width, device)),
            canvas_px: self.canvas_px,
            is_placed: false,
            reference_px: match self.location.reference_size {
                ReferenceSize::Canvas => InputSides { fused: self.canvas_px, sam: self.canvas_px },
                ReferenceSize::EncoderInput => self.vision.input_px(self.canvas_px),
            },
        }
    }
}

/// The model.
#[derive(Module, Debug)]
pub struct PixelLlm {
    vision: Vision,
    location: LocationEncoder,
    adapter: PromptAdapter,
    language: LanguageModel,
    points: Option<PointHead>,
    boxes: Option<BoxDecoder>,
    masks: Option<MaskHead>,
    #[module(skip)]
    canvas_px: usize,
    /// Whether parts may be on several devices.
    #[module(skip)]
    is_placed: bool,
    /// What coordinates of prompts are a share of: those of the adapter, and those of masks.
    #[module(skip)]
    reference_px: InputSides,
}

/// Locations and texts about images that are encoded already: `N` rows per image.
///
/// `M` is `N`, or 1 where every row of an image has the same prompt and context; what comes before
/// the text is then read once per image.
#[derive(Debug, Clone)]
pub struct RowInput {
    /// Prompt boxes, `[B, M, 4]`, xyxy in pixels of the canvas.
    pub prompt_boxes: Tensor<3>,
    /// Points beside or in place of the boxes, where there are any.
    pub prompt_points: Option<PointPrompts>,
    /// What the prompt boxes are about.
    pub scope: PromptScope,
    /// Instruction before the text, `[B, M, C]`, padded.
    pub context: Option<Tensor<3, Int>>,
    /// Text, `[B, N, L]`: begin, words, end, padding.
    pub text: Tensor<3, Int>,
}

impl PixelLlm {
    /// Looks at the images, once for however many prompts.
    ///
    /// # Shapes
    /// - `images`: `[B, 3, S, S]`, RGB 0–255
    /// - `padding_mask`: `[B, S, S]`, 1 on the image, 0 on the padding
    pub fn encode(&self, images: Tensor<4>, padding_mask: Tensor<3>) -> VisionFeatures {
        let images = self.beside(&self.vision, images);
        self.vision.forward(images, self.beside(&self.vision, padding_mask))
    }

    /// What the image looks like from each prompt, as the language model and the mask branch read it.
    ///
    /// # Shapes
    /// - `prompts`: boxes `[B, M, 4]`, xyxy in pixels of the canvas, or [`Prompts`] of any kind
    /// - result: `[B, M, Q, D]`
    pub fn visual_tokens(
        &self,
        features: &VisionFeatures,
        prompts: impl Into<Prompts>,
        scope: PromptScope,
    ) -> Tensor<4> {
        let [_, _, height, width] = features.fused.dims();
        let prompts = self.beside_adapter(prompts.into());
        let prompts = self.location.prompts(prompts, self.reference_px.fused);
        let grid = self.location.grid(height, width);
        let no_mask = self.location.no_mask();
        let map = self.beside(&self.adapter, features.fused.clone());
        let tokens = self.adapter.forward(map, prompts, grid, no_mask, scope);
        let tokens = self.beside(&self.language, tokens);
        let [batch, prompts, num_visual, width] = tokens.dims();
        let tokens = self.language.project(tokens.reshape([batch * prompts, num_visual, width]));
        let [_, _, width] = tokens.dims();
        tokens.reshape([batch, prompts, num_visual, width])
    }

    /// Features of every text token, teacher forced: `[B, N, L, D]`.
    pub fn text_features(&self, features: &VisionFeatures, rows: RowInput) -> Tensor<4> {
        let prompts = Prompts { boxes: rows.prompt_boxes, points: rows.prompt_points };
        let visual = self.visual_tokens(features, prompts, rows.scope);
        self.read_text(visual, rows.context, rows.text)
    }

    /// Features of every token of texts about prompts that were looked at already, teacher forced.
    ///
    /// # Shapes
    /// - `visual`: `[B, M, Q, D]`
    /// - `context`: `[B, M, C]`
    /// - `text`: `[B, N, L]`
    /// - result: `[B, N, L, D]`
    pub fn read_text(
        &self,
        visual: Tensor<4>,
        context: Option<Tensor<3, Int>>,
        text: Tensor<3, Int>,
    ) -> Tensor<4> {
        let [batch, num_rows, length] = text.dims();
        let state = self.begin_at(visual, context, num_rows);
        let text = self.beside(&self.language, text.reshape([batch * num_rows, length]));
        let features = self.language.read_text(state, text);
        let [_, _, width] = features.dims();
        features.reshape([batch, num_rows, length, width])
    }

    /// Reads prompts and contexts, for `num_rows` texts per image that follow.
    ///
    /// Shapes as in [`RowInput`] and [`Self::visual_tokens`].
    pub fn begin(
        &self,
        features: &VisionFeatures,
        prompts: impl Into<Prompts>,
        scope: PromptScope,
        context: Option<Tensor<3, Int>>,
        num_rows: usize,
    ) -> LanguageState {
        self.begin_at(self.visual_tokens(features, prompts, scope), context, num_rows)
    }

    /// As [`Self::begin`], of prompts that were looked at already: `visual`, `[B, M, Q, D]`.
    fn begin_at(
        &self,
        visual: Tensor<4>,
        context: Option<Tensor<3, Int>>,
        num_rows: usize,
    ) -> LanguageState {
        let [batch, prompts, num_visual, width] = visual.dims();
        let visual = visual.reshape([batch * prompts, num_visual, width]);
        let context = context.map(|context| {
            let [_, _, length] = context.dims();
            self.beside(&self.language, context.reshape([batch * prompts, length]))
        });
        let state = self.language.begin_projected(visual, context);
        if prompts == num_rows { state } else { state.repeat_rows(num_rows) }
    }

    /// `features`: `[B, N, L, D]` → scores of the token that follows, `[B, N, L, V]`.
    pub fn logits(&self, features: Tensor<4>) -> Tensor<4> {
        let [batch, rows, length, width] = features.dims();
        let logits = self.language.logits(features.reshape([batch * rows, length, width]));
        let [_, _, size] = logits.dims();
        logits.reshape([batch, rows, length, size])
    }

    /// The same with image encoders that no gradient reaches.
    pub fn freeze_vision(self, eva: bool, sam: bool) -> Self {
        Self { vision: self.vision.freeze(eva, sam), ..self }
    }

    /// The same with the adapters of the language model merged into what they adapt: for inference, where
    /// they cost time.
    pub fn merge_adapters(self) -> Self {
        Self { language: self.language.merge_adapters(), ..self }
    }

    /// The language model.
    pub fn language(&self) -> &LanguageModel {
        &self.language
    }

    /// Points that a trace is told by; 0 where it is told by its box.
    pub fn trace_points(&self) -> usize {
        self.location.trace_points()
    }

    /// Side of the canvas, in pixels.
    pub fn canvas_px(&self) -> usize {
        self.canvas_px
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::model::testing::{VOCABULARY, tiny_config};

    fn tiny() -> PixelLlm {
        let config = tiny_config();
        assert_eq!(config.validate(), []);
        config.init(VOCABULARY, &Device::flex())
    }

    #[test]
    fn masks_need_sam_and_widths_that_fit() {
        let masks = Some(MaskConfig::default());
        let config = PixelLlmConfig { masks: masks.clone(), ..tiny_config() };
        assert!(config.validate().iter().any(|one| one.key == "masks.decoder.width"));
        let vision = VisionConfig { sam: None, ..tiny_config().vision };
        let config = PixelLlmConfig { vision, masks, ..tiny_config() };
        let keys: Vec<_> = config.validate().into_iter().map(|one| one.key).collect();
        assert_eq!(keys, ["masks.decoder"]);
    }

    #[test]
    fn coordinates_may_be_shares_of_what_the_encoders_read() {
        let mut config = tiny_config();
        config.vision.eva.iter_mut().for_each(|eva| eva.input_px = Some(12));
        config.vision.sam.iter_mut().for_each(|sam| sam.input_px = Some(8));
        let sides = |config: &PixelLlmConfig| config.init(VOCABULARY, &Device::flex()).reference_px;
        assert_eq!(sides(&config), InputSides { fused: 16, sam: 16 });
        config.location.reference_size = ReferenceSize::EncoderInput;
        assert_eq!(sides(&config), InputSides { fused: 12, sam: 8 });
    }

    #[test]
    fn a_prompt_that_rows_share_is_read_once_with_the_same_result() {
        let (model, device) = (tiny(), Device::flex());
        let images = Tensor::random([2, 3, 16, 16], Distribution::Uniform(0.0, 255.0), &device);
        let features = model.encode(images, Tensor::ones([2, 16, 16], &device));
        let boxes = Tensor::<3>::from_data([[[0.0, 0.0, 16.0, 12.0]]], &device).repeat_dim(0, 2);
        let context = Tensor::<3, Int>::from_data([[[5, 2, 0]]], &device).repeat_dim(0, 2);
        let text = Tensor::<3, Int>::from_data(
            [
                [[1, 4, 5, 2], [1, 6, 2, 0], [1, 7, 8, 9]],
                [[1, 3, 2, 0], [1, 4, 4, 2], [1, 9, 2, 0]],
            ],
            &device,
        );
        let rows = |repeat: usize| RowInput {
            prompt_boxes: boxes.clone().repeat_dim(1, repeat),
            prompt_points: None,
            scope: PromptScope::Image,
            context: Some(context.clone().repeat_dim(1, repeat)),
            text: text.clone(),
        };
        let shared = model.text_features(&features, rows(1));
        let repeated = model.text_features(&features, rows(3));
        assert_eq!(shared.dims(), [2, 3, 4, 16]);
        let difference = (shared.clone() - repeated).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
        assert_eq!(model.points(shared.clone()).unwrap().dims(), [2, 3, 4, 2, 2]);
        assert_eq!(model.logits(shared).dims(), [2, 3, 4, 10]);
    }
}

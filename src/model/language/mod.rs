//! Language models: visual tokens as a prefix in, one feature and one row of logits per token out.

pub mod beam;
pub mod decoding;
pub mod git;
pub mod hidden_states;
mod key_value;
pub mod lora;
pub mod sampling;
pub mod t5;
pub mod visual_projection;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigProblem;
use super::storage::Storage;
use git::{GitConfig, GitDecoder, GitState};
use t5::{T5Config, T5Language, T5State};

/// Which language model writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LanguageConfig {
    /// The small GIT-style decoder (`spec/model.md` §7).
    Git(GitConfig),
    /// T5 with adapters (`spec/model.md` §8).
    T5(T5Config),
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self::Git(GitConfig::default())
    }
}

impl LanguageConfig {
    /// A model for visual tokens of width `visual_width` and texts over `vocabulary`.
    pub fn init(
        &self,
        visual_width: usize,
        vocabulary: Vocabulary,
        device: &Device,
    ) -> LanguageModel {
        match self {
            Self::Git(config) => LanguageModel::Git(config.init(visual_width, vocabulary, device)),
            Self::T5(config) => LanguageModel::T5(config.init(visual_width, vocabulary, device)),
        }
    }

    /// Width `D` of the features that the point head reads.
    pub fn width(&self) -> usize {
        match self {
            Self::Git(config) => config.fusion.output_width(config.width),
            Self::T5(config) => config.dimensions().width,
        }
    }

    /// Width of [`LanguageModel::project`]ed visual tokens, which were `visual_width` wide.
    pub fn projected_width(&self, visual_width: usize) -> usize {
        match self {
            Self::Git(_) => visual_width,
            Self::T5(config) => config.dimensions().width,
        }
    }

    /// What matrices are kept in.
    pub fn storage(&self) -> Storage {
        match self {
            Self::Git(_) => Storage::F32,
            Self::T5(config) => config.storage,
        }
    }

    /// Longest text that the model can read or write, in tokens.
    pub fn max_text_tokens(&self) -> usize {
        match self {
            Self::Git(config) => config.max_positions,
            // Positions are relative.
            Self::T5(_) => usize::MAX,
        }
    }

    /// What cannot be built; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        match self {
            Self::Git(config) => config.validate(),
            Self::T5(config) => config.validate(),
        }
    }
}

/// What a tokenizer tells the model: the size of the vocabulary and its special ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Number of ids, `V`.
    pub size: usize,
    /// Padding; 0 in both published vocabularies.
    pub pad: i64,
    /// First token of every text.
    pub begin: i64,
    /// Last token of every text.
    pub end: i64,
}

/// What a language model reads: `R` rows, each with its own visual tokens.
#[derive(Debug, Clone)]
pub struct LanguageInput {
    /// Visual tokens, `[R, Q, visual width]`.
    pub visual: Tensor<3>,
    /// Instruction before the text, `[R, C]`, padded.
    pub context: Option<Tensor<2, Int>>,
    /// Text, `[R, L]`: begin, words, end, padding.
    pub text: Tensor<2, Int>,
}

/// What a language model says about each text token.
#[derive(Debug, Clone)]
pub struct LanguageOutput {
    /// Scores of the token that follows, `[R, L, V]`.
    pub logits: Tensor<3>,
    /// Features that the point head reads, `[R, L, D]`: the state after the token was read.
    pub features: Tensor<3>,
}

/// The language model of a run.
#[allow(clippy::large_enum_variant)] // One to a run.
#[derive(Module, Debug)]
pub enum LanguageModel {
    /// The small GIT-style decoder.
    Git(GitDecoder),
    /// T5 with adapters.
    T5(T5Language),
}

/// Where a text in progress stands: everything read so far, so that each new token costs one row.
#[allow(clippy::large_enum_variant)] // One to a batch of texts.
#[derive(Debug, Clone)]
pub enum LanguageState {
    /// Keys and values of the GIT-style decoder.
    Git(GitState),
    /// Keys and values of T5's decoder.
    T5(T5State),
}

impl LanguageState {
    /// The same prefix for `count` texts each: row `r` becomes rows `r·count ..`.
    pub fn repeat_rows(self, count: usize) -> Self {
        match self {
            Self::Git(state) => Self::Git(state.repeat_rows(count)),
            Self::T5(state) => Self::T5(state.repeat_rows(count)),
        }
    }

    /// Text `indices[i]`, which has the prefix of text `i`, becomes text `i`; `indices`: `[R]`.
    pub fn reorder_texts(self, indices: Tensor<1, Int>) -> Self {
        match self {
            Self::Git(state) => Self::Git(state.select_rows(indices)),
            Self::T5(state) => Self::T5(state.reorder_texts(indices)),
        }
    }

    /// Number of texts in progress, `R`.
    pub fn num_rows(&self) -> usize {
        match self {
            Self::Git(state) => state.num_rows(),
            Self::T5(state) => state.num_rows(),
        }
    }
}

impl LanguageModel {
    /// Logits and features at every text token; teacher forcing.
    pub fn forward(&self, input: LanguageInput) -> LanguageOutput {
        let features = self.features(input);
        LanguageOutput { logits: self.logits(features.clone()), features }
    }

    /// Features at every text token without the vocabulary layer, `[R, L, D]`.
    pub fn features(&self, input: LanguageInput) -> Tensor<3> {
        let state = self.begin(input.visual, input.context);
        self.read_text(state, input.text)
    }

    /// `features`: `[R, L, D]` → scores of the token that follows, `[R, L, V]`.
    pub fn logits(&self, features: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Git(decoder) => decoder.logits(features),
            Self::T5(model) => model.logits(features),
        }
    }

    /// Features of text tokens → what the point head reads of them, `[B, N, L, D]`.
    pub fn point_features(&self, features: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Git(decoder) => decoder.point_features(features),
            Self::T5(_) => features,
        }
    }

    /// Visual tokens as the model shares them with other heads: projected to its width where the
    /// projection stands before it (T5), `[R, Q, visual width]` → `[R, Q, D]`; else as they are.
    pub fn project(&self, visual: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Git(_) => visual,
            Self::T5(model) => model.project(visual),
        }
    }

    /// Reads the prefix: `visual` `[R, Q, visual width]` and `context` `[R, C]`.
    pub fn begin(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> LanguageState {
        self.begin_projected(self.project(visual), context)
    }

    /// As [`Self::begin`], of what [`Self::project`] gave, in its shape.
    pub fn begin_projected(
        &self,
        visual: Tensor<3>,
        context: Option<Tensor<2, Int>>,
    ) -> LanguageState {
        match self {
            Self::Git(decoder) => LanguageState::Git(decoder.begin(visual, context)),
            Self::T5(model) => LanguageState::T5(model.begin_projected(visual, context)),
        }
    }

    /// Reads the next tokens `[R, L]` of texts in progress; their features `[R, L, D]`.
    ///
    /// # Panics
    /// If `state` is of another kind of model.
    pub fn read(&self, state: &mut LanguageState, tokens: Tensor<2, Int>) -> Tensor<3> {
        match (self, state) {
            (Self::Git(decoder), LanguageState::Git(state)) => decoder.read(state, tokens),
            (Self::T5(model), LanguageState::T5(state)) => model.read(state, tokens),
            _ => unreachable!("a state is read by the model that began it"),
        }
    }

    /// Reads whole texts `[R, L]`, padded; their features `[R, L, D]`.
    pub fn read_text(&self, state: LanguageState, text: Tensor<2, Int>) -> Tensor<3> {
        match (self, state) {
            (Self::T5(model), LanguageState::T5(state)) => model.read_text(state, text),
            // What follows a token does not matter here.
            (_, mut state) => self.read(&mut state, text),
        }
    }

    /// The same with adapters merged into what they adapt, for inference.
    pub fn merge_adapters(self) -> Self {
        match self {
            Self::Git(decoder) => Self::Git(decoder),
            Self::T5(model) => Self::T5(model.merge_adapters()),
        }
    }

    /// The vocabulary that the model writes in.
    pub fn vocabulary(&self) -> Vocabulary {
        match self {
            Self::Git(decoder) => decoder.vocabulary(),
            Self::T5(model) => model.vocabulary(),
        }
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        match self {
            Self::Git(decoder) => decoder.device(),
            Self::T5(model) => model.device(),
        }
    }

    /// Longest text that the model can read or write, in tokens.
    pub fn max_text_tokens(&self) -> usize {
        match self {
            Self::Git(decoder) => decoder.max_positions(),
            Self::T5(_) => usize::MAX,
        }
    }
}

//! Sizes and settings of T5.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::language::lora::LoraConfig;
use crate::model::storage::Storage;

/// A published size of T5 1.1 and Flan-T5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum T5Size {
    /// 77 million parameters.
    Small,
    /// 250 million.
    Base,
    /// 780 million.
    Large,
    /// 3 billion: the paper's.
    #[default]
    Xl,
    /// 11 billion.
    Xxl,
}

/// The numbers that differ between sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct T5Dimensions {
    /// Width of a token, `D`.
    pub width: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Number of encoder layers.
    pub encoder_depth: usize,
    /// Number of decoder layers.
    pub decoder_depth: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
}

impl T5Size {
    /// Its numbers (`spec/model.md` §8.1).
    pub const fn dimensions(self) -> T5Dimensions {
        let (width, num_heads, depth, mlp_width) = match self {
            Self::Small => (512, 6, 8, 1024),
            Self::Base => (768, 12, 12, 2048),
            Self::Large => (1024, 16, 24, 2816),
            Self::Xl => (2048, 32, 24, 5120),
            Self::Xxl => (4096, 64, 24, 10240),
        };
        let (encoder_depth, decoder_depth) = (depth, depth);
        T5Dimensions { width, num_heads, head_width: 64, encoder_depth, decoder_depth, mlp_width }
    }
}

/// What attention hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Masking {
    /// Padding, and a text token that only padding follows, neither look nor are looked at: the
    /// reference.
    #[default]
    Pairs,
    /// Padding of the prefix is not looked at; text tokens look at all before them: Hugging Face.
    Columns,
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trained {
    /// The adapters, beside the projection of visual tokens: for published weights.
    #[default]
    Lora,
    /// Everything.
    All,
}

/// Sizes and settings; defaults are the paper's Flan-T5-XL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct T5Config {
    /// The `config.json` of a published model, its folder, or `hf:owner/name[@revision]`: what it says
    /// stands for the keys of sizes and norms below and for `tied_output`, which may not say otherwise,
    /// and for `dropout`, which may. An experiment that is written out has the numbers in its place.
    pub config: Option<std::path::PathBuf>,
    /// The published size. Each of the next six keys replaces a number of it.
    pub size: T5Size,
    /// Width of a token, in place of that of `size`.
    pub width: Option<usize>,
    /// Number of attention heads, in place of that of `size`.
    pub num_heads: Option<usize>,
    /// Width of an attention head, in place of 64.
    pub head_width: Option<usize>,
    /// Number of encoder layers, in place of that of `size`.
    pub encoder_depth: Option<usize>,
    /// Number of decoder layers, in place of that of `size`.
    pub decoder_depth: Option<usize>,
    /// Hidden width of the feed-forward, in place of that of `size`.
    pub mlp_width: Option<usize>,
    /// Rows of the table of words, where they are more than the tokenizer has ids: 32128 in the
    /// published weights.
    pub num_words: Option<usize>,
    /// Number of relative positions that are told apart; a multiple of 4.
    pub num_position_buckets: usize,
    /// Distance from which on all positions are one, in tokens.
    pub max_distance_tokens: usize,
    /// Epsilon of the norms.
    pub norm_epsilon: f64,
    /// Whether the table of words is also the output matrix, as in T5 1.0.
    pub tied_output: bool,
    /// What attention hides.
    pub masking: Masking,
    /// Whether visual tokens are projected to the width of words; without it, they must have it.
    pub visual_projection: bool,
    /// Whether a layer norm follows the projection of visual tokens.
    pub visual_norm: bool,
    /// Dropout on embeddings, attention and hidden states; mostly the same at every token.
    pub dropout: f64,
    /// Adapters of the encoder; `false` for none.
    pub encoder_lora: Option<LoraConfig>,
    /// Adapters of the decoder, on both of its attentions; `false` for none.
    pub decoder_lora: Option<LoraConfig>,
    /// What is trained.
    pub trained: Trained,
    /// What matrices are kept in that are not trained: half of 32 bits is half of the memory. They are
    /// widened, layer by layer, where they are read, and everything is computed in 32 bits. In training,
    /// wide copies are kept for the backward pass, so that little is saved then.
    pub storage: Storage,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            config: None,
            size: T5Size::default(),
            width: None,
            num_heads: None,
            head_width: None,
            encoder_depth: None,
            decoder_depth: None,
            mlp_width: None,
            num_words: None,
            num_position_buckets: 32,
            max_distance_tokens: 128,
            norm_epsilon: 1e-6,
            tied_output: false,
            masking: Masking::default(),
            visual_projection: true,
            visual_norm: true,
            dropout: 0.1,
            encoder_lora: Some(LoraConfig::default()),
            decoder_lora: Some(LoraConfig::default()),
            trained: Trained::default(),
            storage: Storage::default(),
        }
    }
}

impl T5Config {
    /// The numbers of `size`, with what replaces them.
    pub fn dimensions(&self) -> T5Dimensions {
        let size = self.size.dimensions();
        T5Dimensions {
            width: self.width.unwrap_or(size.width),
            num_heads: self.num_heads.unwrap_or(size.num_heads),
            head_width: self.head_width.unwrap_or(size.head_width),
            encoder_depth: self.encoder_depth.unwrap_or(size.encoder_depth),
            decoder_depth: self.decoder_depth.unwrap_or(size.decoder_depth),
            mlp_width: self.mlp_width.unwrap_or(size.mlp_width),
        }
    }

    /// What cannot be built; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let problem = |key: &str, problem: String, allowed: &str| ConfigProblem {
            key: key.to_string(),
            problem,
            allowed: allowed.to_string(),
        };
        let counts = [
            ("width", self.width),
            ("num_heads", self.num_heads),
            ("head_width", self.head_width),
            ("encoder_depth", self.encoder_depth),
            ("decoder_depth", self.decoder_depth),
            ("mlp_width", self.mlp_width),
        ];
        let zeros = counts.into_iter().filter(|(_, count)| *count == Some(0));
        let mut problems: Vec<_> =
            zeros.map(|(key, _)| problem(key, "is 0".into(), "at least 1")).collect();
        let buckets = self.num_position_buckets;
        if buckets < 4 || !buckets.is_multiple_of(4) {
            let found = format!("{buckets} buckets cannot be halved twice");
            problems.push(problem("num_position_buckets", found, "a multiple of 4"));
        }
        // Up to half of the decoder's buckets hold one distance each, those beyond up to the largest.
        if self.max_distance_tokens <= buckets / 2 {
            let found = format!("{} tokens have buckets of their own", self.max_distance_tokens);
            let allowed = "more than half of num_position_buckets";
            problems.push(problem("max_distance_tokens", found, allowed));
        }
        if self.norm_epsilon.is_nan() || self.norm_epsilon <= 0.0 {
            let found = format!("{} does not keep a norm from dividing by 0", self.norm_epsilon);
            problems.push(problem("norm_epsilon", found, "more than 0"));
        }
        problems.extend(ConfigProblem::dropout("dropout", self.dropout));
        if self.storage != Storage::F32 && self.trained == Trained::All {
            let found = "matrices that are trained need 32 bits".into();
            problems.push(problem("storage", found, "\"f32\", or trained = \"lora\""));
        }
        for (key, lora) in
            [("encoder_lora", &self.encoder_lora), ("decoder_lora", &self.decoder_lora)]
        {
            let found = lora.as_ref().map(LoraConfig::validate).unwrap_or_default();
            problems.extend(ConfigProblem::under(key, found));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_replaces_one_number_of_the_size() {
        let config = T5Config { size: T5Size::Small, mlp_width: Some(7), ..T5Config::default() };
        let expected = T5Dimensions { mlp_width: 7, ..T5Size::Small.dimensions() };
        assert_eq!(config.dimensions(), expected);
        assert_eq!(config.validate(), []);
    }

    #[test]
    fn what_is_trained_is_kept_in_32_bits() {
        let config = T5Config { storage: Storage::Bf16, ..T5Config::default() };
        assert_eq!(config.validate(), []);
        let problems = T5Config { trained: Trained::All, ..config }.validate();
        assert_eq!(problems.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["storage"]);
    }

    #[test]
    fn what_cannot_be_built_is_named() {
        let config = T5Config {
            width: Some(0),
            num_position_buckets: 6,
            max_distance_tokens: 3,
            norm_epsilon: 0.0,
            dropout: 1.0,
            decoder_lora: Some(LoraConfig { dropout: -0.1, ..LoraConfig::default() }),
            ..T5Config::default()
        };
        let keys: Vec<_> = config.validate().into_iter().map(|problem| problem.key).collect();
        let expected = [
            "width",
            "num_position_buckets",
            "max_distance_tokens",
            "norm_epsilon",
            "dropout",
            "decoder_lora.dropout",
        ];
        assert_eq!(keys, expected);
    }
}

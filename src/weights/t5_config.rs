//! `config.json` of a T5 at Hugging Face: what it says of the sizes and settings of a model.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::model::language::t5::T5Config;

/// Models that T5's code here computes; mT5 is T5 1.1 with more words.
const MODELS: [&str; 2] = ["t5", "mt5"];
/// The feed-forward of T5 1.1.
const FEED_FORWARD: &str = "gated-gelu";

/// What a file says; defaults are those of `transformers` for keys that it leaves out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PublishedT5 {
    model_type: String,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    vocab_size: usize,
    #[serde(default = "default_buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default = "default_distance")]
    relative_attention_max_distance: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_feed_forward")]
    feed_forward_proj: String,
    #[serde(default = "default_tied")]
    tie_word_embeddings: bool,
    #[serde(default = "default_dropout")]
    dropout_rate: f64,
}

fn default_buckets() -> usize {
    32
}

fn default_distance() -> usize {
    128
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_feed_forward() -> String {
    "relu".into()
}

fn default_tied() -> bool {
    true
}

fn default_dropout() -> f64 {
    0.1
}

/// A key of ours, theirs, its value, and whether another value changes what is computed without
/// changing the shape of any tensor.
type Key = (&'static str, &'static str, fn(&T5Config) -> Json, bool);

/// The keys of sizes, which `size` stands for too, come first.
const KEYS: [Key; 11] = [
    ("width", "d_model", |t5| json!(t5.dimensions().width), false),
    ("num_heads", "num_heads", |t5| json!(t5.dimensions().num_heads), true),
    ("head_width", "d_kv", |t5| json!(t5.dimensions().head_width), true),
    ("encoder_depth", "num_layers", |t5| json!(t5.dimensions().encoder_depth), false),
    ("decoder_depth", "num_decoder_layers", |t5| json!(t5.dimensions().decoder_depth), false),
    ("mlp_width", "d_ff", |t5| json!(t5.dimensions().mlp_width), false),
    ("num_words", "vocab_size", |t5| json!(t5.num_words), false),
    (
        "num_position_buckets",
        "relative_attention_num_buckets",
        |t5| json!(t5.num_position_buckets),
        true,
    ),
    (
        "max_distance_tokens",
        "relative_attention_max_distance",
        |t5| json!(t5.max_distance_tokens),
        true,
    ),
    ("norm_epsilon", "layer_norm_epsilon", |t5| json!(t5.norm_epsilon), true),
    ("tied_output", "tie_word_embeddings", |t5| json!(t5.tied_output), true),
];
/// How many of [`KEYS`] `size` stands for.
const NUM_SIZES: usize = 6;

/// A key that is not as a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The key of ours, in `model.language`.
    pub key: &'static str,
    /// What it is here, and what it is there under which name.
    pub problem: String,
}

impl PublishedT5 {
    /// Reads a `config.json`; `None` where it is that of another kind of model.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Format`] where a T5 has keys of another type, or
    /// a feed-forward that is not that of T5 1.1.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let help = "Give the config.json of a T5 1.1 or Flan-T5, as Hugging Face has it.";
        let unfit = |error: serde_json::Error| {
            Error::format_at(path, error.line(), error.to_string(), help)
        };
        let json: Json = serde_json::from_str(&text).map_err(unfit)?;
        if !json["model_type"].as_str().is_some_and(|found| MODELS.contains(&found)) {
            return Ok(None);
        }
        let published: Self = serde_json::from_str(&text).map_err(unfit)?;
        if published.feed_forward_proj != FEED_FORWARD {
            let found = &published.feed_forward_proj;
            let problem =
                format!("its feed-forward is {found:?}, that of T5 1.1 is {FEED_FORWARD:?}");
            return Err(Error::format(path, problem, help));
        }
        Ok(Some(published))
    }

    /// `config` with everything that the file says.
    pub fn fill(&self, config: &T5Config) -> T5Config {
        T5Config {
            width: Some(self.d_model),
            num_heads: Some(self.num_heads),
            head_width: Some(self.d_kv),
            encoder_depth: Some(self.num_layers),
            decoder_depth: Some(self.num_decoder_layers.unwrap_or(self.num_layers)),
            mlp_width: Some(self.d_ff),
            num_words: Some(self.vocab_size),
            num_position_buckets: self.relative_attention_num_buckets,
            max_distance_tokens: self.relative_attention_max_distance,
            norm_epsilon: self.layer_norm_epsilon,
            tied_output: self.tie_word_embeddings,
            dropout: self.dropout_rate,
            ..config.clone()
        }
    }

    /// The keys in which `config` is not as the file says, of those that `is_said`. Dropout is free.
    pub fn differences(
        &self,
        config: &T5Config,
        is_said: impl Fn(&str) -> bool,
    ) -> Vec<Difference> {
        let filled = self.fill(config);
        let said = KEYS
            .iter()
            .enumerate()
            .filter(|(index, (key, ..))| is_said(key) || (*index < NUM_SIZES && is_said("size")));
        let difference = |(_, (key, theirs, value, _)): (usize, &Key)| {
            let (found, expected) = (value(config), value(&filled));
            let problem =
                format!("is {found}, but `{theirs}` of the published model is {expected}");
            (found != expected).then_some(Difference { key, problem })
        };
        said.filter_map(difference).collect()
    }

    /// The keys in which `config` computes something else from tensors of the same shapes.
    pub fn silent_differences(&self, config: &T5Config) -> Vec<Difference> {
        let is_silent = |name: &str| KEYS.iter().any(|(key, .., silent)| *key == name && *silent);
        self.differences(config, is_silent)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::language::t5::config::T5Size;

    /// The config.json of `google/flan-t5-small`, as far as it is read.
    fn small() -> Json {
        json!({
            "model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8,
            "num_decoder_layers": 8, "num_heads": 6, "vocab_size": 32128,
            "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
            "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": false, "dropout_rate": 0.1, "use_cache": true,
        })
    }

    fn read(json: &Json) -> Result<Option<PublishedT5>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, json.to_string()).unwrap();
        PublishedT5::read(&path)
    }

    #[test]
    fn a_published_size_is_what_its_file_says() {
        let published = read(&small()).unwrap().unwrap();
        let config = T5Config { size: T5Size::Small, ..T5Config::default() };
        assert_eq!(published.fill(&T5Config::default()).dimensions(), config.dimensions());
        assert_eq!(published.fill(&config).num_words, Some(32128));
        assert!(!published.fill(&config).tied_output);
        let is_said = |key: &str| key == "size";
        assert_eq!(published.differences(&config, is_said), []);
    }

    #[test]
    fn keys_that_say_otherwise_are_named_with_both_values() {
        let published = read(&small()).unwrap().unwrap();
        let config = T5Config { size: T5Size::Base, head_width: Some(32), ..T5Config::default() };
        let differences = published.differences(&config, |key| key == "head_width");
        let problem = "is 32, but `d_kv` of the published model is 64".to_string();
        assert_eq!(differences, [Difference { key: "head_width", problem }]);
        let of_size = published.differences(&config, |key| key == "size");
        let keys: Vec<_> = of_size.iter().map(|difference| difference.key).collect();
        let all =
            ["width", "num_heads", "head_width", "encoder_depth", "decoder_depth", "mlp_width"];
        assert_eq!(keys, all);
        let silent = published.silent_differences(&config);
        let keys: Vec<_> = silent.iter().map(|difference| difference.key).collect();
        assert_eq!(keys, ["num_heads", "head_width"]);
    }

    #[test]
    fn what_a_file_leaves_out_is_as_in_transformers() {
        let mut json = small();
        let keys = json.as_object_mut().unwrap();
        keys.remove("tie_word_embeddings");
        keys.remove("num_decoder_layers");
        keys["num_layers"] = json!(3);
        let config = read(&json).unwrap().unwrap().fill(&T5Config::default());
        assert!(config.tied_output);
        assert_eq!(config.decoder_depth, Some(3));
    }

    #[test]
    fn other_models_and_other_feed_forwards_are_not_taken() {
        let mut json = small();
        json["feed_forward_proj"] = json!("relu");
        let error = read(&json).unwrap_err().to_string();
        assert!(error.contains("feed-forward is \"relu\""), "{error}");
        json["model_type"] = json!("bert");
        assert_eq!(read(&json).unwrap(), None);
        let mut json = small();
        json["d_model"] = json!("wide");
        let error = read(&json).unwrap_err().to_string();
        assert!(error.contains("config.json:1: invalid type: string \"wide\""), "{error}");
    }
}

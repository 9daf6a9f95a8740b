//! T5 with adapters, and the projection of visual tokens before it.

use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::language::lora::{LoraConfig, Projection};
use crate::model::language::t5::config::{Masking, Trained};
use crate::model::language::t5::state::Prefix;
use crate::model::language::t5::{T5, T5Config, T5State};
use crate::model::language::visual_projection::VisualProjection;
use crate::weights::t5;

/// Settings of the reference's T5; those that may be missing have the reference's values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct T5Settings {
    vocab_size: usize,
    emb_dim: usize,
    num_heads: usize,
    num_encoder_layers: usize,
    num_decoder_layers: usize,
    head_dim: usize,
    mlp_dim: usize,
    #[serde(default)]
    encoder_lora_rank: i64,
    #[serde(default)]
    decoder_lora_rank: i64,
    #[serde(default = "one")]
    encoder_lora_scale: f64,
    #[serde(default = "one")]
    decoder_lora_scale: f64,
    #[serde(default)]
    encoder_lora_modules: String,
    #[serde(default)]
    decoder_lora_modules: String,
    #[serde(default = "float32")]
    dtype: String,
    /// Training only; the vectors are made without it.
    #[serde(default)]
    #[allow(dead_code)]
    dropout_rate: f64,
    #[serde(default)]
    logits_via_embedding: bool,
    #[serde(default = "gated_gelu")]
    mlp_activations: Vec<String>,
    #[serde(default = "buckets")]
    relpos_num_buckets: usize,
    #[serde(default = "distance")]
    relpos_max_distance: usize,
    #[serde(default)]
    relpos_bidirectional: Bidirectional,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "tanh")]
    gelu: String,
    #[serde(default)]
    begin_token_id: i64,
    #[serde(default = "end")]
    end_token_id: i64,
}

/// Which stacks tell later tokens from earlier ones.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bidirectional {
    encoder: bool,
    decoder: bool,
}

impl Default for Bidirectional {
    fn default() -> Self {
        Self { encoder: true, decoder: false }
    }
}

fn one() -> f64 {
    1.0
}

fn float32() -> String {
    "float32".into()
}

fn gated_gelu() -> Vec<String> {
    vec!["gelu".into(), "linear".into()]
}

fn buckets() -> usize {
    32
}

fn distance() -> usize {
    128
}

fn epsilon() -> f64 {
    1e-6
}

fn tanh() -> String {
    "tanh approximation".into()
}

fn end() -> i64 {
    1
}

impl T5Settings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<T5Config> {
        vectors.require("dtype", &self.dtype, &float32())?;
        vectors.require("mlp_activations", &self.mlp_activations, &gated_gelu())?;
        let bidirectional = Bidirectional::default();
        vectors.require("relpos_bidirectional", &self.relpos_bidirectional, &bidirectional)?;
        vectors.require("gelu", &self.gelu, &tanh())?;
        let lora = |rank, scale, modules| lora(vectors, rank, scale, modules);
        Ok(T5Config {
            width: Some(self.emb_dim),
            num_heads: Some(self.num_heads),
            head_width: Some(self.head_dim),
            encoder_depth: Some(self.num_encoder_layers),
            decoder_depth: Some(self.num_decoder_layers),
            mlp_width: Some(self.mlp_dim),
            num_position_buckets: self.relpos_num_buckets,
            max_distance_tokens: self.relpos_max_distance,
            norm_epsilon: self.layer_norm_eps,
            tied_output: self.logits_via_embedding,
            dropout: 0.0,
            encoder_lora: lora(
                self.encoder_lora_rank,
                self.encoder_lora_scale,
                &self.encoder_lora_modules,
            )?,
            decoder_lora: lora(
                self.decoder_lora_rank,
                self.decoder_lora_scale,
                &self.decoder_lora_modules,
            )?,
            trained: Trained::All,
            ..T5Config::default()
        })
    }

    /// What the model must know of the vocabulary.
    pub(super) fn vocabulary(&self) -> Vocabulary {
        let (size, begin, end) = (self.vocab_size, self.begin_token_id, self.end_token_id);
        Vocabulary { size, pad: 0, begin, end }
    }
}

/// Adapters of a stack, on the projections that are named like `q,v`; `None` where there are none.
fn lora(vectors: &Vectors, rank: i64, scale: f64, modules: &str) -> Result<Option<LoraConfig>> {
    let names = modules.split(',').map(str::trim).filter(|name| !name.is_empty());
    let projection = |name| match name {
        "q" => Ok(Projection::Query),
        "k" => Ok(Projection::Key),
        "v" => Ok(Projection::Value),
        "o" => Ok(Projection::Output),
        _ => {
            let problem = format!("`{name}` of its LoRA modules is no projection");
            Err(vectors.problem(problem, "Projections are `q`, `k`, `v` and `o`."))
        }
    };
    let projections = names.map(projection).collect::<Result<Vec<_>>>()?;
    let rank = usize::try_from(rank).unwrap_or(0);
    Ok((rank > 0).then_some(LoraConfig { rank, scale, dropout: 0.0, projections }))
}

/// Texts after visual tokens, with and without a context between.
pub(super) fn t5(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: T5Settings = vectors.config()?;
    let mut model = settings.config(vectors)?.init_t5(settings.vocabulary(), device);
    vectors.load(&mut model, &t5::JAX, "param/t5_module/")?;
    let visual: Tensor<3> = vectors.input("visual_features", device)?;
    let text: Tensor<2, Int> = vectors.integers("text_tokens", device)?;
    let run = |case: &str, context| {
        let prefix = model.prefix(visual.clone(), context);
        let encoded = model.encode(&prefix);
        let state = model.begin_encoded(encoded.clone(), prefix.real);
        let features = model.read_text(state, text.clone());
        let logits = model.logits(features.clone());
        let produced =
            |name, values| Produced::float(format!("{case}.{name}"), values, Tolerance::FEATURES);
        [produced("encoded", encoded), produced("feat", features), produced("logits", logits)]
    };
    let mut produced = Vec::from(run("noctx", None));
    if vectors.has_input("context_tokens") {
        produced.extend(run("ctx", Some(vectors.integers("context_tokens", device)?)));
    }
    // A file need not have the encoder's output of both cases.
    produced.retain(|one| vectors.output_names().any(|name| name == one.name));
    Ok(produced)
}

/// Options of Hugging Face's `T5Config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HuggingFaceSettings {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: usize,
    num_heads: usize,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default = "distance")]
    relative_attention_max_distance: usize,
    #[serde(default = "epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "gated")]
    feed_forward_proj: String,
}

fn gated() -> String {
    "gated-gelu".into()
}

/// A T5 of Hugging Face: words or embeddings in; logits of a given text, and a text that it writes.
pub(super) fn hugging_face(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: HuggingFaceSettings = vectors.config()?;
    vectors.require("feed_forward_proj", &settings.feed_forward_proj, &gated())?;
    let config = T5Config {
        width: Some(settings.d_model),
        num_heads: Some(settings.num_heads),
        head_width: Some(settings.d_kv),
        encoder_depth: Some(settings.num_layers),
        decoder_depth: Some(settings.num_decoder_layers),
        mlp_width: Some(settings.d_ff),
        num_position_buckets: settings.relative_attention_num_buckets,
        max_distance_tokens: settings.relative_attention_max_distance,
        norm_epsilon: settings.layer_norm_epsilon,
        tied_output: settings.tie_word_embeddings,
        masking: Masking::Columns,
        dropout: 0.0,
        encoder_lora: None,
        decoder_lora: None,
        trained: Trained::All,
        ..T5Config::default()
    };
    let vocabulary = Vocabulary { size: settings.vocab_size, pad: 0, begin: 0, end: 1 };
    let mut model = config.init_t5(vocabulary, device);
    vectors.load(&mut model, &t5::HUGGING_FACE, "")?;

    let real = vectors.input::<2>("attention_mask", device)?;
    let text: Tensor<2, Int> = vectors.integers("decoder_input_ids", device)?;
    let encode = |embeddings| model.encode(&Prefix { embeddings, real: Some(real.clone()) });
    let begin = |encoded| model.begin_encoded(encoded, Some(real.clone()));
    let logits = |encoded| model.logits(model.read_text(begin(encoded), text.clone()));

    let encoded = encode(model.embed(vectors.integers("input_ids", device)?));
    let given = encode(vectors.input::<3>("inputs_embeds", device)?);
    let float = |name, values| Produced::float(name, values, Tolerance::FEATURES);
    let [_, length] = vectors.output("greedy_ids")?.shape().dims();
    Ok(vec![
        float("encoder_last_hidden_state", encoded.clone()),
        float("logits", logits(encoded.clone())),
        float("logits_from_embeds", logits(given)),
        Produced::integers("greedy_ids", greedy(&model, begin(encoded), vocabulary, length)),
    ])
}

/// Hugging Face's greedy search, which forbids nothing and pads what has ended: `[R, length]`, or
/// shorter where all texts end before.
fn greedy(model: &T5, mut state: T5State, vocabulary: Vocabulary, length: usize) -> Tensor<2, Int> {
    let device = model.device();
    let mut newest = Tensor::<2, Int>::full([state.num_rows(), 1], vocabulary.begin, &device);
    let mut ended = newest.zeros_like().bool();
    let mut tokens = vec![newest.clone()];
    while tokens.len() < length && !ended.clone().all().into_scalar::<bool>() {
        let logits = model.logits(model.read(&mut state, newest));
        newest = logits.argmax(2).squeeze_dim::<2>(2).mask_fill(ended.clone(), vocabulary.pad);
        ended = ended.bool_or(newest.clone().equal_elem(vocabulary.end));
        tokens.push(newest.clone());
    }
    Tensor::cat(tokens, 1)
}

/// Settings of the projection of visual tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VisualProjectionSettings {
    pub(super) emb_dim: usize,
    #[serde(default = "yes")]
    pub(super) use_projection_ln: bool,
}

fn yes() -> bool {
    true
}

/// `in/x` → `out/y`.
pub(super) fn visual_projection(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: VisualProjectionSettings = vectors.config()?;
    let x: Tensor<3> = vectors.input("x", device)?;
    let [_, _, inputs] = x.dims();
    let (outputs, normalised) = (settings.emb_dim, settings.use_projection_ln);
    let mut projection = VisualProjection::new(inputs, outputs, normalised, device);
    vectors.load(&mut projection, &t5::VISUAL_PROJECTION_JAX, "param/")?;
    Ok(vec![Produced::float("y", projection.forward(x), Tolerance::FEATURES)])
}

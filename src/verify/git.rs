//! The GIT-style decoder.

use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::language::git::{GitConfig, GitDecoder};
use crate::model::language::hidden_states::{FusionMethod, HiddenFusion};
use crate::weights::git;

/// Settings of the reference's decoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitSettings {
    /// The whole model has it beside the decoder's settings.
    #[serde(default)]
    pub(super) vocab_size: usize,
    hidden_size: usize,
    num_heads: usize,
    max_caption_length: usize,
    num_hidden_layers: usize,
    intermediate_size: Option<usize>,
    #[serde(default)]
    ln_eps: NormSettings,
    /// Of the file, not of the module: its outputs say which of these they want.
    #[serde(default)]
    #[allow(dead_code)]
    fuse_methods: Vec<String>,
}

/// Epsilons of the norms, which no published model has otherwise.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct NormSettings {
    embedding: f64,
    visual_projection: f64,
    attention_output: f64,
    mlp_output: f64,
}

impl Default for NormSettings {
    fn default() -> Self {
        Self { embedding: 1e-8, visual_projection: 1e-5, attention_output: 1e-5, mlp_output: 1e-12 }
    }
}

/// BERT's hidden width of the feed-forward, as a multiple of the width.
const MLP_RATIO: usize = 4;

impl GitSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<GitConfig> {
        vectors.require("ln_eps", &self.ln_eps, &NormSettings::default())?;
        let config = GitConfig {
            width: self.hidden_size,
            depth: self.num_hidden_layers,
            num_heads: self.num_heads,
            mlp_width: self.intermediate_size.unwrap_or(MLP_RATIO * self.hidden_size),
            max_positions: self.max_caption_length,
            ..GitConfig::default()
        };
        Ok(config)
    }
}

/// A fusion as the reference writes it: `sum:-1,-2`, `concat:1,2`.
pub(super) fn fusion(vectors: &Vectors, text: &str, num_states: usize) -> Result<HiddenFusion> {
    let unknown = |problem: String| {
        vectors.problem(problem, "Such a fusion is `sum:` or `concat:` and numbers of layers.")
    };
    let (method, layers) =
        text.split_once(':').ok_or_else(|| unknown(format!("`{text}` has no `:`")))?;
    let method = match method {
        "sum" => FusionMethod::Sum,
        "concat" => FusionMethod::Concat,
        other => return Err(unknown(format!("`{other}` is no method of fusion"))),
    };
    let layers = layers.split(',').map(|layer| layer.trim().parse::<i64>());
    let layers: std::result::Result<Vec<_>, _> = layers.collect();
    let layers =
        layers.map_err(|error| unknown(format!("`{text}` is no list of layers: {error}")))?;
    let fusion = HiddenFusion { method, layers };
    match fusion.validate(num_states).into_iter().next() {
        Some(problem) => Err(unknown(problem.problem)),
        None => Ok(fusion),
    }
}

/// What the decoder reads.
struct Inputs {
    visual: Tensor<3>,
    context: Option<Tensor<2, Int>>,
    text: Tensor<2, Int>,
}

/// `in/visual_features`, `in/text_tokens` and, for outputs `ctx.…`, `in/context_tokens` →
/// `out/[no]ctx.{logits, feat, feat_with_visual, feat_fuse.…}`.
pub(super) fn decoder(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: GitSettings = vectors.config()?;
    let config = settings.config(vectors)?;
    let visual = vectors.input::<3>("visual_features", device)?;
    let text = vectors.integers::<2>("text_tokens", device)?;
    // Of the vocabulary, the decoder asks for padding only.
    let vocabulary = Vocabulary { size: settings.vocab_size, pad: 0, begin: 0, end: 0 };
    let build = |config: &GitConfig| -> Result<GitDecoder> {
        let mut decoder = config.init(visual.dims()[2], vocabulary, device);
        vectors.load(&mut decoder, &git::JAX, "param/")?;
        Ok(decoder)
    };
    let plain = build(&config)?;
    let mut produced = Vec::new();
    for name in vectors.output_names() {
        let Some((case, kind)) = name.split_once('.') else { continue };
        let context = match case {
            "ctx" => Some(vectors.integers::<2>("context_tokens", device)?),
            "noctx" => None,
            _ => continue,
        };
        let inputs = Inputs { visual: visual.clone(), context, text: text.clone() };
        let output = match kind.strip_prefix("feat_fuse.") {
            Some(method) => {
                let fusion = fusion(vectors, method, config.depth + 1)?;
                fused(&build(&GitConfig { fusion, ..config.clone() })?, inputs)
            }
            None => match output(&plain, kind, inputs) {
                Some(output) => output,
                None => continue,
            },
        };
        produced.push(Produced::float(name, output, Tolerance::FEATURES));
    }
    Ok(produced)
}

/// An output of the plain decoder, where it has one of this kind.
fn output(decoder: &GitDecoder, kind: &str, inputs: Inputs) -> Option<Tensor<3>> {
    let Inputs { visual, context, text } = inputs;
    match kind {
        "feat_with_visual" => {
            let (mut state, prefix) = decoder.begin_with_features(visual, context);
            Some(Tensor::cat(vec![prefix, decoder.read(&mut state, text)], 1))
        }
        "feat" | "logits" => {
            let features = decoder.read(&mut decoder.begin(visual, context), text);
            Some(if kind == "logits" { decoder.logits(features) } else { features })
        }
        _ => None,
    }
}

/// What the point head reads.
fn fused(decoder: &GitDecoder, inputs: Inputs) -> Tensor<3> {
    let Inputs { visual, context, text } = inputs;
    let features = decoder.read(&mut decoder.begin(visual, context), text);
    decoder.point_features(features.unsqueeze_dim(0)).squeeze_dim(0)
}

//! The mask decoder and the mask adapter.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::two_way::TwoWaySettings;
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::ConfigProblem;
use crate::model::heads::masks::mask_adapter::MaskAdapterConfig;
use crate::model::heads::masks::mask_decoder::{Candidates, MaskDecoderConfig};
use crate::weights::masks;

/// An error where a module cannot be built.
pub(super) fn check(vectors: &Vectors, problems: Vec<ConfigProblem>) -> Result<()> {
    let first = problems.into_iter().next();
    first.map_or(Ok(()), |ConfigProblem { key, problem, allowed }| {
        Err(vectors.problem(format!("`{key}`: {problem}"), format!("Allowed: {allowed}.")))
    })
}

/// Settings of the reference's mask decoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecoderSettings {
    num_multimask_outputs: usize,
    iou_head_depth: usize,
    iou_head_hidden_dim: usize,
    transformer_dim: usize,
    #[serde(default)]
    transformer: TwoWaySettings,
}

impl DecoderSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<MaskDecoderConfig> {
        let defaults = MaskDecoderConfig::default();
        let depth = self.transformer.depth.unwrap_or(defaults.depth);
        self.transformer.check(vectors, depth, self.transformer_dim)?;
        Ok(MaskDecoderConfig {
            width: self.transformer_dim,
            depth,
            num_heads: self.transformer.num_heads,
            mlp_width: self.transformer.mlp_dim,
            cross_attention_reduction: self.transformer.attention_downsample_rate,
            num_multiple: self.num_multimask_outputs,
            // The reference has one width for both.
            hyper_width: self.iou_head_hidden_dim,
            iou_depth: self.iou_head_depth,
            iou_width: self.iou_head_hidden_dim,
        })
    }
}

/// Masks of one image → `out/multi.*` and `out/single.*`.
pub(super) fn decoder(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let config = vectors.config::<DecoderSettings>()?.config(vectors)?;
    check(vectors, config.validate())?;
    let mut decoder = config.init(device);
    vectors.load(&mut decoder, &masks::DECODER_JAX, "param/")?;

    let channels_first = |map: Tensor<3>| map.permute([2, 0, 1]);
    let image = channels_first(vectors.input("image_embeddings", device)?).unsqueeze::<4>();
    let positions = channels_first(vectors.input("image_pe", device)?);
    let prompts = vectors.input::<3>("sparse_prompt_embeddings", device)?.unsqueeze::<4>();
    let dense: Tensor<2> = vectors.input("dense_prompt_embeddings", device)?;
    let [rows, width] = dense.dims();
    let dense = dense.reshape([1, rows, width, 1, 1]);
    let mut produced = Vec::new();
    for (name, candidates) in [("multi", Candidates::Several), ("single", Candidates::One)] {
        let found = decoder.forward(
            image.clone(),
            positions.clone(),
            prompts.clone(),
            dense.clone(),
            candidates,
        );
        let logits = found.logits.squeeze_dim::<4>(0);
        let ious = found.ious.squeeze_dim::<2>(0);
        produced.push(Produced::float(format!("{name}.masks"), logits, Tolerance::FEATURES));
        produced.push(Produced::float(format!("{name}.iou"), ious, Tolerance::FEATURES));
    }
    Ok(produced)
}

/// Settings of the reference's mask adapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdapterSettings {
    depth: usize,
    input_projection: bool,
    transformer_dim: usize,
    num_outputs: usize,
    /// Of a hidden layer that the reference does not build.
    #[serde(default)]
    #[allow(dead_code)]
    head_hidden_dim: usize,
    output_dim: usize,
    gating: bool,
    #[serde(default)]
    transformer: TwoWaySettings,
}

impl AdapterSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<MaskAdapterConfig> {
        self.transformer.check(vectors, self.depth, self.transformer_dim)?;
        // The reference cannot run with another width either.
        vectors.require("output_dim", &self.output_dim, &self.transformer_dim)?;
        Ok(MaskAdapterConfig {
            width: self.transformer_dim,
            depth: self.depth,
            num_heads: self.transformer.num_heads,
            mlp_width: self.transformer.mlp_dim,
            cross_attention_reduction: self.transformer.attention_downsample_rate,
            num_tokens: self.num_outputs,
            projections: self.input_projection,
            gate: self.gating,
        })
    }
}

/// `in/sparse_embedding`, `in/visual_features` and `in/textual_features` → `out/out`.
pub(super) fn adapter(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let config = vectors.config::<AdapterSettings>()?.config(vectors)?;
    let boxes: Tensor<4> = vectors.input("sparse_embedding", device)?;
    let visual: Tensor<4> = vectors.input("visual_features", device)?;
    let text: Tensor<4> = vectors.input("textual_features", device)?;
    let [visual_width, text_width] = [visual.dims()[3], text.dims()[3]];
    check(vectors, config.validate(visual_width, text_width))?;
    let mut adapter = config.init(visual_width, text_width, device);
    vectors.load(&mut adapter, &masks::ADAPTER_JAX, "param/")?;
    let corrected = adapter.forward(boxes, visual, text);
    Ok(vec![Produced::float("out", corrected, Tolerance::FEATURES)])
}

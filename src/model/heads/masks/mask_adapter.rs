//! Mask adapter (`spec/model.md` §11.2): corrects the tokens of a box by what the language model has
//! seen and read, through a gate that starts closed.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::dense::dense;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::mixed_precision::linear;
use crate::model::prompt::two_way::{CROSS_ATTENTION_REDUCTION, TwoWayConfig, TwoWayTransformer};

/// Sizes of the mask adapter; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskAdapterConfig {
    /// Width of the tokens that are corrected.
    pub width: usize,
    /// Number of two-way layers.
    pub depth: usize,
    /// Number of attention heads; divides `width / cross_attention_reduction`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Attention between tokens and what they read works on `width` divided by this.
    pub cross_attention_reduction: usize,
    /// Number of tokens that are corrected: 2 for the corners of a box.
    pub num_tokens: usize,
    /// Whether features are brought to `width`, each kind by a layer norm and a linear layer; without
    /// them they must have it.
    pub projections: bool,
    /// Whether corrections pass a learned gate that starts closed.
    pub gate: bool,
}

impl Default for MaskAdapterConfig {
    fn default() -> Self {
        Self {
            width: 256,
            depth: 2,
            num_heads: 8,
            mlp_width: 2048,
            cross_attention_reduction: CROSS_ATTENTION_REDUCTION,
            num_tokens: 2,
            projections: true,
            gate: true,
        }
    }
}

impl MaskAdapterConfig {
    /// What cannot be built, with keys relative to this table, for the features of
    /// [`Self::init`].
    pub fn validate(&self, visual_width: usize, text_width: usize) -> Vec<ConfigProblem> {
        let mut problems = self.two_way().validate();
        if !self.projections && [visual_width, text_width] != [self.width; 2] {
            problems.push(ConfigProblem {
                key: "projections".into(),
                problem: format!(
                    "nothing brings features of {visual_width} and {text_width} to {}",
                    self.width
                ),
                allowed: "true".into(),
            });
        }
        problems
    }

    fn two_way(&self) -> TwoWayConfig {
        TwoWayConfig {
            depth: self.depth,
            width: self.width,
            num_heads: self.num_heads,
            mlp_width: self.mlp_width,
            cross_attention_reduction: self.cross_attention_reduction,
        }
    }

    /// Builds the adapter on `device`, for visual tokens of `visual_width` and text features of
    /// `text_width`.
    pub fn init(&self, visual_width: usize, text_width: usize, device: &Device) -> MaskAdapter {
        let shape = [self.num_tokens, self.width];
        let tokens = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
        let projection = |from| self.projections.then(|| Projection::new(from, self.width, device));
        MaskAdapter {
            tokens: Param::from_tensor(tokens),
            visual_projection: projection(visual_width),
            text_projection: projection(text_width),
            two_way: self.two_way().init(device),
            gate: self.gate.then(|| Param::from_tensor(Tensor::zeros(shape, device))),
        }
    }
}

/// Corrects the tokens of boxes.
#[derive(Module, Debug)]
pub struct MaskAdapter {
    /// `[K, D]`
    tokens: Param<Tensor<2>>,
    visual_projection: Option<Projection>,
    text_projection: Option<Projection>,
    two_way: TwoWayTransformer,
    /// Its hyperbolic tangent is what passes, `[K, D]`.
    gate: Option<Param<Tensor<2>>>,
}

impl MaskAdapter {
    /// Padding of the text is read like the rest of it (Quirk 12).
    ///
    /// # Shapes
    /// - `boxes`: `[B, N, K, D]`, the tokens to correct
    /// - `visual`: `[B, N, Q, V]`, what the language model saw
    /// - `text`: `[B, N, L, T]`, features of what it read
    /// - result: `[B, N, K, D]`
    pub fn forward(&self, boxes: Tensor<4>, visual: Tensor<4>, text: Tensor<4>) -> Tensor<4> {
        let [batch, rows, _, _] = visual.dims();
        let [num_tokens, width] = self.tokens.dims();
        let count = batch * rows;
        let visual = project(self.visual_projection.as_ref(), visual);
        let text = project(self.text_projection.as_ref(), text);
        let keys = Tensor::cat(vec![visual, text], 2);
        let [_, _, num_keys, _] = keys.dims();
        let keys = keys.reshape([count, num_keys, width]);
        // What was seen and read has no place in the image.
        let nowhere = Tensor::zeros([1, num_keys, width], &keys.device());
        let queries = self.tokens.val().unsqueeze::<3>().expand([count, num_tokens, width]);
        let (corrections, _) = self.two_way.forward(queries, keys, nowhere);
        let corrections = match &self.gate {
            Some(gate) => corrections * gate.val().tanh().unsqueeze(),
            None => corrections,
        };
        boxes + corrections.reshape([batch, rows, num_tokens, width])
    }
}

/// Brings features to the adapter's width.
#[derive(Module, Debug)]
struct Projection {
    norm: LayerNorm,
    linear: Linear,
}

impl Projection {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        let norm = LayerNormConfig::new(from).with_epsilon(1e-6).init(device);
        Self { norm, linear: dense(from, to, device) }
    }
}

fn project(projection: Option<&Projection>, features: Tensor<4>) -> Tensor<4> {
    match projection {
        Some(projection) => linear(&projection.linear, projection.norm.forward(features)),
        None => features,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn small() -> MaskAdapterConfig {
        MaskAdapterConfig { width: 8, depth: 1, num_heads: 2, mlp_width: 6, ..Default::default() }
    }

    #[test]
    fn a_new_gate_lets_nothing_pass() {
        let device = Device::flex();
        let boxes = Tensor::<4>::random([2, 3, 2, 8], Distribution::Default, &device);
        let (visual, text) =
            (Tensor::ones([2, 3, 4, 5], &device), Tensor::ones([2, 3, 1, 7], &device));
        let corrected = |gate| {
            let adapter = MaskAdapterConfig { gate, ..small() }.init(5, 7, &device);
            adapter.forward(boxes.clone(), visual.clone(), text.clone())
        };
        let changed = |corrected: Tensor<4>| -> f32 {
            (corrected - boxes.clone()).abs().max().into_scalar::<f32>()
        };
        assert_eq!(changed(corrected(true)), 0.0);
        assert!(changed(corrected(false)) > 0.0);
    }

    #[test]
    fn without_projections_features_must_have_the_width() {
        let plain = MaskAdapterConfig { projections: false, ..small() };
        assert!(plain.validate(8, 8).is_empty());
        assert_eq!(plain.validate(8, 7)[0].key, "projections");
        assert!(small().validate(8, 7).is_empty());
    }
}

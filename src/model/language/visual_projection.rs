//! Visual tokens to the width of a language model (`spec/model.md` §8.2).

use burn::module::{Initializer, Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::mixed_precision::linear;

/// The reference's kernels start from N(0, 0.02).
const INITIAL: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

/// A linear layer, then a layer norm.
#[derive(Module, Debug)]
pub struct VisualProjection {
    linear: Linear,
    norm: Option<LayerNorm>,
}

impl VisualProjection {
    /// From `inputs` to `outputs` channels; `normalised`: with the layer norm.
    pub fn new(inputs: usize, outputs: usize, normalised: bool, device: &Device) -> Self {
        let bias: Param<Tensor<1>> = Initializer::Zeros.init([outputs], device);
        let norm = || LayerNormConfig::new(outputs).with_epsilon(1e-5).init(device);
        Self {
            linear: Linear { weight: INITIAL.init([inputs, outputs], device), bias: Some(bias) },
            norm: normalised.then(norm),
        }
    }

    /// # Shapes
    /// - `visual`: `[R, Q, inputs]`
    /// - output: `[R, Q, outputs]`
    pub fn forward(&self, visual: Tensor<3>) -> Tensor<3> {
        let projected = linear(&self.linear, visual);
        match &self.norm {
            Some(norm) => norm.forward(projected),
            None => projected,
        }
    }
}

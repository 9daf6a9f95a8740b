//! T5's attention: no scale, no biases, adapters where the configuration wants them.
//!
//! Written by hand, not with Burn's fused one: see the GIT-style decoder's layer.

use burn::module::{Initializer, Module};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::config::T5Config;
use super::dropout::LengthDropout;
use crate::model::attention::attend_with_bias;
use crate::model::language::key_value::{KeyValue, split_heads};
use crate::model::language::lora::{LoraConfig, LoraLinear, Projection};

/// One attention, over its own rows or those of the encoder.
#[derive(Module, Debug)]
pub(super) struct T5Attention {
    query: LoraLinear,
    key: LoraLinear,
    value: LoraLinear,
    out: LoraLinear,
    dropout: LengthDropout,
    #[module(skip)]
    num_heads: usize,
}

impl T5Attention {
    pub(super) fn new(config: &T5Config, lora: Option<&LoraConfig>, device: &Device) -> Self {
        let size = config.dimensions();
        let inner = size.num_heads * size.head_width;
        let projection = |projection, inputs: usize, outputs: usize| {
            // The scale that scores lack is in the initial queries.
            let scale = if projection == Projection::Query { size.head_width } else { 1 };
            let std = ((inputs * scale) as f64).powf(-0.5);
            let initial = Initializer::Normal { mean: 0.0, std };
            let base = Linear { weight: initial.init([inputs, outputs], device), bias: None };
            match lora.filter(|lora| lora.adapts(projection)) {
                Some(lora) => lora.adapt(base, &initial),
                None => base.into(),
            }
        };
        Self {
            query: projection(Projection::Query, size.width, inner),
            key: projection(Projection::Key, size.width, inner),
            value: projection(Projection::Value, size.width, inner),
            out: projection(Projection::Output, inner, size.width),
            dropout: LengthDropout::new(config.dropout),
            num_heads: size.num_heads,
        }
    }

    pub(super) fn merge_adapters(self) -> Self {
        Self {
            query: self.query.merge(),
            key: self.key.merge(),
            value: self.value.merge(),
            out: self.out.merge(),
            ..self
        }
    }

    /// Keys and values of `rows` `[R, S, D]`.
    pub(super) fn remember(&self, rows: Tensor<3>) -> KeyValue {
        KeyValue::new(
            split_heads(self.key.forward(rows.clone()), self.num_heads),
            split_heads(self.value.forward(rows), self.num_heads),
        )
    }

    /// `rows` look at `memory`.
    ///
    /// # Shapes
    /// - `rows`, output: `[R, L, D]`
    /// - `bias`: `[R or 1, heads or 1, L or 1, S]`, added to the scores
    pub(super) fn forward(
        &self,
        rows: Tensor<3>,
        memory: &KeyValue,
        bias: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let query = split_heads(self.query.forward(rows), self.num_heads);
        let drop = |weights| self.dropout.forward(weights);
        let mixed = attend_with_bias(query, memory.keys(), memory.values(), bias, drop);
        self.out.forward(mixed.swap_dims(1, 2).flatten::<3>(2, 3))
    }
}

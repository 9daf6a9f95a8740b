//! One layer of the GIT-style decoder: attention, then feed-forward, each with the norm after its
//! residual.
//!
//! Attention is written by hand, not with Burn's fused one: under autodiff that one is decomposed
//! into the same operations at a higher price.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};

use super::{GitConfig, layer_norm};
use crate::model::activation::Activation;
use crate::model::attention::attend_with_bias;
use crate::model::kernels::dropout::dropout;
use crate::model::kernels::layer_norm::LayerNorm;
use crate::model::language::key_value::{KeyValue, split_heads};
use crate::model::matrix_product::apply;

/// One layer.
#[derive(Module, Debug)]
pub(super) struct GitLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    mlp_hidden: Linear,
    mlp_output: Linear,
    mlp_norm: LayerNorm,
    dropout: Dropout,
    #[module(skip)]
    num_heads: usize,
    #[module(skip)]
    activation: Activation,
}

impl GitLayer {
    pub(super) fn new(config: &GitConfig, device: &Device) -> Self {
        let square = || config.linear(config.width, config.width, device);
        Self {
            query: square(),
            key: square(),
            value: square(),
            attention_output: square(),
            attention_norm: layer_norm(config.width, 1e-5, device),
            mlp_hidden: config.linear(config.width, config.mlp_width, device),
            mlp_output: config.linear(config.mlp_width, config.width, device),
            mlp_norm: layer_norm(config.width, 1e-12, device),
            dropout: DropoutConfig::new(config.dropout).init(),
            num_heads: config.num_heads,
            activation: config.activation,
        }
    }

    /// Keys and values of `rows` `[R, S, D]`.
    pub(super) fn remember(&self, rows: Tensor<3>) -> KeyValue {
        KeyValue::new(
            split_heads(apply(&self.key, rows.clone()), self.num_heads),
            split_heads(apply(&self.value, rows), self.num_heads),
        )
    }

    /// `rows` look at `memory` where `mask` does not hide it.
    ///
    /// # Shapes
    /// - `rows`, output: `[R, L, D]`
    /// - `mask`: `[R or 1, 1, L or 1, S]`, added to the scores
    pub(super) fn forward(
        &self,
        rows: Tensor<3>,
        memory: &KeyValue,
        mask: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let attended = self.attend(rows.clone(), memory, mask);
        let rows = self.attention_norm.forward(rows + dropout(&self.dropout, attended));
        let hidden = self.activation.forward(apply(&self.mlp_hidden, rows.clone()));
        let hidden = dropout(&self.dropout, apply(&self.mlp_output, hidden));
        self.mlp_norm.forward(rows + hidden)
    }

    /// Shapes as in [`GitLayer::forward`].
    fn attend(&self, rows: Tensor<3>, memory: &KeyValue, mask: Option<Tensor<4>>) -> Tensor<3> {
        let head_width = rows.dims()[2] / self.num_heads;
        // Scaling queries rather than scores touches fewer numbers.
        let query = apply(&self.query, rows).div_scalar((head_width as f64).sqrt());
        let query = split_heads(query, self.num_heads);
        let drop = |weights| dropout(&self.dropout, weights);
        let mixed = attend_with_bias(query, memory.keys(), memory.values(), mask, drop);
        let mixed = mixed.swap_dims(1, 2);
        apply(&self.attention_output, mixed.flatten::<3>(2, 3))
    }
}

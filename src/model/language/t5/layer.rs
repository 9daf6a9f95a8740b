//! The layers of both stacks. Every sub-layer reads its own norm of the rows, and adds to them.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::attention::T5Attention;
use super::config::T5Config;
use super::dropout::LengthDropout;
use crate::model::activation::gelu_tanh;
use crate::model::dense::dense_without_bias;
use crate::model::language::key_value::{KeyValue, RowChange};
use crate::model::matrix_product::apply;

/// A norm by the root mean square alone.
pub(super) fn norm(config: &T5Config, device: &Device) -> RmsNorm {
    RmsNormConfig::new(config.dimensions().width).with_epsilon(config.norm_epsilon).init(device)
}

/// `(gelu(x · gate) ⊙ x · expand) · contract`.
#[derive(Module, Debug)]
struct FeedForward {
    gate: Linear,
    expand: Linear,
    contract: Linear,
    dropout: LengthDropout,
}

impl FeedForward {
    fn new(config: &T5Config, device: &Device) -> Self {
        let size = config.dimensions();
        Self {
            gate: dense_without_bias(size.width, size.mlp_width, device),
            expand: dense_without_bias(size.width, size.mlp_width, device),
            contract: dense_without_bias(size.mlp_width, size.width, device),
            dropout: LengthDropout::new(config.dropout),
        }
    }

    /// `[R, L, D]` → `[R, L, D]`.
    fn forward(&self, rows: Tensor<3>) -> Tensor<3> {
        let gate = gelu_tanh(apply(&self.gate, rows.clone()));
        let hidden = self.dropout.forward(gate * apply(&self.expand, rows));
        apply(&self.contract, hidden)
    }
}

/// A layer of the encoder.
#[derive(Module, Debug)]
pub(super) struct EncoderLayer {
    attention_norm: RmsNorm,
    attention: T5Attention,
    mlp_norm: RmsNorm,
    mlp: FeedForward,
    dropout: LengthDropout,
}

impl EncoderLayer {
    pub(super) fn new(config: &T5Config, device: &Device) -> Self {
        Self {
            attention_norm: norm(config, device),
            attention: T5Attention::new(config, config.encoder_lora.as_ref(), device),
            mlp_norm: norm(config, device),
            mlp: FeedForward::new(config, device),
            dropout: LengthDropout::new(config.dropout),
        }
    }

    pub(super) fn merge_adapters(self) -> Self {
        Self { attention: self.attention.merge_adapters(), ..self }
    }

    /// # Shapes
    /// - `rows`, output: `[R, S, D]`
    /// - `bias`: `[R or 1, heads, S, S]`
    pub(super) fn forward(&self, rows: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let normed = self.attention_norm.forward(rows.clone());
        let memory = self.attention.remember(normed.clone());
        let attended = self.attention.forward(normed, &memory, Some(bias));
        let rows = rows + self.dropout.forward(attended);
        let hidden = self.mlp.forward(self.mlp_norm.forward(rows.clone()));
        rows + self.dropout.forward(hidden)
    }
}

/// A layer of the decoder.
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    self_norm: RmsNorm,
    self_attention: T5Attention,
    cross_norm: RmsNorm,
    cross_attention: T5Attention,
    mlp_norm: RmsNorm,
    mlp: FeedForward,
    dropout: LengthDropout,
}

/// What a decoder layer remembers.
#[derive(Debug, Clone)]
pub(super) struct LayerMemory {
    /// Of the text up to now; `None` before the first token.
    text: Option<KeyValue>,
    /// Of the encoder's output.
    encoded: KeyValue,
}

impl LayerMemory {
    /// With other rows.
    pub(super) fn change_rows(self, change: &RowChange) -> Self {
        Self {
            text: self.text.map(|text| text.change_rows(change)),
            encoded: self.encoded.change_rows(change),
        }
    }

    /// With other texts after the same prefixes.
    pub(super) fn change_texts(self, change: &RowChange) -> Self {
        Self { text: self.text.map(|text| text.change_rows(change)), ..self }
    }
}

impl DecoderLayer {
    pub(super) fn new(config: &T5Config, device: &Device) -> Self {
        let attention = || T5Attention::new(config, config.decoder_lora.as_ref(), device);
        Self {
            self_norm: norm(config, device),
            self_attention: attention(),
            cross_norm: norm(config, device),
            cross_attention: attention(),
            mlp_norm: norm(config, device),
            mlp: FeedForward::new(config, device),
            dropout: LengthDropout::new(config.dropout),
        }
    }

    pub(super) fn merge_adapters(self) -> Self {
        Self {
            self_attention: self.self_attention.merge_adapters(),
            cross_attention: self.cross_attention.merge_adapters(),
            ..self
        }
    }

    /// The memory of a text that is about to begin; `encoded`: `[R, S, D]`.
    pub(super) fn begin(&self, encoded: Tensor<3>) -> LayerMemory {
        LayerMemory { text: None, encoded: self.cross_attention.remember(encoded) }
    }

    /// Adds `rows` to the memory, and lets them look at all of it.
    ///
    /// # Shapes
    /// - `rows`, output: `[R, L, D]`
    /// - `bias`: `[R or 1, heads, L, T]`
    /// - `cross_mask`: `[R, 1, L or 1, S or 1]`
    pub(super) fn forward(
        &self,
        rows: Tensor<3>,
        memory: &mut LayerMemory,
        bias: Tensor<4>,
        cross_mask: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let normed = self.self_norm.forward(rows.clone());
        let read = self.self_attention.remember(normed.clone());
        let text = match memory.text.take() {
            Some(past) => past.append(read),
            None => read,
        };
        let attended = self.self_attention.forward(normed, &text, Some(bias));
        memory.text = Some(text);
        let rows = rows + self.dropout.forward(attended);

        let normed = self.cross_norm.forward(rows.clone());
        let attended = self.cross_attention.forward(normed, &memory.encoded, cross_mask);
        let rows = rows + self.dropout.forward(attended);

        let hidden = self.mlp.forward(self.mlp_norm.forward(rows.clone()));
        rows + self.dropout.forward(hidden)
    }
}

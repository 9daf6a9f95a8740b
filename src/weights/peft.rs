//! Names of T5's adapters in files of PEFT, beside the names that [`super::t5`] has for T5 itself.

use super::name_map::Kind::Linear;
use super::name_map::{Dialect, NameMap};

/// What all names in PEFT's files begin with.
pub const PREFIX: &str = "base_model.model.";

/// Adapters on Hugging Face's `T5ForConditionalGeneration`: `lora_A` `[rank, in]`, `lora_B`
/// `[out, rank]`.
pub const T5_ADAPTERS: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        (
            "encoder.block.{i}.layer.0.SelfAttention.q.lora_A",
            "encoder.layers.{i}.attention.query.lora.down",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.q.lora_B",
            "encoder.layers.{i}.attention.query.lora.up",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.k.lora_A",
            "encoder.layers.{i}.attention.key.lora.down",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.k.lora_B",
            "encoder.layers.{i}.attention.key.lora.up",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.v.lora_A",
            "encoder.layers.{i}.attention.value.lora.down",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.v.lora_B",
            "encoder.layers.{i}.attention.value.lora.up",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.o.lora_A",
            "encoder.layers.{i}.attention.out.lora.down",
            Linear,
        ),
        (
            "encoder.block.{i}.layer.0.SelfAttention.o.lora_B",
            "encoder.layers.{i}.attention.out.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.q.lora_A",
            "decoder.layers.{i}.self_attention.query.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.q.lora_B",
            "decoder.layers.{i}.self_attention.query.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.k.lora_A",
            "decoder.layers.{i}.self_attention.key.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.k.lora_B",
            "decoder.layers.{i}.self_attention.key.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.v.lora_A",
            "decoder.layers.{i}.self_attention.value.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.v.lora_B",
            "decoder.layers.{i}.self_attention.value.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.o.lora_A",
            "decoder.layers.{i}.self_attention.out.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.0.SelfAttention.o.lora_B",
            "decoder.layers.{i}.self_attention.out.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.q.lora_A",
            "decoder.layers.{i}.cross_attention.query.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.q.lora_B",
            "decoder.layers.{i}.cross_attention.query.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.k.lora_A",
            "decoder.layers.{i}.cross_attention.key.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.k.lora_B",
            "decoder.layers.{i}.cross_attention.key.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.v.lora_A",
            "decoder.layers.{i}.cross_attention.value.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.v.lora_B",
            "decoder.layers.{i}.cross_attention.value.lora.up",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.o.lora_A",
            "decoder.layers.{i}.cross_attention.out.lora.down",
            Linear,
        ),
        (
            "decoder.block.{i}.layer.1.EncDecAttention.o.lora_B",
            "decoder.layers.{i}.cross_attention.out.lora.up",
            Linear,
        ),
    ],
};

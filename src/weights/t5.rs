//! Names of T5 in public files, and of the projection of visual tokens before it (`spec/model.md` §8).

use super::name_map::Change::Permute;
use super::name_map::Kind::{Adapted, Embedding, Linear, Norm, Tensor};
use super::name_map::{Dialect, NameMap};

/// The reference in JAX: T5X, and adapters beside its kernels. Under `t5_module/`.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[&[
        ("token_embedder", "words", Embedding),
        (
            "{path}/relpos_bias/rel_embedding",
            "{path}.positions.table.weight",
            // `[heads, buckets]` → `[buckets, heads]`.
            Tensor(&[Permute(&[1, 0])]),
        ),
        ("encoder/layers_{i}/pre_attention_layer_norm", "encoder.layers.{i}.attention_norm", Norm),
        ("encoder/layers_{i}/attention/{path}", "encoder.layers.{i}.attention.{path}", Adapted),
        ("decoder/layers_{i}/pre_self_attention_layer_norm", "decoder.layers.{i}.self_norm", Norm),
        (
            "decoder/layers_{i}/self_attention/{path}",
            "decoder.layers.{i}.self_attention.{path}",
            Adapted,
        ),
        (
            "decoder/layers_{i}/pre_cross_attention_layer_norm",
            "decoder.layers.{i}.cross_norm",
            Norm,
        ),
        (
            "decoder/layers_{i}/encoder_decoder_attention/{path}",
            "decoder.layers.{i}.cross_attention.{path}",
            Adapted,
        ),
        ("{path}/layers_{i}/pre_mlp_layer_norm", "{path}.layers.{i}.mlp_norm", Norm),
        ("{path}/layers_{i}/mlp/wi_0", "{path}.layers.{i}.mlp.gate", Linear),
        ("{path}/layers_{i}/mlp/wi_1", "{path}.layers.{i}.mlp.expand", Linear),
        ("{path}/layers_{i}/mlp/wo", "{path}.layers.{i}.mlp.contract", Linear),
        ("encoder/encoder_norm", "encoder.norm", Norm),
        ("decoder/decoder_norm", "decoder.norm", Norm),
        ("decoder/logits_dense", "output", Linear),
    ]],
};

/// Hugging Face's `T5ForConditionalGeneration`: T5 1.1 and Flan-T5, gated; and PEFT's adapters on it.
pub const HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        &[
            ("shared", "words", Embedding),
            (
                "{path}/block.0/layer.0/SelfAttention/relative_attention_bias",
                "{path}.positions.table",
                Embedding,
            ),
            ("lm_head", "output", Linear),
        ],
        // encoder
        &[
            ("encoder/block.{i}/layer.0/layer_norm", "encoder.layers.{i}.attention_norm", Norm),
            (
                "encoder/block.{i}/layer.0/SelfAttention/q",
                "encoder.layers.{i}.attention.query",
                Adapted,
            ),
            (
                "encoder/block.{i}/layer.0/SelfAttention/k",
                "encoder.layers.{i}.attention.key",
                Adapted,
            ),
            (
                "encoder/block.{i}/layer.0/SelfAttention/v",
                "encoder.layers.{i}.attention.value",
                Adapted,
            ),
            (
                "encoder/block.{i}/layer.0/SelfAttention/o",
                "encoder.layers.{i}.attention.out",
                Adapted,
            ),
            ("encoder/block.{i}/layer.1/layer_norm", "encoder.layers.{i}.mlp_norm", Norm),
            (
                "encoder/block.{i}/layer.1/DenseReluDense/wi_0",
                "encoder.layers.{i}.mlp.gate",
                Linear,
            ),
            (
                "encoder/block.{i}/layer.1/DenseReluDense/wi_1",
                "encoder.layers.{i}.mlp.expand",
                Linear,
            ),
            (
                "encoder/block.{i}/layer.1/DenseReluDense/wo",
                "encoder.layers.{i}.mlp.contract",
                Linear,
            ),
            ("encoder/final_layer_norm", "encoder.norm", Norm),
        ],
        // decoder
        &[
            ("decoder/block.{i}/layer.0/layer_norm", "decoder.layers.{i}.self_norm", Norm),
            (
                "decoder/block.{i}/layer.0/SelfAttention/q",
                "decoder.layers.{i}.self_attention.query",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.0/SelfAttention/k",
                "decoder.layers.{i}.self_attention.key",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.0/SelfAttention/v",
                "decoder.layers.{i}.self_attention.value",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.0/SelfAttention/o",
                "decoder.layers.{i}.self_attention.out",
                Adapted,
            ),
            ("decoder/block.{i}/layer.1/layer_norm", "decoder.layers.{i}.cross_norm", Norm),
            (
                "decoder/block.{i}/layer.1/EncDecAttention/q",
                "decoder.layers.{i}.cross_attention.query",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.1/EncDecAttention/k",
                "decoder.layers.{i}.cross_attention.key",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.1/EncDecAttention/v",
                "decoder.layers.{i}.cross_attention.value",
                Adapted,
            ),
            (
                "decoder/block.{i}/layer.1/EncDecAttention/o",
                "decoder.layers.{i}.cross_attention.out",
                Adapted,
            ),
            ("decoder/block.{i}/layer.2/layer_norm", "decoder.layers.{i}.mlp_norm", Norm),
            (
                "decoder/block.{i}/layer.2/DenseReluDense/wi_0",
                "decoder.layers.{i}.mlp.gate",
                Linear,
            ),
            (
                "decoder/block.{i}/layer.2/DenseReluDense/wi_1",
                "decoder.layers.{i}.mlp.expand",
                Linear,
            ),
            (
                "decoder/block.{i}/layer.2/DenseReluDense/wo",
                "decoder.layers.{i}.mlp.contract",
                Linear,
            ),
            ("decoder/final_layer_norm", "decoder.norm", Norm),
        ],
    ],
};

/// The projection of visual tokens in the reference, under `visual_project_layers/`.
pub const VISUAL_PROJECTION_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[&[("visual_projection.0", "linear", Linear), ("visual_projection.1", "norm", Norm)]],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_the_names_that_peft_gives_them() {
        let cases = [
            (
                "encoder.layers.3.attention.query.lora.down.weight",
                "encoder.block.3.layer.0.SelfAttention.q.lora_A.weight",
            ),
            (
                "decoder.layers.11.self_attention.out.lora.up.weight",
                "decoder.block.11.layer.0.SelfAttention.o.lora_B.weight",
            ),
            (
                "decoder.layers.0.cross_attention.value.lora.down.weight",
                "decoder.block.0.layer.1.EncDecAttention.v.lora_A.weight",
            ),
        ];
        for (ours, theirs) in cases {
            assert_eq!(HUGGING_FACE.name_of(ours).as_deref(), Some(theirs));
        }
    }
}

//! Names of EVA-02 encoders in public files (`spec/model.md` §2).

use super::name_map::Change::{Part, Permute};
use super::name_map::Kind::{Convolution, Linear, Norm, Table, Tensor};
use super::name_map::Places::ClassAndCells;
use super::name_map::{Change, Dialect, NameMap};

/// Query, key and value are the three parts of one matrix `[3·D, D]`.
const QUERY: &[Change] = &[Part { index: 0, of: 3 }, Permute(&[1, 0])];
const KEY: &[Change] = &[Part { index: 1, of: 3 }, Permute(&[1, 0])];
const VALUE: &[Change] = &[Part { index: 2, of: 3 }, Permute(&[1, 0])];
/// Gate and up are the two halves of one matrix `[2·hidden, D]`.
const GATE: &[Change] = &[Part { index: 0, of: 2 }, Permute(&[1, 0])];
const UP: &[Change] = &[Part { index: 1, of: 2 }, Permute(&[1, 0])];

/// The reference in JAX.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
        ("cls_token", "class_token", Tensor(&[])),
        ("pos_embed", "positions", Table(ClassAndCells, &[])),
        ("blocks.{i}/norm1", "blocks.{i}.norm_1", Norm),
        ("blocks.{i}/attn/q_proj", "blocks.{i}.attention.query", Linear),
        ("blocks.{i}/attn/k_proj", "blocks.{i}.attention.key", Linear),
        ("blocks.{i}/attn/v_proj", "blocks.{i}.attention.value", Linear),
        ("blocks.{i}/attn/q_bias", "blocks.{i}.attention.query.bias", Tensor(&[])),
        ("blocks.{i}/attn/v_bias", "blocks.{i}.attention.value.bias", Tensor(&[])),
        ("blocks.{i}/attn/proj", "blocks.{i}.attention.output", Linear),
        ("blocks.{i}/norm2", "blocks.{i}.norm_2", Norm),
        ("blocks.{i}/mlp/w1", "blocks.{i}.feed_forward.gate", Linear),
        ("blocks.{i}/mlp/w2", "blocks.{i}.feed_forward.up", Linear),
        ("blocks.{i}/mlp/ffn_ln", "blocks.{i}.feed_forward.norm", Norm),
        ("blocks.{i}/mlp/w3", "blocks.{i}.feed_forward.down", Linear),
        ("ln_post", "norm", Norm),
    ],
};

/// timm, as on Hugging Face: B and L with separate projections, Ti and S with packed ones.
pub const TIMM: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
        ("cls_token", "class_token", Tensor(&[])),
        ("pos_embed", "positions", Table(ClassAndCells, &[])),
        ("blocks.{i}.norm1", "blocks.{i}.norm_1", Norm),
        ("blocks.{i}.attn.q_proj", "blocks.{i}.attention.query", Linear),
        ("blocks.{i}.attn.k_proj", "blocks.{i}.attention.key", Linear),
        ("blocks.{i}.attn.v_proj", "blocks.{i}.attention.value", Linear),
        ("blocks.{i}.attn.qkv.weight", "blocks.{i}.attention.query.weight", Tensor(QUERY)),
        ("blocks.{i}.attn.qkv.weight", "blocks.{i}.attention.key.weight", Tensor(KEY)),
        ("blocks.{i}.attn.qkv.weight", "blocks.{i}.attention.value.weight", Tensor(VALUE)),
        ("blocks.{i}.attn.q_bias", "blocks.{i}.attention.query.bias", Tensor(&[])),
        ("blocks.{i}.attn.v_bias", "blocks.{i}.attention.value.bias", Tensor(&[])),
        ("blocks.{i}.attn.proj", "blocks.{i}.attention.output", Linear),
        ("blocks.{i}.norm2", "blocks.{i}.norm_2", Norm),
        ("blocks.{i}.mlp.fc1_g", "blocks.{i}.feed_forward.gate", Linear),
        ("blocks.{i}.mlp.fc1_x", "blocks.{i}.feed_forward.up", Linear),
        ("blocks.{i}.mlp.fc1.weight", "blocks.{i}.feed_forward.gate.weight", Tensor(GATE)),
        ("blocks.{i}.mlp.fc1.weight", "blocks.{i}.feed_forward.up.weight", Tensor(UP)),
        (
            "blocks.{i}.mlp.fc1.bias",
            "blocks.{i}.feed_forward.gate.bias",
            Tensor(&[Part { index: 0, of: 2 }]),
        ),
        (
            "blocks.{i}.mlp.fc1.bias",
            "blocks.{i}.feed_forward.up.bias",
            Tensor(&[Part { index: 1, of: 2 }]),
        ),
        ("blocks.{i}.mlp.norm", "blocks.{i}.feed_forward.norm", Norm),
        ("blocks.{i}.mlp.fc2", "blocks.{i}.feed_forward.down", Linear),
        ("norm", "norm", Norm),
        // Where timm pools before its head, this is what the final norm is called.
        ("fc_norm", "norm", Norm),
    ],
};

/// The authors' own files.
pub const ORIGINAL: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
        ("cls_token", "class_token", Tensor(&[])),
        ("pos_embed", "positions", Table(ClassAndCells, &[])),
        ("blocks.{i}.norm1", "blocks.{i}.norm_1", Norm),
        ("blocks.{i}.attn.q_proj", "blocks.{i}.attention.query", Linear),
        ("blocks.{i}.attn.k_proj", "blocks.{i}.attention.key", Linear),
        ("blocks.{i}.attn.v_proj", "blocks.{i}.attention.value", Linear),
        ("blocks.{i}.attn.q_bias", "blocks.{i}.attention.query.bias", Tensor(&[])),
        ("blocks.{i}.attn.v_bias", "blocks.{i}.attention.value.bias", Tensor(&[])),
        ("blocks.{i}.attn.proj", "blocks.{i}.attention.output", Linear),
        ("blocks.{i}.norm2", "blocks.{i}.norm_2", Norm),
        ("blocks.{i}.mlp.w1", "blocks.{i}.feed_forward.gate", Linear),
        ("blocks.{i}.mlp.w2", "blocks.{i}.feed_forward.up", Linear),
        ("blocks.{i}.mlp.ffn_ln", "blocks.{i}.feed_forward.norm", Norm),
        ("blocks.{i}.mlp.w3", "blocks.{i}.feed_forward.down", Linear),
        ("norm", "norm", Norm),
    ],
};

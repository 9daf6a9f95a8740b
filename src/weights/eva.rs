//! Names of EVA-02 encoders in public files (`spec/model.md` §2).

use super::name_map::Change::{Part, Permute};
use super::name_map::Kind::{Convolution, Linear, Norm, Table, Tensor};
use super::name_map::Places::ClassAndCells;
use super::name_map::{Change, Dialect, Entry, NameMap};

/// The reference in JAX.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[ENCODER, FEED_FORWARD, &[("ln_post", "norm", Norm)]],
};

/// The authors' own files.
pub const ORIGINAL: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[ENCODER, FEED_FORWARD, &[("norm", "norm", Norm)]],
};

/// timm, as on Hugging Face: B and L with separate projections, Ti and S with packed ones.
pub const TIMM: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ENCODER,
        PACKED,
        &[
            ("blocks.{i}/mlp/fc1_g", "blocks.{i}.feed_forward.gate", Linear),
            ("blocks.{i}/mlp/fc1_x", "blocks.{i}.feed_forward.up", Linear),
            ("blocks.{i}/mlp/norm", "blocks.{i}.feed_forward.norm", Norm),
            ("blocks.{i}/mlp/fc2", "blocks.{i}.feed_forward.down", Linear),
            ("norm", "norm", Norm),
            // Where timm pools before its head, this is what the final norm is called.
            ("fc_norm", "norm", Norm),
        ],
    ],
};

/// What all files call the same.
const ENCODER: &[Entry] = &[
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
];

/// The feed-forward, in the reference and in the authors' files.
const FEED_FORWARD: &[Entry] = &[
    ("blocks.{i}/mlp/w1", "blocks.{i}.feed_forward.gate", Linear),
    ("blocks.{i}/mlp/w2", "blocks.{i}.feed_forward.up", Linear),
    ("blocks.{i}/mlp/ffn_ln", "blocks.{i}.feed_forward.norm", Norm),
    ("blocks.{i}/mlp/w3", "blocks.{i}.feed_forward.down", Linear),
];

/// Query, key and value as the three parts of one matrix `[3·D, D]`; gate and up as the two halves of
/// one, `[2·hidden, D]`.
const PACKED: &[Entry] = &[
    ("blocks.{i}/attn/qkv.weight", "blocks.{i}.attention.query.weight", Tensor(&turned(0, 3))),
    ("blocks.{i}/attn/qkv.weight", "blocks.{i}.attention.key.weight", Tensor(&turned(1, 3))),
    ("blocks.{i}/attn/qkv.weight", "blocks.{i}.attention.value.weight", Tensor(&turned(2, 3))),
    ("blocks.{i}/mlp/fc1.weight", "blocks.{i}.feed_forward.gate.weight", Tensor(&turned(0, 2))),
    ("blocks.{i}/mlp/fc1.weight", "blocks.{i}.feed_forward.up.weight", Tensor(&turned(1, 2))),
    (
        "blocks.{i}/mlp/fc1.bias",
        "blocks.{i}.feed_forward.gate.bias",
        Tensor(&[Part { index: 0, of: 2 }]),
    ),
    (
        "blocks.{i}/mlp/fc1.bias",
        "blocks.{i}.feed_forward.up.bias",
        Tensor(&[Part { index: 1, of: 2 }]),
    ),
];

/// A part of a matrix `[out, in]`, as `[in, out]`.
const fn turned(index: usize, of: usize) -> [Change; 2] {
    [Part { index, of }, Permute(&[1, 0])]
}

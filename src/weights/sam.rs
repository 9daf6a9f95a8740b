//! Names of SAM's image encoder in public files (`spec/model.md` §3).

use super::name_map::Change::Permute;
use super::name_map::Kind::{Convolution, Linear, Norm, Table};
use super::name_map::Places::{Distances, Grid};
use super::name_map::{Change, Dialect, Entry, NameMap};

/// `[1, H, W, D]` → `[1, D, H, W]`.
const CHANNELS_FIRST: &[Change] = &[Permute(&[0, 3, 1, 2])];

/// The reference in JAX.
pub const JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[ENCODER] };

/// Meta's files, under `image_encoder.`.
pub const META: NameMap = NameMap { dialect: Dialect::Torch, entries: &[ENCODER] };

const ENCODER: &[Entry] = &[
    ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
    ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
    ("blocks.{i}/norm1", "blocks.{i}.norm_1", Norm),
    ("blocks.{i}/attn/qkv", "blocks.{i}.attention.qkv", Linear),
    ("blocks.{i}/attn/proj", "blocks.{i}.attention.output", Linear),
    ("blocks.{i}/attn/rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
    ("blocks.{i}/attn/rel_pos_w", "blocks.{i}.attention.relative_columns", Table(Distances, &[])),
    ("blocks.{i}/norm2", "blocks.{i}.norm_2", Norm),
    ("blocks.{i}/mlp/lin1", "blocks.{i}.expand", Linear),
    ("blocks.{i}/mlp/lin2", "blocks.{i}.contract", Linear),
    ("neck/0", "neck.reduce", Convolution),
    ("neck/1", "neck.norm_1", Norm),
    ("neck/2", "neck.mix", Convolution),
    ("neck/3", "neck.norm_2", Norm),
];

/// Hugging Face's `SamModel`, under `vision_encoder.`.
pub const HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[
        ("patch_embed.projection", "patch_embedding.convolutions.0", Convolution),
        ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
        ("layers.{i}.layer_norm1", "blocks.{i}.norm_1", Norm),
        ("layers.{i}.attn.qkv", "blocks.{i}.attention.qkv", Linear),
        ("layers.{i}.attn.proj", "blocks.{i}.attention.output", Linear),
        ("layers.{i}.attn.rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
        (
            "layers.{i}.attn.rel_pos_w",
            "blocks.{i}.attention.relative_columns",
            Table(Distances, &[]),
        ),
        ("layers.{i}.layer_norm2", "blocks.{i}.norm_2", Norm),
        ("layers.{i}.mlp.lin1", "blocks.{i}.expand", Linear),
        ("layers.{i}.mlp.lin2", "blocks.{i}.contract", Linear),
        ("neck.conv1", "neck.reduce", Convolution),
        ("neck.layer_norm1", "neck.norm_1", Norm),
        ("neck.conv2", "neck.mix", Convolution),
        ("neck.layer_norm2", "neck.norm_2", Norm),
    ]],
};

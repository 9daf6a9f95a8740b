//! Names of SAM's image and prompt encoders in public files (`spec/model.md` §3, §5).

use super::name_map::Change::{Permute, Squeeze};
use super::name_map::Kind::{Convolution, Linear, Norm, Row, Table, Tensor};
use super::name_map::Places::{Distances, Grid};
use super::name_map::{Change, Dialect, NameMap};

/// `[1, H, W, D]` → `[1, D, H, W]`.
const CHANNELS_FIRST: &[Change] = &[Permute(&[0, 3, 1, 2])];

/// The reference in JAX.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
        ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
        ("blocks.{i}/norm1", "blocks.{i}.norm_1", Norm),
        ("blocks.{i}/attn/qkv", "blocks.{i}.attention.qkv", Linear),
        ("blocks.{i}/attn/proj", "blocks.{i}.attention.output", Linear),
        ("blocks.{i}/attn/rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
        (
            "blocks.{i}/attn/rel_pos_w",
            "blocks.{i}.attention.relative_columns",
            Table(Distances, &[]),
        ),
        ("blocks.{i}/norm2", "blocks.{i}.norm_2", Norm),
        ("blocks.{i}/mlp/lin1", "blocks.{i}.expand", Linear),
        ("blocks.{i}/mlp/lin2", "blocks.{i}.contract", Linear),
        ("neck/0", "neck.reduce", Convolution),
        ("neck/1", "neck.norm_1", Norm),
        ("neck/2", "neck.mix", Convolution),
        ("neck/3", "neck.norm_2", Norm),
    ],
};

/// Meta's files, under `image_encoder.`.
pub const META: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
        ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
        ("blocks.{i}.norm1", "blocks.{i}.norm_1", Norm),
        ("blocks.{i}.attn.qkv", "blocks.{i}.attention.qkv", Linear),
        ("blocks.{i}.attn.proj", "blocks.{i}.attention.output", Linear),
        ("blocks.{i}.attn.rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
        (
            "blocks.{i}.attn.rel_pos_w",
            "blocks.{i}.attention.relative_columns",
            Table(Distances, &[]),
        ),
        ("blocks.{i}.norm2", "blocks.{i}.norm_2", Norm),
        ("blocks.{i}.mlp.lin1", "blocks.{i}.expand", Linear),
        ("blocks.{i}.mlp.lin2", "blocks.{i}.contract", Linear),
        ("neck.0", "neck.reduce", Convolution),
        ("neck.1", "neck.norm_1", Norm),
        ("neck.2", "neck.mix", Convolution),
        ("neck.3", "neck.norm_2", Norm),
    ],
};

/// Hugging Face's `SamModel`, under `vision_encoder.`.
pub const HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
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
    ],
};

/// The prompt encoder of Meta's files, under `prompt_encoder.`: points and boxes.
pub const LOCATION_META: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("pe_layer.positional_encoding_gaussian_matrix", "frequencies", Tensor(&[])),
        ("point_embeddings.{i}.weight", "kinds", Row(&[Squeeze])),
        ("not_a_point_embed.weight", "not_a_point", Tensor(&[])),
        ("no_mask_embed.weight", "no_mask", Tensor(&[])),
    ],
};

/// The prompt encoder of Meta's files, under `prompt_encoder.mask_downscaling.`: masks.
pub const MASK_PROMPT_META: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("0", "step_1.convolution", Convolution),
        ("1", "step_1.norm", Norm),
        ("3", "step_2.convolution", Convolution),
        ("4", "step_2.norm", Norm),
        ("6", "output", Convolution),
    ],
};

/// The prompt encoder of Hugging Face's `SamModel`: points and boxes. The frequencies are kept where
/// the image finds them; the copy under `prompt_encoder.` is the same.
pub const LOCATION_HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("shared_image_embedding.positional_embedding", "frequencies", Tensor(&[])),
        ("prompt_encoder.point_embed.{i}.weight", "kinds", Row(&[Squeeze])),
        ("prompt_encoder.not_a_point_embed.weight", "not_a_point", Tensor(&[])),
        ("prompt_encoder.no_mask_embed.weight", "no_mask", Tensor(&[])),
    ],
};

/// The prompt encoder of Hugging Face's `SamModel`, under `prompt_encoder.mask_embed.`: masks.
pub const MASK_PROMPT_HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        ("conv1", "step_1.convolution", Convolution),
        ("layer_norm1", "step_1.norm", Norm),
        ("conv2", "step_2.convolution", Convolution),
        ("layer_norm2", "step_2.norm", Norm),
        ("conv3", "output", Convolution),
    ],
};

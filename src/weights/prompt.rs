//! Names of prompt encoders and of the prompt adapter in public files (`spec/model.md` §5–6).

use super::name_map::Change::{Squeeze, Unsqueeze};
use super::name_map::Kind::{Convolution, Linear, Norm, Row, Tensor};
use super::name_map::{Dialect, Entry, NameMap};
use super::two_way;

/// Points and boxes, in the reference in JAX.
pub const LOCATION_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[LOCATION] };

/// Points and boxes, in Meta's files, under `prompt_encoder.`.
pub const LOCATION_META: NameMap = NameMap { dialect: Dialect::Torch, entries: &[LOCATION] };

/// Points and boxes, in Hugging Face's `SamModel`. The frequencies are kept where the image finds them;
/// the copy under `prompt_encoder.` is the same.
pub const LOCATION_HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[
        ("shared_image_embedding/positional_embedding", "frequencies", Tensor(&[])),
        ("prompt_encoder/point_embed.{i}.weight", "kinds", Row(&[Squeeze])),
        ("prompt_encoder/not_a_point_embed.weight", "not_a_point", Tensor(&[])),
        ("prompt_encoder/no_mask_embed.weight", "no_mask", Tensor(&[])),
    ]],
};

/// Masks, in the reference in JAX: beside points and boxes, under `mask_downscaling/`.
pub const MASK_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[MASK] };

/// Masks, in Meta's files, under `prompt_encoder.mask_downscaling.`.
pub const MASK_META: NameMap = NameMap { dialect: Dialect::Torch, entries: &[MASK] };

/// Masks, in Hugging Face's `SamModel`, under `prompt_encoder.mask_embed.`.
pub const MASK_HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[
        ("conv1", "step_1.convolution", Convolution),
        ("layer_norm1", "step_1.norm", Norm),
        ("conv2", "step_2.convolution", Convolution),
        ("layer_norm2", "step_2.norm", Norm),
        ("conv3", "output", Convolution),
    ]],
};

/// The adapter, in the reference in JAX.
pub const ADAPTER_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        two_way::LAYERS,
        two_way::NORMS,
        &[
            ("output_tokens.weight", "queries", Tensor(&[])),
            ("image_projection_mlp/layers.0", "image_projection", Linear),
            ("prompt_embedding_projection_mlp/layers.0", "prompt_projection", Linear),
            ("image_pe_projection_mlp/layers.0", "position_projection", Linear),
            ("output_hypernetworks_mlps.{i}/layers.0/kernel", "query_heads.weight", Row(&[])),
            (
                "output_hypernetworks_mlps.{i}/layers.0/bias",
                "query_heads.bias",
                Row(&[Unsqueeze(0)]),
            ),
            ("dense_output_mlp/layers.0", "cell_head", Linear),
        ],
    ],
};

const LOCATION: &[Entry] = &[
    ("pe_layer/positional_encoding_gaussian_matrix", "frequencies", Tensor(&[])),
    ("point_embeddings.{i}.weight", "kinds", Row(&[Squeeze])),
    ("not_a_point_embed.weight", "not_a_point", Tensor(&[])),
    ("no_mask_embed.weight", "no_mask", Tensor(&[])),
];

const MASK: &[Entry] = &[
    ("0", "step_1.convolution", Convolution),
    ("1", "step_1.norm", Norm),
    ("3", "step_2.convolution", Convolution),
    ("4", "step_2.norm", Norm),
    ("6", "output", Convolution),
];

//! Names of prompt encoders and the prompt adapter in the reference (`spec/model.md` §5–6).

use super::name_map::Change::{Squeeze, Unsqueeze};
use super::name_map::Kind::{Convolution, Linear, Norm, Row, Tensor};
use super::name_map::{Dialect, Entry, NameMap};
use super::two_way::{self, joined};

/// Points and boxes, in the reference in JAX.
pub const LOCATION_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        ("pe_layer/positional_encoding_gaussian_matrix", "frequencies", Tensor(&[])),
        ("point_embeddings.{i}.weight", "kinds", Row(&[Squeeze])),
        ("not_a_point_embed.weight", "not_a_point", Tensor(&[])),
        ("no_mask_embed.weight", "no_mask", Tensor(&[])),
    ],
};

/// Masks, in the reference in JAX: beside points and boxes, under `mask_downscaling/`.
pub const MASK_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        ("0", "step_1.convolution", Convolution),
        ("1", "step_1.norm", Norm),
        ("3", "step_2.convolution", Convolution),
        ("4", "step_2.norm", Norm),
        ("6", "output", Convolution),
    ],
};

/// The adapter, in the reference in JAX.
pub const ADAPTER_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &joined::<{ two_way::JAX.len() + ADAPTER_JAX_OWN.len() }>(
        two_way::JAX,
        ADAPTER_JAX_OWN,
    ),
};

const ADAPTER_JAX_OWN: &[Entry] = &[
    ("output_tokens.weight", "queries", Tensor(&[])),
    ("image_projection_mlp/layers.0", "image_projection", Linear),
    ("prompt_embedding_projection_mlp/layers.0", "prompt_projection", Linear),
    ("image_pe_projection_mlp/layers.0", "position_projection", Linear),
    ("output_hypernetworks_mlps.{i}/layers.0/kernel", "query_heads.weight", Row(&[])),
    ("output_hypernetworks_mlps.{i}/layers.0/bias", "query_heads.bias", Row(&[Unsqueeze(0)])),
    ("dense_output_mlp/layers.0", "cell_head", Linear),
];

//! Names of prompt encoders and the prompt adapter in the reference (`spec/model.md` §5–6).

use super::name_map::Change::{Squeeze, Unsqueeze};
use super::name_map::Kind::{Convolution, Linear, Norm, Row, Tensor};
use super::name_map::{Dialect, NameMap};

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
    entries: &[
        ("output_tokens.weight", "queries", Tensor(&[])),
        ("image_projection_mlp/layers.0", "image_projection", Linear),
        ("prompt_embedding_projection_mlp/layers.0", "prompt_projection", Linear),
        ("image_pe_projection_mlp/layers.0", "position_projection", Linear),
        ("output_hypernetworks_mlps.{i}/layers.0/kernel", "query_heads.weight", Row(&[])),
        ("output_hypernetworks_mlps.{i}/layers.0/bias", "query_heads.bias", Row(&[Unsqueeze(0)])),
        ("dense_output_mlp/layers.0", "cell_head", Linear),
        (
            "transformer/layers.{i}/self_attn/q_proj",
            "two_way.layers.{i}.self_attention.query",
            Linear,
        ),
        (
            "transformer/layers.{i}/self_attn/k_proj",
            "two_way.layers.{i}.self_attention.key",
            Linear,
        ),
        (
            "transformer/layers.{i}/self_attn/v_proj",
            "two_way.layers.{i}.self_attention.value",
            Linear,
        ),
        (
            "transformer/layers.{i}/self_attn/out_proj",
            "two_way.layers.{i}.self_attention.output",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_token_to_image/q_proj",
            "two_way.layers.{i}.token_to_image.query",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_token_to_image/k_proj",
            "two_way.layers.{i}.token_to_image.key",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_token_to_image/v_proj",
            "two_way.layers.{i}.token_to_image.value",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_token_to_image/out_proj",
            "two_way.layers.{i}.token_to_image.output",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_image_to_token/q_proj",
            "two_way.layers.{i}.image_to_token.query",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_image_to_token/k_proj",
            "two_way.layers.{i}.image_to_token.key",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_image_to_token/v_proj",
            "two_way.layers.{i}.image_to_token.value",
            Linear,
        ),
        (
            "transformer/layers.{i}/cross_attn_image_to_token/out_proj",
            "two_way.layers.{i}.image_to_token.output",
            Linear,
        ),
        ("transformer/layers.{i}/norm1", "two_way.layers.{i}.norm_1", Norm),
        ("transformer/layers.{i}/norm2", "two_way.layers.{i}.norm_2", Norm),
        ("transformer/layers.{i}/norm3", "two_way.layers.{i}.norm_3", Norm),
        ("transformer/layers.{i}/norm4", "two_way.layers.{i}.norm_4", Norm),
        ("transformer/layers.{i}/mlp/lin1", "two_way.layers.{i}.expand", Linear),
        ("transformer/layers.{i}/mlp/lin2", "two_way.layers.{i}.contract", Linear),
        ("transformer/final_attn_token_to_image/q_proj", "two_way.final_attention.query", Linear),
        ("transformer/final_attn_token_to_image/k_proj", "two_way.final_attention.key", Linear),
        ("transformer/final_attn_token_to_image/v_proj", "two_way.final_attention.value", Linear),
        (
            "transformer/final_attn_token_to_image/out_proj",
            "two_way.final_attention.output",
            Linear,
        ),
        ("transformer/norm_final_attn", "two_way.final_norm", Norm),
    ],
};

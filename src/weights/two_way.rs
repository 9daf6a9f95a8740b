//! Names of two-way transformers in public files (`spec/model.md` §6.1). They are parts of several
//! modules, under `transformer` there and `two_way` here.

use super::name_map::Entry;
use super::name_map::Kind::{Linear, Norm};

/// Attentions and feed-forwards, which all files call the same.
pub const LAYERS: &[Entry] = &[
    ("transformer/layers.{i}/self_attn/q_proj", "two_way.layers.{i}.self_attention.query", Linear),
    ("transformer/layers.{i}/self_attn/k_proj", "two_way.layers.{i}.self_attention.key", Linear),
    ("transformer/layers.{i}/self_attn/v_proj", "two_way.layers.{i}.self_attention.value", Linear),
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
    ("transformer/layers.{i}/mlp/lin1", "two_way.layers.{i}.expand", Linear),
    ("transformer/layers.{i}/mlp/lin2", "two_way.layers.{i}.contract", Linear),
    ("transformer/final_attn_token_to_image/q_proj", "two_way.final_attention.query", Linear),
    ("transformer/final_attn_token_to_image/k_proj", "two_way.final_attention.key", Linear),
    ("transformer/final_attn_token_to_image/v_proj", "two_way.final_attention.value", Linear),
    ("transformer/final_attn_token_to_image/out_proj", "two_way.final_attention.output", Linear),
];

/// The norms, in the reference and in Meta's files.
pub const NORMS: &[Entry] = &[
    ("transformer/layers.{i}/norm1", "two_way.layers.{i}.norm_1", Norm),
    ("transformer/layers.{i}/norm2", "two_way.layers.{i}.norm_2", Norm),
    ("transformer/layers.{i}/norm3", "two_way.layers.{i}.norm_3", Norm),
    ("transformer/layers.{i}/norm4", "two_way.layers.{i}.norm_4", Norm),
    ("transformer/norm_final_attn", "two_way.final_norm", Norm),
];

/// The norms, in Hugging Face's `SamModel`.
pub const NORMS_HUGGING_FACE: &[Entry] = &[
    ("transformer/layers.{i}/layer_norm1", "two_way.layers.{i}.norm_1", Norm),
    ("transformer/layers.{i}/layer_norm2", "two_way.layers.{i}.norm_2", Norm),
    ("transformer/layers.{i}/layer_norm3", "two_way.layers.{i}.norm_3", Norm),
    ("transformer/layers.{i}/layer_norm4", "two_way.layers.{i}.norm_4", Norm),
    ("transformer/layer_norm_final_attn", "two_way.final_norm", Norm),
];

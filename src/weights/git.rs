//! Names of the GIT-style decoder in the reference (`spec/model.md` §7).

use super::name_map::Kind::{Embedding, Linear, Norm};
use super::name_map::{Dialect, NameMap};

/// The reference in JAX.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[&[
        ("visual_projection.0", "visual_projection", Linear),
        ("visual_projection.1", "visual_norm", Norm),
        ("embedding/words", "words", Embedding),
        ("embedding/positions", "positions", Embedding),
        ("embedding/layer_norm", "embedding_norm", Norm),
        ("transformer/encoder/layer.{i}/attention/self/query", "layers.{i}.query", Linear),
        ("transformer/encoder/layer.{i}/attention/self/key", "layers.{i}.key", Linear),
        ("transformer/encoder/layer.{i}/attention/self/value", "layers.{i}.value", Linear),
        (
            "transformer/encoder/layer.{i}/attention/output/dense",
            "layers.{i}.attention_output",
            Linear,
        ),
        (
            "transformer/encoder/layer.{i}/attention/output/LayerNorm",
            "layers.{i}.attention_norm",
            Norm,
        ),
        ("transformer/encoder/layer.{i}/intermediate/dense", "layers.{i}.mlp_hidden", Linear),
        ("transformer/encoder/layer.{i}/output/dense", "layers.{i}.mlp_output", Linear),
        ("transformer/encoder/layer.{i}/output/LayerNorm", "layers.{i}.mlp_norm", Norm),
        ("output", "output", Linear),
    ]],
};

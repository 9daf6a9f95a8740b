//! Names of the point head in the reference (`spec/model.md` §9).

use super::name_map::Kind::{Linear, Norm};
use super::name_map::{Dialect, NameMap};

/// The reference in JAX.
pub const JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[&[("LayerNorm_0", "norm", Norm), ("mlp/layers.{i}", "layers.{i}", Linear)]],
};

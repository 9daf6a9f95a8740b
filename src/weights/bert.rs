//! Names of BERT's embeddings in public files, for the GIT-style decoder (`spec/model.md` §7), whose
//! embeddings are BERT's without the types of segments. BERT's layers stay in the file.

use super::name_map::Kind::{Embedding, Norm, Table, Tensor};
use super::name_map::Places::Positions;
use super::name_map::{Dialect, NameMap};

/// The words, under `embeddings.word_embeddings`.
pub const WORDS: NameMap = NameMap { dialect: Dialect::Torch, entries: &[&[("", "", Embedding)]] };

/// The positions, under `embeddings.position_embeddings`.
pub const POSITIONS: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[(".weight", ".weight", Table(Positions, &[]))]],
};

/// The norm, under `embeddings.LayerNorm`; files that were made from TensorFlow's name its parts as
/// TensorFlow does.
pub const NORM: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[
        ("", "", Norm),
        (".gamma", ".gamma", Tensor(&[])),
        (".beta", ".beta", Tensor(&[])),
    ]],
};

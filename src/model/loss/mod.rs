//! Losses (`spec/losses.md`).

pub mod point;
pub mod text;

//! Losses (`spec/losses.md`).

pub mod overlap;
pub mod point;
pub mod text;

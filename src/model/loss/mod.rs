//! Losses (`spec/losses.md`).

pub mod detection;
pub mod overlap;
pub mod point;
pub mod text;

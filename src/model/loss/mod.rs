//! Losses (`spec/losses.md`).

pub mod detection;
mod generalised_iou;
pub mod mask;
pub mod overlap;
pub mod point;
pub mod text;
pub mod token_rule;

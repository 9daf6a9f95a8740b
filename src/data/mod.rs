//! Floor 2: public formats → [`sample::Sample`] → batches of tensors; and the `shapes` world.

pub mod alignment;
pub mod batch;
pub mod check;
pub mod collate;
pub mod formats;
pub mod loader;
pub mod masks;
pub mod mixture;
mod protobuf;
pub mod sample;
pub mod shapes;
pub mod source;
pub mod statistics;
pub mod token_points;
pub mod tokenizer;
pub mod transform;

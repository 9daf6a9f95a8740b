//! Floor 2: public formats → [`sample::Sample`] → batches of tensors; and the `shapes` world.

pub mod alignment;
pub mod sample;
pub mod shapes;
pub mod tokenizer;

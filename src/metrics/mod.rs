//! Floor 1: scores on plain data; no tensors, no model.

pub mod score;

pub use score::{Evaluation, Score};

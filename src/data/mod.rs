//! Floor 2: public formats → [`sample::Sample`] → batches of tensors; and the `shapes` world.

pub mod alignment;
pub mod augmentation;
pub mod batch;
pub mod batch_file;
pub mod check;
pub mod collate;
pub mod directions;
pub mod feature_cache;
pub mod formats;
pub mod image_file;
pub mod loader;
pub mod masks;
pub mod mixture;
pub mod placement;
mod protobuf;
mod read_at;
pub mod sample;
pub mod samples;
pub mod shapes;
pub mod source;
pub mod statistics;
pub mod token_points;
pub mod tokenizer;
pub mod transform;

//! Floor 2: weights in files, and how the names in public checkpoints become ours.
//!
//! | file | subject |
//! |---|---|
//! | [`file`] | safetensors (one file or shards), PyTorch's `.pth`: names, shapes and lazy data |
//! | [`name_map`] | the language of name maps: `blocks.{i}.norm1` → `blocks.{i}.norm_1` |
//! | [`layout`] | which maps make up a public checkpoint, and guessing which one a file is |
//! | [`eva`], [`sam`] | the maps of the vision encoders, as tables |
//! | [`t5`] | the maps of T5 |
//! | [`load`] | into a module, with a report of everything that did not fit |
//! | [`import`] | into the whole model, and into our own format |

pub mod array;
pub mod eva;
pub mod file;
pub mod import;
pub mod layout;
pub mod load;
pub mod name_map;
pub mod sam;
pub mod t5;

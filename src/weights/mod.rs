//! Floor 2: weights in files, and how the names in public checkpoints become ours.
//!
//! | file | subject |
//! |---|---|
//! | [`file`] | safetensors (one file or shards), PyTorch's `.pth`: names, shapes and lazy data |
//! | [`hub`] | names of Hugging Face, `hf:owner/name`, to files of this machine |
//! | [`name_map`] | the language of name maps: `blocks.{i}.norm1` → `blocks.{i}.norm_1` |
//! | [`layout`] | which maps make up a public checkpoint, and guessing which one a file is |
//! | [`eva`], [`sam`] | the maps of the image encoders, as tables |
//! | [`boxes`] | the maps of the box decoder |
//! | [`masks`] | the maps of the mask branch |
//! | [`two_way`] | what the maps of two-way transformers share |
//! | [`prompt`], [`git`], [`points`] | the maps of prompts and the adapter, GIT-style decoder, point head |
//! | [`t5`] | the maps of T5 and of its adapters |
//! | [`t5_config`] | the sizes of a T5 at Hugging Face |
//! | [`bert`] | the maps of BERT's embeddings |
//! | [`safetensors`] | tensors that belong to no module, to a file |
//! | [`load`] | into a module, with a report of everything that did not fit |
//! | [`import`] | into the whole model, and into our own format |

pub mod array;
pub mod bert;
pub mod boxes;
pub mod eva;
pub mod file;
pub mod git;
pub mod hub;
pub mod import;
pub mod layout;
pub mod load;
pub mod masks;
pub mod name_map;
pub mod points;
pub mod prompt;
mod rows;
pub mod safetensors;
pub mod sam;
pub mod t5;
pub mod t5_config;
pub mod two_way;

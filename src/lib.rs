//! **pixelllm**: pixel-aligned language models on [Burn](https://burn.dev).
//!
//! Every word that the language model writes also gets a place in the image (Xu et al., *Pixel
//! Aligned Language Models*, CVPR 2024). The floors of the house, from the ground up:
//!
//! | module | what lives there |
//! |---|---|
//! | [`geometry`], [`error`], [`backend`], [`allocator`] | boxes and points, the error type, the only names of backends, how long freed memory is kept |
//! | [`model`] | vision encoders, prompt adapter, language model, heads, losses |
//! | [`metrics`] | scores on plain data |
//! | [`data`] | public formats → samples → batches, and the `shapes` world |
//! | [`experiment`] | the TOML schema |
//! | [`training`], [`tasks`] | the learner; narrate, describe, locate, detect |
//! | [`verify`] | golden vectors of the original implementation |
//! | [`ablation`] | many runs of one experiment beside each other |
//! | [`scoring`] | scores of predictions in files |
//! | [`report`], [`server`] | pages and pictures; the four tasks over HTTP |
//! | [`cli`] | the command line |
//!
//! A floor may use those below it, never one above: see `docs/src/architecture.md`.

pub mod ablation;
pub mod allocator;
pub mod backend;
pub mod cli;
pub mod data;
pub mod error;
pub mod experiment;
pub mod geometry;
pub mod metrics;
pub mod model;
pub mod report;
pub mod runs;
pub mod scoring;
pub mod server;
pub mod tasks;
pub mod training;
pub mod verify;
pub mod weights;

pub use error::{Error, Result};

//! What training on the processor spends its time on beside matrix products, each in one pass over its
//! numbers, in blocks on every thread. Plain numbers in, plain numbers out: `pixelllm` makes operations of
//! Burn's graph of them (`src/model/kernels/`).
//!
//! A crate of its own, so that it is optimised also where `pixelllm` is not: in the tests, which train.
//!
//! Results do not depend on how many threads there are, nor on the width of registers: loops are written so that
//! the compiler computes several numbers at once (no branches, no functions of the system's library, sums
//! side by side), and each is compiled for several generations of processors (`multiversion`).

pub mod adamw;
pub mod cross_entropy;
pub mod dropout;
mod exponential;
pub mod gelu;
pub mod gradients;
pub mod layer_norm;
pub mod rotation;
mod rows;
pub mod softmax;
pub mod swiglu;

//! What training on the processor spends its time on beside matrix products, each in one pass over its
//! numbers on every thread (the crate `pixelllm-kernels`), with a backward pass of its own
//! (`crate::backend::host`). On other devices and in other types, Burn's own operations compute the same.

pub mod cross_entropy;
pub mod dropout;
pub mod gelu;
pub mod layer_norm;
pub mod rotation;
pub mod softmax;
pub mod swiglu;
#[cfg(test)]
mod testing;

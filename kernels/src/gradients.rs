//! The norm of gradients, and scaling them.

use multiversion::multiversion;
use rayon::iter::ParallelIterator;
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::rows::sum;

/// Numbers that a thread takes at once.
const BLOCK: usize = 1 << 15;

/// Σ v² over `values`.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let blocks: Vec<f64> = values.par_chunks(BLOCK).map(squares_of_block).collect();
    blocks.into_iter().sum()
}

#[multiversion(targets = "simd")]
fn squares_of_block(block: &[f32]) -> f64 {
    f64::from(sum(block.len(), |i| block[i] * block[i]))
}

/// All `values` times `factor`.
pub fn scale(values: &mut [f32], factor: f32) {
    values.par_chunks_mut(BLOCK).for_each(|block| {
        block.iter_mut().for_each(|value| *value *= factor);
    });
}

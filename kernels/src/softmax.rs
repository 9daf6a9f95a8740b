//! Softmax of rows.

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::exponential::exp;
use crate::rows::{largest, rows_at_once, sum};

/// Every row of `length` scores becomes its softmax. What is more than 87 below the largest has exactly 0.
pub fn forward(scores: &mut [f32], length: usize) {
    scores.par_chunks_mut((rows_at_once(length) * length).max(1)).for_each(|rows| {
        forward_block(rows, length);
    });
}

#[multiversion(targets = "simd")]
fn forward_block(rows: &mut [f32], length: usize) {
    for row in rows.chunks_exact_mut(length) {
        let largest = largest(row);
        row.iter_mut().for_each(|value| *value = exp(*value - largest));
        let scale = 1.0 / sum(length, |i| row[i]);
        row.iter_mut().for_each(|value| *value *= scale);
    }
}

/// The gradient of `weights`, which [`forward`] made, becomes that of the scores.
pub fn backward(weights: &[f32], gradient: &mut [f32], length: usize) {
    let at_once = (rows_at_once(length) * length).max(1);
    let blocks = gradient.par_chunks_mut(at_once).zip(weights.par_chunks(at_once));
    blocks.for_each(|(gradients, weights)| {
        backward_block(weights, gradients, length);
    });
}

#[multiversion(targets = "simd")]
fn backward_block(weights: &[f32], gradients: &mut [f32], length: usize) {
    let rows = gradients.chunks_exact_mut(length).zip(weights.chunks_exact(length));
    for (gradient, weights) in rows {
        let mean = sum(length, |i| gradient[i] * weights[i]);
        for (gradient, weight) in gradient.iter_mut().zip(weights) {
            *gradient = weight * (*gradient - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_below_has_a_weight_of_exactly_zero() {
        let mut row = [3.0, -1e9, 1.0, -85.0, 3.0];
        forward(&mut row, 5);
        assert_eq!(row[1], 0.0);
        assert_eq!(row[0], row[4]);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        // Where nothing is to be seen, all of it is.
        let mut hidden = [-1e9; 4];
        forward(&mut hidden, 4);
        assert_eq!(hidden, [0.25; 4]);
    }
}

//! Dropout (Srivastava et al. 2014) without random numbers in memory: which numbers are dropped follows from
//! their place and a seed, and is found again in the backward pass.

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::rows::rows_at_once;

/// Which numbers are dropped, and what the others are multiplied by.
#[derive(Debug, Clone, Copy)]
pub struct Dropped {
    seed: u32,
    /// Of 2³² places, those of numbers that are dropped.
    below: u32,
    scale: f32,
}

impl Dropped {
    /// Each with `probability`, from 0 to below 1.
    pub fn new(probability: f64, seed: u32) -> Self {
        let below = (probability * 2f64.powi(32)) as u32;
        Self { seed, below, scale: (1.0 / (1.0 - probability)) as f32 }
    }

    /// Drops them from `values`, which may be numbers or their gradients.
    pub fn apply(self, values: &mut [f32]) {
        let length = rows_at_once(1);
        values.par_chunks_mut(length).enumerate().for_each(|(block, values)| {
            let start = self.seed.wrapping_add(mixed((block * length) as u32));
            drop_some(values, start, self.below, self.scale);
        });
    }
}

#[multiversion(targets = "simd")]
fn drop_some(values: &mut [f32], start: u32, below: u32, scale: f32) {
    for (value, index) in values.iter_mut().zip(0u32..) {
        let is_kept = mixed(start.wrapping_add(index)) >= below;
        *value = if is_kept { *value * scale } else { 0.0 };
    }
}

/// A number in which every bit depends on all of `x`: shifts and odd factors, as in hash functions.
#[inline(always)]
fn mixed(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(count: usize, probability: f64, seed: u32) -> Vec<f32> {
        let mut values = vec![1.0; count];
        Dropped::new(probability, seed).apply(&mut values);
        values
    }

    #[test]
    fn as_many_are_dropped_as_was_asked_for_wherever_one_looks() {
        // Several blocks.
        let values = ones(60_000, 0.1, 7);
        let scale = (1.0f64 / 0.9) as f32;
        assert!(values.iter().all(|value| *value == 0.0 || *value == scale));
        let dropped = |values: &[f32]| values.iter().filter(|value| **value == 0.0).count();
        // Within five standard deviations: of all, of every second, and of neighbours.
        assert!(dropped(&values).abs_diff(6_000) < 370, "{}", dropped(&values));
        let every_second: Vec<f32> = values.iter().step_by(2).copied().collect();
        assert!(dropped(&every_second).abs_diff(3_000) < 260, "{}", dropped(&every_second));
        let pairs = values.windows(2).filter(|pair| pair[0] == 0.0 && pair[1] == 0.0).count();
        assert!(pairs.abs_diff(600) < 125, "{pairs}");
    }

    #[test]
    fn the_same_seed_drops_the_same_and_another_others() {
        assert_eq!(ones(100, 0.5, 1), ones(100, 0.5, 1));
        assert_ne!(ones(100, 0.5, 1), ones(100, 0.5, 2));
        assert_eq!(ones(100, 0.0, 1), [1.0; 100]);
    }
}

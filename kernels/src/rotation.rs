//! Turning pairs of channels by angles, as rotary position embeddings do (Su et al., *RoFormer*, 2021).

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::rows::rows_at_once;

/// Angles of the places of a sequence, by their cosines and sines.
#[derive(Debug, Clone, Copy)]
pub struct Angles<'a> {
    /// `[L, head]`, the same for both channels of a pair.
    pub cos: &'a [f32],
    /// As `cos`.
    pub sin: &'a [f32],
    /// Channels of a head.
    pub head: usize,
}

impl Angles<'_> {
    /// Turns every pair of channels of `x`, `[B, L, width]`, whose width is that of some heads: forwards by a
    /// `direction` of 1, back by −1.
    pub fn turn(self, x: &mut [f32], width: usize, direction: f32) {
        let Self { cos, sin, head } = self;
        let (length, at_once) = (cos.len() / head, rows_at_once(width));
        x.par_chunks_mut(at_once * width).enumerate().for_each(|(block, rows)| {
            for (row, token) in rows.chunks_exact_mut(width).zip(block * at_once..) {
                let place = token % length * head;
                let (cos, sin) = (&cos[place..place + head], &sin[place..place + head]);
                turn_row(row, cos, sin, direction);
            }
        });
    }
}

/// All heads of a token.
#[multiversion(targets = "simd")]
fn turn_row(row: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
    for channels in row.chunks_exact_mut(cos.len()) {
        let angles = cos.chunks_exact(2).zip(sin.chunks_exact(2));
        for (pair, (cos, sin)) in channels.chunks_exact_mut(2).zip(angles) {
            let (cos, sin) = (cos[0], sin[0] * direction);
            let turned = [pair[0] * cos - pair[1] * sin, pair[1] * cos + pair[0] * sin];
            pair.copy_from_slice(&turned);
        }
    }
}

//! What tables of positions start from. Published weights replace them; from scratch it matters.

use std::f64::consts::FRAC_PI_2;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Standard deviation of a random table.
const DEVIATION: f64 = 0.02;

/// What a learned table of positions starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitialPositions {
    /// Small random numbers: for published weights, which replace them.
    Random,
    /// Sines and cosines of row and column: for training from scratch, so that places can be read
    /// from a cell before the table has learnt anything.
    Sinusoidal,
}

impl InitialPositions {
    /// A table for a grid of `side × side` cells: `[1, width, side, side]`.
    pub fn table(self, width: usize, side: usize, device: &Device) -> Tensor<4> {
        let shape = [1, width, side, side];
        match self {
            Self::Random => Tensor::random(shape, Distribution::Normal(0.0, DEVIATION), device),
            Self::Sinusoidal => {
                Tensor::from_data(TensorData::new(sinusoids(width, side), shape), device)
            }
        }
    }
}

/// Quarters of the channels: sine and cosine of the row, sine and cosine of the column. Frequencies
/// rise evenly (on a logarithmic scale) from a quarter of a turn over the whole grid, which tells its
/// ends apart, to a quarter of a turn per cell, which tells neighbours apart.
fn sinusoids(width: usize, side: usize) -> Vec<f32> {
    let num_frequencies = (width / 4).max(1);
    let (lowest, highest) = (FRAC_PI_2 / side as f64, FRAC_PI_2);
    let frequency = |index: usize| {
        let share = index as f64 / (num_frequencies - 1).max(1) as f64;
        lowest * (highest / lowest).powf(share)
    };
    let mut table = Vec::with_capacity(width * side * side);
    for channel in 0..width {
        let quarter = channel / num_frequencies;
        let frequency = frequency(channel % num_frequencies);
        for row in 0..side {
            for column in 0..side {
                let place = if quarter < 2 { row } else { column };
                let angle = (place as f64 + 0.5) * frequency;
                let value = if quarter.is_multiple_of(2) { angle.sin() } else { angle.cos() };
                table.push(value as f32);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_code_of_its_own() {
        let (width, side) = (16, 5);
        let table = sinusoids(width, side);
        let code = |cell: usize| -> Vec<f32> {
            (0..width).map(|channel| table[channel * side * side + cell]).collect()
        };
        for a in 0..side * side {
            for b in 0..a {
                let distance: f32 = code(a).iter().zip(code(b)).map(|(x, y)| (x - y).powi(2)).sum();
                assert!(distance > 1e-2, "cells {a} and {b} look alike");
            }
        }
    }
}

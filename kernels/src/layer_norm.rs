//! Layer norm (Ba et al. 2016) of rows.

use multiversion::multiversion;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::rows::{rows_at_once, sum};

/// Of a row: its mean, and what it is multiplied by.
pub type Statistics = [f32; 2];

/// Rows as wide as `gamma` to zero mean and unit variance, times `gamma`, plus `beta`.
pub fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    output: &mut [f32],
) -> Vec<Statistics> {
    let width = gamma.len();
    let at_once = rows_at_once(width);
    let mut statistics = vec![[0.0; 2]; x.len() / width.max(1)];
    let blocks = output
        .par_chunks_mut((at_once * width).max(1))
        .zip(x.par_chunks((at_once * width).max(1)))
        .zip(statistics.par_chunks_mut(at_once));
    blocks.for_each(|((output, x), statistics)| {
        forward_block(x, [gamma, beta], epsilon, output, statistics);
    });
    statistics
}

#[multiversion(targets = "simd")]
fn forward_block(
    x: &[f32],
    [gamma, beta]: [&[f32]; 2],
    epsilon: f32,
    output: &mut [f32],
    statistics: &mut [Statistics],
) {
    let width = gamma.len();
    let rows = output.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(statistics);
    for ((output, x), statistics) in rows {
        let mean = sum(width, |i| x[i]) / width as f32;
        let variance = sum(width, |i| (x[i] - mean) * (x[i] - mean)) / width as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        *statistics = [mean, scale];
        let channels = gamma.iter().zip(beta);
        for ((output, x), (gamma, beta)) in output.iter_mut().zip(x).zip(channels) {
            *output = (x - mean) * scale * gamma + beta;
        }
    }
}

/// The gradient of the output becomes that of `x`; returns those of `gamma` and `beta`.
pub fn backward(
    x: &[f32],
    gamma: &[f32],
    statistics: &[Statistics],
    gradient: &mut [f32],
) -> [Vec<f32>; 2] {
    let width = gamma.len();
    let at_once = rows_at_once(width);
    let blocks = gradient
        .par_chunks_mut((at_once * width).max(1))
        .zip(x.par_chunks((at_once * width).max(1)))
        .zip(statistics.par_chunks(at_once));
    // Of the channels, each block has sums of its own.
    let sums: Vec<[Vec<f32>; 2]> = blocks
        .map(|((gradients, x), statistics)| {
            let mut sums = [vec![0.0; width], vec![0.0; width]];
            backward_block(x, gamma, statistics, gradients, &mut sums);
            sums
        })
        .collect();
    [0, 1].map(|which| {
        let mut total = vec![0.0; width];
        for block in &sums {
            total.iter_mut().zip(&block[which]).for_each(|(sum, part)| *sum += part);
        }
        total
    })
}

#[multiversion(targets = "simd")]
fn backward_block(
    x: &[f32],
    gamma: &[f32],
    statistics: &[Statistics],
    gradients: &mut [f32],
    sums: &mut [Vec<f32>; 2],
) {
    let width = gamma.len();
    let rows = gradients.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((gradient, x), statistics) in rows.zip(statistics) {
        of_row(gradient, x, gamma, *statistics, sums);
    }
}

/// The gradient of a row in place of that of its output; what it adds to those of `gamma` and `beta`.
#[inline(always)]
fn of_row(
    gradient: &mut [f32],
    x: &[f32],
    gamma: &[f32],
    [mean, scale]: Statistics,
    [of_gamma, of_beta]: &mut [Vec<f32>; 2],
) {
    let width = gradient.len();
    let (x, gamma) = (&x[..width], &gamma[..width]);
    let of_channels = of_gamma.iter_mut().zip(of_beta);
    for ((gradient, x), (of_gamma, of_beta)) in gradient.iter().zip(x).zip(of_channels) {
        *of_gamma += gradient * (x - mean) * scale;
        *of_beta += gradient;
    }
    let along_ones = sum(width, |i| gradient[i] * gamma[i]) / width as f32;
    let along_x = sum(width, |i| gradient[i] * gamma[i] * (x[i] - mean)) * scale / width as f32;
    for ((gradient, x), gamma) in gradient.iter_mut().zip(x).zip(gamma) {
        *gradient = scale * (*gradient * gamma - along_ones - (x - mean) * scale * along_x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between −1 and 1 that follow from their place.
    fn numbers(count: usize, factor: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * factor) % 2_003) as f32 / 1_001.5 - 1.0).collect()
    }

    /// Output, and gradients of `x`, `gamma` and `beta`, of one row in 64 bits.
    fn in_64_bits(
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        epsilon: f64,
        gradient: &[f32],
    ) -> [Vec<f64>; 4] {
        let wide =
            |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let [x, gamma, beta, gradient] = [x, gamma, beta, gradient].map(wide);
        let count = x.len() as f64;
        let mean = x.iter().sum::<f64>() / count;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let deviation = (variance + epsilon).sqrt();
        let unit: Vec<f64> = x.iter().map(|x| (x - mean) / deviation).collect();
        let each = |value: &dyn Fn(usize) -> f64| (0..x.len()).map(value).collect::<Vec<_>>();
        let inner = each(&|i| gradient[i] * gamma[i]);
        let along_ones = inner.iter().sum::<f64>() / count;
        let along_x = inner.iter().zip(&unit).map(|(one, other)| one * other).sum::<f64>() / count;
        [
            each(&|i| unit[i] * gamma[i] + beta[i]),
            each(&|i| (inner[i] - along_ones - unit[i] * along_x) / deviation),
            each(&|i| gradient[i] * unit[i]),
            gradient.clone(),
        ]
    }

    #[test]
    fn values_and_gradients_are_those_of_64_bits_also_far_from_zero() {
        for (width, offset) in [(7, 0.0), (96, 0.0), (96, 30.0), (768, 30.0)] {
            let x: Vec<f32> = numbers(width, 37).iter().map(|x| x + offset).collect();
            let [gamma, beta] = [numbers(width, 61), numbers(width, 83)];
            let mut gradient = numbers(width, 97);
            let expected = in_64_bits(&x, &gamma, &beta, 1e-6, &gradient);
            let mut output = vec![0.0; width];
            let statistics = forward(&x, &gamma, &beta, 1e-6, &mut output);
            let [of_gamma, of_beta] = backward(&x, &gamma, &statistics, &mut gradient);
            // A variance from squares, less that of the mean, would be off by 30² · 10⁻⁷.
            for (found, expected) in [output, gradient, of_gamma, of_beta].iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off < 2e-5, "width {width}, offset {offset}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn gradients_of_channels_are_sums_over_all_blocks() {
        // Several blocks: each row has a gradient of 1 in every channel.
        let (width, rows) = (64, 1_000);
        let x = numbers(width * rows, 37);
        let ones = vec![1.0; width];
        let mut output = vec![0.0; x.len()];
        let statistics = forward(&x, &ones, &vec![0.0; width], 1e-6, &mut output);
        let [of_gamma, of_beta] = backward(&x, &ones, &statistics, &mut vec![1.0; x.len()]);
        assert_eq!(of_beta, vec![rows as f32; width]);
        for (channel, found) in of_gamma.iter().enumerate() {
            let expected: f64 =
                output.iter().skip(channel).step_by(width).copied().map(f64::from).sum();
            assert!((f64::from(*found) - expected).abs() < 1e-2, "{found}, {expected}");
        }
    }
}

//! Resizing of maps and position tables by two small interpolation matrices: differentiable, the
//! same on every backend, and free to follow either convention of [`Resampling`]
//! (`spec/model.md` §2–4, Quirk 10), of which Burn's own `interpolate` has only one.

use burn::tensor::{Device, Tensor, TensorData};

use super::Resampling;

/// Shape of the interpolation between samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Triangle.
    Linear,
    /// Keys' cubic.
    Cubic,
}

/// The matrix that resizes `from` samples to `to` samples, row-major `[to, from]`.
///
/// Half-pixel centres. `Jax`: Keys a = −0.5, widened (antialiased) when shrinking, weights that fall
/// outside are dropped and the rest renormalised. `Torch`: a = −0.75, never widened, samples outside
/// repeat the border.
pub fn resize_matrix(from: usize, to: usize, kernel: Kernel, resampling: Resampling) -> Vec<f32> {
    let ratio = from as f64 / to as f64;
    let (cubic, widening) = match resampling {
        Resampling::Jax => (-0.5, ratio.max(1.0)),
        Resampling::Torch => (-0.75, 1.0),
    };
    let weight = |distance: f64| match kernel {
        Kernel::Linear => (1.0 - distance.abs()).max(0.0),
        Kernel::Cubic => keys(distance.abs(), cubic),
    };
    let mut matrix = vec![0.0; to * from];
    for (i, row) in matrix.chunks_mut(from).enumerate() {
        let center = (i as f64 + 0.5) * ratio - 0.5;
        let reach = (2.0 * widening).ceil() as i64 + 1;
        let middle = center.floor() as i64;
        let mut total = 0.0;
        for j in middle - reach..=middle + reach + 1 {
            let value = weight((center - j as f64) / widening);
            let inside = (0..from as i64).contains(&j);
            if inside || resampling == Resampling::Torch {
                let column = j.clamp(0, from as i64 - 1) as usize;
                row[column] += value as f32;
                total += value;
            }
        }
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / total) as f32);
    }
    matrix
}

/// Keys' cubic kernel at distance `x ≥ 0`.
fn keys(x: f64, a: f64) -> f64 {
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// Resizes a map to `height × width`; the map itself where it has that size already.
///
/// # Shapes
/// - `map`: `[B, D, H, W]`
/// - result: `[B, D, height, width]`
pub fn resize_map(
    map: Tensor<4>,
    [height, width]: [usize; 2],
    kernel: Kernel,
    resampling: Resampling,
) -> Tensor<4> {
    let [_, _, from_height, from_width] = map.dims();
    let device = map.device();
    let matrix = |from, to| matrix_tensor(from, to, kernel, resampling, &device);
    let map = if from_width == width {
        map
    } else {
        map.matmul(matrix(from_width, width).transpose().unsqueeze())
    };
    if from_height == height {
        map
    } else {
        matrix(from_height, height).unsqueeze::<4>().matmul(map)
    }
}

/// Resizes a table along its first axis; the table itself where it has that length already.
///
/// # Shapes
/// - `table`: `[length, D]`
/// - result: `[to, D]`
pub fn resize_table(
    table: Tensor<2>,
    to: usize,
    kernel: Kernel,
    resampling: Resampling,
) -> Tensor<2> {
    let [from, _] = table.dims();
    if from == to {
        return table;
    }
    matrix_tensor(from, to, kernel, resampling, &table.device()).matmul(table)
}

fn matrix_tensor(
    from: usize,
    to: usize,
    kernel: Kernel,
    resampling: Resampling,
    device: &Device,
) -> Tensor<2> {
    let matrix = resize_matrix(from, to, kernel, resampling);
    Tensor::from_data(TensorData::new(matrix, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_two_samples_linearly_keeps_the_ends_and_mixes_the_middle() {
        let matrix = resize_matrix(2, 4, Kernel::Linear, Resampling::Torch);
        assert_eq!(matrix, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        let jax = resize_matrix(2, 4, Kernel::Linear, Resampling::Jax);
        assert_eq!(matrix, jax);
    }

    #[test]
    fn halving_antialiases_in_jax_only() {
        // The centre of output 0 is at 0.5; the triangle of half-width 2 gives distances
        // 0.25, 0.25, 0.75 → weights 0.75, 0.75, 0.25 over 1.75.
        let jax = resize_matrix(4, 2, Kernel::Linear, Resampling::Jax);
        for (found, expected) in jax[..4].iter().zip([3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
        let torch = resize_matrix(4, 2, Kernel::Linear, Resampling::Torch);
        assert_eq!(torch[..4], [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn every_row_sums_to_one_and_the_same_size_changes_nothing() {
        for resampling in [Resampling::Jax, Resampling::Torch] {
            for (from, to) in [(16, 27), (64, 24), (5, 5), (3, 10)] {
                let matrix = resize_matrix(from, to, Kernel::Cubic, resampling);
                for row in matrix.chunks(from) {
                    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
            }
            let same = resize_matrix(3, 3, Kernel::Cubic, resampling);
            assert_eq!(same, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        }
    }
}

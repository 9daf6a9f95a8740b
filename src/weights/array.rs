//! Plain `float32` arrays, row-major: what a tensor is between a file and a module.

use crate::model::vision::Resampling;
use crate::model::vision::resize::{Kernel, resize_matrix};

/// Rows and columns that are moved together in a transpose, so that both sides stay in the cache.
const TILE: usize = 32;

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, the last axis fastest.
    pub values: Vec<f32>,
}

impl Array {
    /// The axes in another order.
    pub fn permute(self, axes: &[usize]) -> Self {
        if axes.iter().enumerate().all(|(position, &axis)| position == axis) {
            return self;
        }
        let shape: Vec<usize> = axes.iter().map(|&axis| self.shape[axis]).collect();
        let values = match (axes, self.shape.as_slice()) {
            ([1, 0], &[rows, columns]) => transpose(&self.values, rows, columns),
            _ => self.gather(axes, &shape),
        };
        Self { shape, values }
    }

    /// The values in the order of `axes`.
    fn gather(&self, axes: &[usize], shape: &[usize]) -> Vec<f32> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
        let mut index = vec![0; shape.len()];
        let mut offset = 0;
        let mut values = Vec::with_capacity(self.values.len());
        for _ in 0..self.values.len() {
            values.push(self.values[offset]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                offset += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                offset -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
        values
    }

    /// Part `index` of `of` equal parts of the first axis.
    pub fn part(self, index: usize, of: usize) -> Self {
        let length = self.values.len() / of;
        let values = self.values[index * length..(index + 1) * length].to_vec();
        let shape = [&[self.shape[0] / of], &self.shape[1..]].concat();
        Self { shape, values }
    }

    /// The first `count` of the first axis.
    pub fn first(mut self, count: usize) -> Self {
        self.values.truncate(count * self.shape[1..].iter().product::<usize>());
        self.shape[0] = count;
        self
    }

    /// With an axis reversed.
    pub fn reverse(self, axis: usize) -> Self {
        let inner: usize = self.shape[axis + 1..].iter().product();
        let block = inner * self.shape[axis];
        if block == 0 {
            return self;
        }
        let reversed = self.values.chunks(block).flat_map(|block| block.rchunks(inner));
        Self { values: reversed.flatten().copied().collect(), shape: self.shape }
    }

    /// `[1, 1 + side², D]` with the cells on another square grid.
    pub fn resize_class_and_cells(self, side: usize, resampling: Resampling) -> Self {
        let [count, width] = [self.shape[1], self.shape[2]];
        let from = (count - 1).isqrt();
        let (class, cells) = self.values.split_at(width);
        let cells = Self { shape: vec![from, from, width], values: cells.to_vec() };
        let cells = cells.resize_axis(0, side, Kernel::Cubic, resampling);
        let cells = cells.resize_axis(1, side, Kernel::Cubic, resampling);
        let values = [class, &cells.values].concat();
        Self { shape: vec![1, 1 + side * side, width], values }
    }

    /// `[1, D, H, W]` on another grid.
    pub fn resize_grid(self, [height, width]: [usize; 2], resampling: Resampling) -> Self {
        let map = self.resize_axis(2, height, Kernel::Cubic, resampling);
        map.resize_axis(3, width, Kernel::Cubic, resampling)
    }

    /// `[length, D]` with another length.
    pub fn resize_distances(self, length: usize, resampling: Resampling) -> Self {
        self.resize_axis(0, length, Kernel::Linear, resampling)
    }

    fn resize_axis(self, axis: usize, to: usize, kernel: Kernel, resampling: Resampling) -> Self {
        let from = self.shape[axis];
        if from == to {
            return self;
        }
        let matrix = resize_matrix(from, to, kernel, resampling);
        let inner: usize = self.shape[axis + 1..].iter().product();
        let mut values = Vec::with_capacity(self.values.len() / from * to);
        for block in self.values.chunks(from * inner) {
            for weights in matrix.chunks(from) {
                let mut mixed = vec![0.0; inner];
                for (weight, row) in weights.iter().zip(block.chunks(inner)) {
                    mixed.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
                }
                values.extend(mixed);
            }
        }
        let mut shape = self.shape;
        shape[axis] = to;
        Self { shape, values }
    }
}

/// `[rows, columns]` → `[columns, rows]`, tile by tile.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    turned[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(shape: &[usize]) -> Array {
        let count: usize = shape.iter().product();
        Array { shape: shape.to_vec(), values: (0..count).map(|i| i as f32).collect() }
    }

    #[test]
    fn axes_move_with_their_values() {
        let turned = counting(&[2, 3]).permute(&[1, 0]);
        assert_eq!(turned.shape, [3, 2]);
        assert_eq!(turned.values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // A matrix wider than a tile, against the general way.
        let large = counting(&[70, 45]);
        let general = large.gather(&[1, 0], &[45, 70]);
        assert_eq!(large.permute(&[1, 0]).values, general);
        let kernel = counting(&[2, 2, 3, 4]).permute(&[3, 2, 0, 1]);
        // [h, w, in, out] = [1, 0, 2, 3] is value ((1·2 + 0)·3 + 2)·4 + 3 = 35.
        assert_eq!(kernel.shape, [4, 3, 2, 2]);
        assert_eq!(kernel.values[((3 * 3 + 2) * 2 + 1) * 2], 35.0);
    }

    #[test]
    fn parts_and_reversals() {
        let third = counting(&[6, 2]).part(2, 3);
        assert_eq!((third.shape, third.values), (vec![2, 2], vec![8.0, 9.0, 10.0, 11.0]));
        let first = counting(&[4, 2]).first(3);
        assert_eq!((first.shape, first.values), (vec![3, 2], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        let reversed = counting(&[2, 2, 2]).reverse(1);
        assert_eq!(reversed.values, [2.0, 3.0, 0.0, 1.0, 6.0, 7.0, 4.0, 5.0]);
    }

    #[test]
    fn a_constant_table_stays_constant_on_another_grid() {
        let mut table = Array { shape: vec![1, 1 + 9, 2], values: vec![1.5; 20] };
        table.values[0] = -3.0;
        let resized = table.resize_class_and_cells(5, Resampling::Jax);
        assert_eq!(resized.shape, [1, 26, 2]);
        assert_eq!(resized.values[0], -3.0);
        assert!(resized.values[1..].iter().all(|value| (value - 1.5).abs() < 1e-5));
    }
}

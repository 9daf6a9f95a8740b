//! SAM's attention: within windows or over the whole map, with decomposed relative positions
//! (`spec/model.md` §3).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use super::Resampling;
use super::resize::{Kernel, resize_table};
use super::sam::SamConfig;
use crate::model::attention::attend;
use crate::model::kernels::softmax::softmax;
use crate::model::mixed_precision::{linear, matmul};

/// Multi-head self-attention on a map.
#[derive(Module, Debug)]
pub(super) struct WindowedAttention {
    /// Query, key and value in one.
    qkv: Linear,
    output: Linear,
    /// `[2·side − 1, head]`: vectors for the vertical distances `1 − side ..= side − 1`.
    relative_rows: Param<Tensor<2>>,
    /// `[2·side − 1, head]`: the same for horizontal distances.
    relative_columns: Param<Tensor<2>>,
    #[module(skip)]
    num_heads: usize,
    /// Side of a window in tokens; `None` attends to the whole map.
    #[module(skip)]
    window: Option<usize>,
    #[module(skip)]
    resampling: Resampling,
}

impl WindowedAttention {
    /// The attention of block `index`.
    pub(super) fn new(config: &SamConfig, index: usize, device: &Device) -> Self {
        let window = (!config.global_blocks.contains(&index)).then_some(config.window_tokens);
        let side = window.unwrap_or(config.pretrain_image_px / config.patch_px);
        let table = || {
            let shape = [2 * side - 1, config.width / config.num_heads];
            let normal = Distribution::Normal(0.0, config.initial_deviation);
            Param::from_tensor(Tensor::random(shape, normal, device))
        };
        Self {
            qkv: config.linear(config.width, 3 * config.width, device),
            output: config.linear(config.width, config.width, device),
            relative_rows: table(),
            relative_columns: table(),
            num_heads: config.num_heads,
            window,
            resampling: config.resampling,
        }
    }

    /// `x`: `[B, H, W, D]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(side) = self.window else { return self.attend(x) };
        let [_, height, width, _] = x.dims();
        let windows = self.attend(partition(x, side));
        unpartition(windows, side, [height, width])
    }

    /// Attention among all cells of each map `[B, H, W, D]`.
    fn attend(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let (cells, head_width) = (height * width, channels / self.num_heads);
        // [3, B, heads, cells, head]
        let qkv = linear(&self.qkv, x)
            .reshape([batch, cells, 3, self.num_heads, head_width])
            .permute([2, 0, 3, 1, 4]);
        let [query, key, value] = [0, 1, 2].map(|part| {
            let part = qkv.clone().narrow(0, part, 1);
            part.reshape([batch, self.num_heads, cells, head_width])
        });
        let (by_row, by_column) = self.relative_positions(query.clone(), [height, width]);
        let query = query * (head_width as f64).powf(-0.5);
        let attended = if query.is_autodiff() {
            let by_place: Tensor<5> = by_row.unsqueeze_dim::<5>(4) + by_column.unsqueeze_dim(3);
            let by_place = by_place.reshape([batch, self.num_heads, cells, cells]);
            let logits = matmul(query, key.swap_dims(2, 3)) + by_place;
            matmul(softmax(logits), value)
        } else {
            // What a row and a column add to a logit, as further channels that meet a 1 at theirs:
            // the sum is formed inside the fused product, and no score is ever kept.
            let places = [batch, self.num_heads];
            let by_row = by_row.reshape([batch, self.num_heads, cells, height]);
            let by_column = by_column.reshape([batch, self.num_heads, cells, width]);
            let query = Tensor::cat(vec![query, by_row, by_column], 3);
            let [rows, columns] = one_hot_places([height, width], &query.device());
            let place = |table: Tensor<2>| {
                let [cells, length] = table.dims();
                table.unsqueeze::<4>().expand([places[0], places[1], cells, length])
            };
            let key = Tensor::cat(vec![key, place(rows), place(columns)], 3);
            attend(query, key, value)
        };
        let attended = attended.swap_dims(1, 2).reshape([batch, height, width, channels]);
        linear(&self.output, attended)
    }

    /// What the distance to each row and to each column adds to a logit.
    ///
    /// # Shapes
    /// - `query`: `[B, heads, H·W, head]`, not scaled
    /// - result: `[B·heads, H·W, H]` for rows and `[B·heads, H·W, W]` for columns, as
    ///   `[B·heads, H, W, H]` and `[B·heads, H, W, W]`
    fn relative_positions(
        &self,
        query: Tensor<4>,
        [height, width]: [usize; 2],
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, _, head_width] = query.dims();
        let query = query.reshape([batch * heads, height, width, head_width]);
        let vertical = self.distances(self.relative_rows.val(), height);
        let horizontal = self.distances(self.relative_columns.val(), width);
        // [B·heads, H, W, head] · [1, H, head, H] → [B·heads, H, W, H]
        let by_row = query.clone().matmul(vertical.swap_dims(1, 2).unsqueeze::<4>());
        // [B·heads, W, H, head] · [1, W, head, W] → [B·heads, W, H, W]
        let by_column = query.swap_dims(1, 2).matmul(horizontal.swap_dims(1, 2).unsqueeze::<4>());
        (by_row, by_column.swap_dims(1, 2))
    }

    /// The vector of every pair of positions along one axis: `[side, side, head]`.
    fn distances(&self, table: Tensor<2>, side: usize) -> Tensor<3> {
        let table = resize_table(table, 2 * side - 1, Kernel::Linear, self.resampling);
        let [_, head_width] = table.dims();
        let indices: Vec<i64> = (0..side)
            .flat_map(|from| (0..side).map(move |to| (from + side - 1 - to) as i64))
            .collect();
        let indices = TensorData::new(indices, [side * side]);
        let indices = Tensor::<1, Int>::from_data(indices, &table.device());
        table.select(0, indices).reshape([side, side, head_width])
    }
}

/// For every cell of a grid a 1 at its row, `[H·W, H]`, and at its column, `[H·W, W]`.
fn one_hot_places([height, width]: [usize; 2], device: &Device) -> [Tensor<2>; 2] {
    let cells = height * width;
    let table = |length: usize, place: fn(usize, usize) -> usize| {
        let mut values = vec![0.0f32; cells * length];
        for cell in 0..cells {
            values[cell * length + place(cell, width)] = 1.0;
        }
        Tensor::from_data(TensorData::new(values, [cells, length]), device)
    };
    [table(height, |cell, width| cell / width), table(width, |cell, width| cell % width)]
}

/// Cuts maps into windows, padding with zeros at the bottom and right.
///
/// # Shapes
/// - `x`: `[B, H, W, D]`
/// - result: `[B · windows, side, side, D]`
fn partition(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let (rows, columns) = (height.div_ceil(side), width.div_ceil(side));
    let (bottom, right) = (rows * side - height, columns * side - width);
    let x = if bottom + right > 0 {
        let x = x.permute([0, 3, 1, 2]).pad((0, right, 0, bottom), 0.0);
        x.permute([0, 2, 3, 1])
    } else {
        x
    };
    x.reshape([batch, rows, side, columns, side, channels]).swap_dims(2, 3).reshape([
        batch * rows * columns,
        side,
        side,
        channels,
    ])
}

/// Undoes [`partition`].
fn unpartition(windows: Tensor<4>, side: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let [count, _, _, channels] = windows.dims();
    let (rows, columns) = (height.div_ceil(side), width.div_ceil(side));
    let batch = count / (rows * columns);
    let x = windows
        .reshape([batch, rows, columns, side, side, channels])
        .swap_dims(2, 3)
        .reshape([batch, rows * side, columns * side, channels]);
    if [rows * side, columns * side] == [height, width] {
        x
    } else {
        x.slice([0..batch, 0..height, 0..width, 0..channels])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn windows_come_back_to_their_place_even_when_padded() {
        let device = Device::flex();
        let x = Tensor::<1, Int>::arange(0..(2 * 5 * 3 * 2), &device).float();
        let x = x.reshape([2, 5, 3, 2]);
        let windows = partition(x.clone(), 2);
        assert_eq!(windows.dims(), [2 * 3 * 2, 2, 2, 2]);
        let back = unpartition(windows, 2, [5, 3]);
        assert_eq!(back.into_data(), x.into_data());
    }
}

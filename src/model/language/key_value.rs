//! What an attention remembers of the rows that it has read, and what becomes of that when texts share a
//! prefix or are put in another order. One piece for every language model.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

/// Columns that are made at once for what is to come, at least.
const LEAST_ROOM: usize = 16;

/// Keys and values of the columns that were read.
#[derive(Debug, Clone)]
pub(super) struct KeyValue {
    /// `[R, heads, S or more, head width]`: room for columns to come behind those that were read.
    keys: Tensor<4>,
    /// As `keys`.
    values: Tensor<4>,
    /// Columns that were read, `S`.
    length: usize,
}

impl KeyValue {
    /// Of `keys` and `values`, both `[R, heads, S, head width]`.
    pub(super) fn new(keys: Tensor<4>, values: Tensor<4>) -> Self {
        let [_, _, length, _] = keys.dims();
        Self { keys, values, length }
    }

    /// `[R, heads, S, head width]`.
    pub(super) fn keys(&self) -> Tensor<4> {
        columns(&self.keys, self.length)
    }

    /// `[R, heads, S, head width]`.
    pub(super) fn values(&self) -> Tensor<4> {
        columns(&self.values, self.length)
    }

    /// With other rows.
    pub(super) fn change_rows(self, change: &RowChange) -> Self {
        let [keys, values] = [self.keys, self.values].map(|rows| change.apply(rows));
        Self { keys, values, ..self }
    }

    /// Adds what was read after it. Where that is one column, room is made for as many more as there
    /// are, so that a text of `n` tokens is copied `log n` times and not `n` times.
    pub(super) fn append(self, next: Self) -> Self {
        let read = self.length..self.length + next.length;
        let room = if next.length == 1 { read.end.max(LEAST_ROOM) } else { 0 };
        Self {
            length: read.end,
            keys: assign(self.keys, read.clone(), next.keys, room),
            values: assign(self.values, read, next.values, room),
        }
    }
}

/// The first `length` columns of `all`, `[R, heads, S or more, head width]`.
fn columns(all: &Tensor<4>, length: usize) -> Tensor<4> {
    if all.dims()[2] == length { all.clone() } else { all.clone().narrow(2, 0, length) }
}

/// `all`, `[R, heads, S or more, head width]`, with `next`, `[R, heads, columns, head width]`, at the
/// columns `at`: in place where there are such columns (and nobody else holds them), else in a copy with
/// `room` more.
fn assign(all: Tensor<4>, at: Range<usize>, next: Tensor<4>, room: usize) -> Tensor<4> {
    let [rows, heads, capacity, width] = all.dims();
    if at.end <= capacity {
        return all.slice_assign([0..rows, 0..heads, at, 0..width], next);
    }
    let mut parts = vec![all.narrow(2, 0, at.start), next];
    if room > 0 {
        let device = parts[0].device();
        parts.push(Tensor::zeros([rows, heads, room, width], &device));
    }
    Tensor::cat(parts, 2)
}

/// `[R, S, heads · head width]` → `[R, heads, S, head width]`.
pub(super) fn split_heads(rows: Tensor<3>, num_heads: usize) -> Tensor<4> {
    let [num_rows, length, width] = rows.dims();
    rows.reshape([num_rows, length, num_heads, width / num_heads]).swap_dims(1, 2)
}

/// What becomes of the rows of a tensor.
#[allow(clippy::large_enum_variant)] // Lives for one call.
pub(super) enum RowChange {
    /// Each becomes this many in a row.
    Repeat(usize),
    /// Row `indices[i]` becomes row `i`; `[R']`.
    Select(Tensor<1, Int>),
}

impl RowChange {
    /// `[R, …]` → `[R', …]`.
    pub(super) fn apply<const N: usize>(&self, rows: Tensor<N>) -> Tensor<N> {
        let count = match self {
            Self::Select(indices) => return rows.select(0, indices.clone()),
            Self::Repeat(count) => *count,
        };
        let mut shape = rows.dims();
        let [num_rows, rest] = [shape[0], shape[1..].iter().product()];
        shape[0] *= count;
        rows.reshape([num_rows, 1, rest]).expand([num_rows, count, rest]).reshape(shape)
    }

    /// How many rows there are afterwards, where there were `num_rows`.
    pub(super) fn num_rows(&self, num_rows: usize) -> usize {
        match self {
            Self::Repeat(count) => num_rows * count,
            Self::Select(indices) => indices.dims()[0],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn columns_are_found_as_they_were_added_with_and_without_room() {
        let device = Device::flex();
        let row = |values: &[f32]| {
            let row = Tensor::<1>::from_data(values, &device).reshape([1, 1, values.len(), 1]);
            KeyValue::new(row.clone(), row.neg())
        };
        let values = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().unwrap();
        let mut expected = vec![1.0, 2.0, 3.0];
        let mut memory = row(&[1.0]).append(row(&[2.0, 3.0]));
        assert_eq!(memory.keys.dims(), [1, 1, 3, 1], "a whole text needs no room");
        let mut copies = 0;
        for token in 4..60 {
            let before = memory.keys.dims()[2];
            memory = memory.append(row(&[token as f32]));
            copies += usize::from(memory.keys.dims()[2] != before);
            expected.push(token as f32);
            assert_eq!(values(memory.keys()), expected);
            assert_eq!(values(memory.values().neg()), expected);
        }
        assert!(copies <= 3, "{copies} copies");
        // Two texts that go on from one do not write into each other.
        let other = memory.clone().append(row(&[7.0]));
        let memory = memory.append(row(&[8.0]));
        assert_eq!(values(other.keys()).last(), Some(&7.0));
        assert_eq!(values(memory.keys()).last(), Some(&8.0));
    }

    #[test]
    fn rows_are_repeated_one_after_the_other_and_selected_in_any_order() {
        let device = Device::flex();
        let rows = || Tensor::<3>::from_data([[[1.0, 2.0]], [[3.0, 4.0]]], &device);
        let values =
            |change: &RowChange| change.apply(rows()).into_data().try_to_vec::<f32>().unwrap();
        let repeat = RowChange::Repeat(2);
        assert_eq!(values(&repeat), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
        let select = RowChange::Select(Tensor::from_data([1, 1, 0], &device));
        assert_eq!(values(&select), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
        assert_eq!([repeat.num_rows(2), select.num_rows(2)], [4, 3]);
    }
}

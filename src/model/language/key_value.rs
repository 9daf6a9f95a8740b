//! What an attention remembers of the rows that it has read, and what becomes of that when texts share a
//! prefix or are put in another order. One piece for every language model.

use burn::tensor::{Int, Tensor};

/// Keys and values; both `[R, heads, S, head width]`.
#[derive(Debug, Clone)]
pub(super) struct KeyValue {
    pub(super) keys: Tensor<4>,
    pub(super) values: Tensor<4>,
}

impl KeyValue {
    /// With other rows.
    pub(super) fn change_rows(self, change: &RowChange) -> Self {
        Self { keys: change.apply(self.keys), values: change.apply(self.values) }
    }

    /// Adds what was read after it.
    pub(super) fn append(&mut self, next: Self) {
        let join = |past: &Tensor<4>, next| Tensor::cat(vec![past.clone(), next], 2);
        self.keys = join(&self.keys, next.keys);
        self.values = join(&self.values, next.values);
    }
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
    /// Row `indices[i]` becomes row `i`.
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

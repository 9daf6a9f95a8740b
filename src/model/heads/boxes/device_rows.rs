//! Choosing rows and fetching them without asking the device which they are: the indices stay there.
//!
//! Burn's own ways to such indices (`nonzero`, `argwhere`, `sort`) go through the host on a GPU, and its
//! `topk` there is made for a handful of values.

use burn::tensor::{Bool, Device, IndexingUpdateOp, Int, Tensor};

/// Places that are summed up one after the other. Burn sums up to each place from the start on a GPU, which
/// is quadratic work; in two steps, over blocks and over places within a block, it stays small.
const BLOCK: usize = 128;

/// How many places are `chosen` up to each, itself included.
///
/// # Shapes
/// - `chosen`: `[B, M]`
/// - result: `[B, M]`
pub(super) fn running_count(chosen: Tensor<2, Bool>) -> Tensor<2, Int> {
    let [batch, places] = chosen.dims();
    let blocks = places.div_ceil(BLOCK);
    let device = chosen.device();
    let padding = Tensor::<2, Int>::zeros([batch, blocks * BLOCK - places], &device);
    let chosen = chosen.int();
    let chosen =
        if blocks * BLOCK > places { Tensor::cat(vec![chosen, padding], 1) } else { chosen };
    let within = chosen.reshape([batch, blocks, BLOCK]).cumsum(2);
    let of_block = within.clone().narrow(2, BLOCK - 1, 1);
    let before = of_block.clone().cumsum(1) - of_block;
    (within + before).reshape([batch, blocks * BLOCK]).narrow(1, 0, places)
}

/// The first `count` places that are `chosen`, in their order; 0 fills up where there are fewer.
///
/// # Shapes
/// - `chosen`: `[B, M]`
/// - result: `[B, count]`
pub(super) fn first_chosen(chosen: Tensor<2, Bool>, count: usize) -> Tensor<2, Int> {
    let rank = running_count(chosen.clone());
    let left_out = chosen.bool_not().bool_or(rank.clone().greater_elem(count as i64));
    // What is left out goes into a column behind the others.
    let slot = (rank - 1).mask_fill(left_out, count as i64);
    let places = indices(slot.dims(), 1, &slot.device());
    into_slots(places, slot, count + 1).narrow(1, 0, count)
}

/// Every value in the slot that is given for it, of `count` slots.
///
/// # Shapes
/// - `values`, `slots`: `[B, M]`
/// - result: `[B, count]`; where several values share a slot, their sum
pub(super) fn into_slots(
    values: Tensor<2, Int>,
    slots: Tensor<2, Int>,
    count: usize,
) -> Tensor<2, Int> {
    let [batch, _] = values.dims();
    let empty = Tensor::<2, Int>::zeros([batch, count], &values.device());
    empty.scatter(1, slots, values, IndexingUpdateOp::Add)
}

/// For each number of a tensor, its place on axis `dim`.
pub(super) fn indices<const D: usize>(
    shape: [usize; D],
    dim: usize,
    device: &Device,
) -> Tensor<D, Int> {
    let mut along = [1; D];
    along[dim] = shape[dim];
    Tensor::<1, Int>::arange(0..shape[dim] as i64, device).reshape(along).expand(shape)
}

/// Whether place `j` comes before place `i`: `[B, i, j]`, of `count` places.
pub(super) fn is_before(batch: usize, count: usize, device: &Device) -> Tensor<3, Bool> {
    let shape = [batch, count, count];
    indices(shape, 2, device).lower(indices(shape, 1, device))
}

/// Rows of each image.
///
/// # Shapes
/// - `values`: `[B, M, D]`
/// - `rows`: `[B, N]`, below `M`
/// - result: `[B, N, D]`
pub(super) fn take(values: Tensor<3>, rows: Tensor<2, Int>) -> Tensor<3> {
    let [batch, places, width] = values.dims();
    let [_, count] = rows.dims();
    let images = indices([batch, count], 0, &rows.device());
    let rows = (rows + images * places as i64).reshape([batch * count]);
    values.reshape([batch * places, width]).select(0, rows).reshape([batch, count, width])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn the_first_that_are_chosen_come_in_their_order() {
        let device = Device::flex();
        // More than two blocks, not a whole number of them; and a row in which little is chosen.
        let places = 2 * BLOCK + 37;
        let chosen = |image: usize, place: usize| match image {
            0 => place % 3 == 1,
            _ => place == BLOCK || place == places - 1,
        };
        let flags: Vec<bool> =
            (0..2).flat_map(|image| (0..places).map(move |at| chosen(image, at))).collect();
        let flags = Tensor::<2, Bool>::from_data(TensorData::new(flags, [2, places]), &device);
        let counts = running_count(flags.clone()).into_data();
        let counts: Vec<i64> = counts.iter::<i64>().collect();
        for image in 0..2 {
            let mut expected = 0;
            for place in 0..places {
                expected += i64::from(chosen(image, place));
                assert_eq!(counts[image * places + place], expected);
            }
        }
        let found: Vec<i64> = first_chosen(flags, 50).into_data().iter::<i64>().collect();
        let expected: Vec<i64> = (0..50).map(|index| 3 * index + 1).collect();
        assert_eq!(found[..50], expected);
        let second = [vec![BLOCK as i64, places as i64 - 1], vec![0; 48]].concat();
        assert_eq!(found[50..], second);
    }

    #[test]
    fn rows_are_those_of_their_image() {
        let device = Device::flex();
        let values = Tensor::<1, Int>::arange(0..12, &device).float().reshape([2, 3, 2]);
        let rows = Tensor::<2, Int>::from_data([[2, 0], [1, 1]], &device);
        let found: Vec<f32> = take(values, rows).into_data().try_to_vec().unwrap();
        assert_eq!(found, [4.0, 5.0, 0.0, 1.0, 8.0, 9.0, 8.0, 9.0]);
    }
}

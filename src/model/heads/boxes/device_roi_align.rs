//! RoIAlign of boxes that are on a device and stay there: what [`super::roi_align`] gives, without the host
//! knowing where the boxes are.
//!
//! Which map shows a box, and between which cells its samples lie, are tensors. The maps are laid out as one
//! table with a row for each cell, and the 4 × 4 cells around the samples of a bin (with two samples per
//! axis) are fetched one after the other for all bins, weighed and summed up. So the work and the memory
//! depend on the boxes alone: with the paper's numbers (256 boxes of 7 × 7 bins and 256 channels) 13 MB per
//! image for the sum, as much each for what is fetched and for what is weighed, and 3 million multiply-adds
//! for each of the 16. Matrix products as in [`super::roi_align::by_products`] would have to be over whole
//! maps, as groups of boxes cannot be made on the device: of the finest map of 54 × 54 cells alone, the rows
//! under all boxes are 99 MB per image, and 1.3 billion multiply-adds; with one of 128 × 128 cells, 235 MB and
//! 7.5 billion.

use burn::tensor::{Int, Tensor, TensorData};

use super::roi_align::{Grid, map_for};

/// Where the maps of a pyramid are, and which boxes they are for.
pub(super) struct Levels<'a> {
    /// Sides of the maps' cells, in pixels.
    pub(super) strides: &'a [f32],
    /// Level of the first map.
    pub(super) first: usize,
}

/// The cells around the samples of bins on one axis, and how much each counts: `[R, side, taps]`.
struct Taps {
    cells: Tensor<3, Int>,
    weights: Tensor<3>,
}

/// Features under boxes; beyond a map there are zeros.
///
/// # Shapes
/// - `maps`: `[B, D, H, W]` each
/// - `boxes`: `[B, N, 4]`, corners in pixels of the canvas; finite
/// - result: `[B, N, side, side, D]`
pub(super) fn roi_align(
    maps: &[Tensor<4>],
    levels: &Levels<'_>,
    boxes: Tensor<3>,
    grid: Grid,
) -> Tensor<5> {
    let [batch, count, _] = boxes.dims();
    let (device, side, rows) = (boxes.device(), grid.side, batch * count);
    let boxes = boxes.reshape([rows, 4]);
    let sizes: Vec<[usize; 2]> = maps.iter().map(|map| [map.dims()[2], map.dims()[3]]).collect();
    let (table, starts) = cell_table(maps, &sizes);

    let map = best_map(boxes.clone(), levels);
    let number = |of_map: &dyn Fn(usize) -> f32| {
        let numbers: Vec<f32> = (0..maps.len()).map(of_map).collect();
        let numbers = Tensor::<1>::from_data(numbers.as_slice(), &device);
        numbers.select(0, map.clone()).reshape([rows, 1]) as Tensor<2>
    };
    let boxes = boxes * number(&|map| 1.0 / levels.strides[map]);
    let of_axis = |axis: usize| {
        let edge = |index: usize| boxes.clone().narrow(1, index, 1);
        // y is the axis of rows, 0, and the second coordinate of a corner.
        let extent = [edge(1 - axis), edge(3 - axis)];
        axis_taps(extent, number(&|map| sizes[map][axis] as f32), grid)
    };
    let (vertical, horizontal) = (of_axis(0), of_axis(1));

    let whole = |numbers: Vec<i64>| {
        let numbers = Tensor::<1, Int>::from_data(numbers.as_slice(), &device);
        numbers.select(0, map.clone()).reshape([rows, 1, 1]) as Tensor<3, Int>
    };
    let images = (0..batch as i64).flat_map(|image| std::iter::repeat_n(image, count));
    let images = Tensor::<1, Int>::from_data(images.collect::<Vec<i64>>().as_slice(), &device);
    let cells_of_image = sizes.iter().map(|[height, width]| height * width).sum::<usize>();
    let first = images.reshape([rows, 1, 1]) * cells_of_image as i64 + whole(starts);
    let widths = whole(sizes.iter().map(|&[_, width]| width as i64).collect());

    let [_, channels] = table.dims();
    let bins = rows * side * side;
    let mut sum = Tensor::<2>::zeros([bins, channels], &device);
    let [_, _, taps] = vertical.cells.dims();
    for (row, column) in (0..taps * taps).map(|tap| (tap / taps, tap % taps)) {
        let cell = vertical.cells.clone().narrow(2, row, 1) * widths.clone()
            + horizontal.cells.clone().narrow(2, column, 1).swap_dims(1, 2)
            + first.clone();
        let weight = vertical.weights.clone().narrow(2, row, 1)
            * horizontal.weights.clone().narrow(2, column, 1).swap_dims(1, 2);
        let cells = table.clone().select(0, cell.reshape([bins]));
        sum = sum + cells * weight.reshape([bins, 1]);
    }
    sum.reshape([batch, count, side, side, channels])
}

/// All cells of all maps, `[B * M, D]`, image by image; and where each map starts within an image.
fn cell_table(maps: &[Tensor<4>], sizes: &[[usize; 2]]) -> (Tensor<2>, Vec<i64>) {
    let of_map = |map: &Tensor<4>| {
        let [batch, channels, height, width] = map.dims();
        map.clone().reshape([batch, channels, height * width]).swap_dims(1, 2)
    };
    let cells = Tensor::cat(maps.iter().map(of_map).collect(), 1);
    let [batch, of_image, channels] = cells.dims();
    let starts = sizes.iter().scan(0, |next, [height, width]| {
        let start = *next;
        *next += (height * width) as i64;
        Some(start)
    });
    (cells.reshape([batch * of_image, channels]), starts.collect())
}

/// For each box `[R, 4]`, the index of the map that shows it best: `[R]`.
fn best_map(boxes: Tensor<2>, levels: &Levels<'_>) -> Tensor<1, Int> {
    let [rows, _] = boxes.dims();
    let corner = |index: usize| boxes.clone().narrow(1, index, 2);
    let sides = corner(2) - corner(0);
    let area = sides.clone().narrow(1, 0, 1) * sides.narrow(1, 1, 1);
    let first = Tensor::<2, Int>::zeros([rows, 1], &boxes.device());
    let count = levels.strides.len();
    let further = (1..count).map(|map| least_area(map, count, levels.first));
    let map = further.fold(first, |map, least| map + area.clone().greater_equal_elem(least).int());
    map.reshape([rows])
}

/// The least area, in pixels, of a box for `map` or one behind it. The host's own rule is asked, so that
/// both agree also where a logarithm is rounded; it does not fall with the area, and neither do numbers
/// with their bits.
fn least_area(map: usize, num_maps: usize, first_level: usize) -> f32 {
    let (mut below, mut from) = (0, f32::INFINITY.to_bits());
    while from - below > 1 {
        let between = below + (from - below) / 2;
        match map_for(f32::from_bits(between), num_maps, first_level) >= map {
            true => from = between,
            false => below = between,
        }
    }
    f32::from_bits(from)
}

/// The cells around the samples of each bin between two places of an axis, `[R, 1]` each, of maps with `length`
/// cells `[R, 1]`: as in [`super::roi_align`].
fn axis_taps([start, end]: [Tensor<2>; 2], length: Tensor<2>, grid: Grid) -> Taps {
    let [rows, _] = start.dims();
    let Grid { side, samples } = grid;
    let device = start.device();
    let steps = (0..side * samples).map(|index| {
        let (bin, sample) = (index / samples, index % samples);
        bin as f32 + (sample as f32 + 0.5) / samples as f32
    });
    let steps = TensorData::new(steps.collect::<Vec<f32>>(), [1, side * samples]);
    let steps = Tensor::<2>::from_data(steps, &device);
    let bin = (end - start.clone()) / side as f32;
    let places = start + steps * bin - 0.5;
    let below = places.clone().floor();
    let share = places - below.clone();
    let tap = |cell: Tensor<2>, weight: Tensor<2>| {
        let on_map =
            cell.clone().greater_equal_elem(0.0).bool_and(cell.clone().lower(length.clone()));
        let weight = weight.mask_fill(on_map.clone().bool_not(), 0.0) / samples as f32;
        let cell = cell.mask_fill(on_map.bool_not(), 0.0).int();
        (cell.reshape([rows, side, samples]), weight.reshape([rows, side, samples]))
    };
    let (cell, weight) = tap(below.clone(), share.clone().neg() + 1.0);
    let (next, weight_of_next) = tap(below + 1.0, share);
    Taps {
        cells: Tensor::cat(vec![cell, next], 2),
        weights: Tensor::cat(vec![weight, weight_of_next], 2),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::geometry::BoundingBox;
    use crate::model::heads::boxes::roi_align::{self as host, assign};

    #[test]
    fn boxes_on_the_device_are_seen_as_those_on_the_host() {
        let device = Device::flex();
        let strides = [8.0, 14.0, 32.0];
        let maps = [[23, 30], [13, 17], [5, 7]].map(|[height, width]| {
            Tensor::<4>::random([2, 5, height, width], Distribution::Default, &device)
        });
        // From the first map to the last, beyond the borders, and without an area.
        let place = |index: usize, step: usize, modulus: usize| (index * step % modulus) as f32;
        let mut boxes: Vec<[f32; 4]> = (0..60)
            .map(|index| {
                let (x, y) = (place(index, 17, 200) - 20.3, place(index, 29, 170) - 10.6);
                let (width, height) = (place(index, 53, 600), place(index, 31, 550) + 0.7);
                [x, y, x + width, y + height]
            })
            .collect();
        // Exactly where the second map takes over from the first, and the third from the second.
        boxes.extend([224.0, 448.0].map(|side| [1.0, 2.0, 1.0 + side, 2.0 + side]));
        boxes.extend([[-1e9, -1e9, 1e9, 1e9], [9.0, 9.0, 9.0, 9.0], [0.0; 4]]);
        boxes.push([500.0, 500.0, 600.0, 700.0]);
        let count = boxes.len() / 2;
        let regions: Vec<Vec<host::Region>> = boxes
            .chunks_exact(count)
            .map(|of_image| {
                let region =
                    |b: &[f32; 4]| assign(BoundingBox::new(b[0], b[1], b[2], b[3]), &strides, 3);
                of_image.iter().map(region).collect()
            })
            .collect();
        for map in 0..3 {
            assert!(regions.iter().flatten().any(|region| region.map == map));
        }
        let grid = Grid { side: 7, samples: 2 };
        let expected = host::roi_align(&maps, &regions, grid);
        let boxes = TensorData::new(boxes.concat(), [2, count, 4]);
        let boxes = Tensor::<3>::from_data(boxes, &device);
        let found = roi_align(&maps, &Levels { strides: &strides, first: 3 }, boxes, grid);
        let greatest = (found - expected).abs().max().into_scalar::<f32>();
        assert!(greatest < 1e-5, "{greatest}");
    }

    #[test]
    fn the_least_area_of_a_map_is_where_the_host_changes() {
        for map in 1..5 {
            let least = least_area(map, 5, 3);
            let side = 112.0 * 2.0f32.powi(map as i32);
            assert!((least.sqrt() - side).abs() < 1e-3, "{map}: {least}");
            assert_eq!(map_for(least, 5, 3), map);
            assert_eq!(map_for(f32::from_bits(least.to_bits() - 1), 5, 3), map - 1);
        }
    }
}

//! RoIAlign (He et al., *Mask R-CNN*, ICCV 2017; `spec/model.md` §10.5): what a feature pyramid has
//! under a box, on a small grid.
//!
//! The sample points of a box form a grid along the axes, so that bilinear sampling and the mean over
//! the samples of a bin are one small matrix for rows and one for columns: two matrix products, and
//! gradients reach the features through them. Boxes are given on the host and have no gradient.
//!
//! On the processor and without gradients, the samples are summed up one by one ([`host_roi_align`]). Where the
//! boxes are on a GPU and are not to be read back, they are, too (`device_roi_align`).
//!
//! A box needs few cells of a large map. `roi_groups` therefore puts boxes that lie close
//! together into groups, and the products of a group are over the cells around it alone.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};

use super::host_roi_align;
use super::roi_groups::{Member, Sizes, Window, groups};
use crate::backend;
use crate::geometry::BoundingBox;

/// Side of a box, in pixels, that level 4 is for: that of ImageNet's pictures (Lin et al., *Feature
/// pyramid networks*, CVPR 2017).
const REFERENCE_PX: f32 = 224.0;
/// The level for it.
const REFERENCE_LEVEL: f32 = 4.0;

/// The small grid on which a box is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Bins on each axis.
    pub side: usize,
    /// Sample points per bin and axis.
    pub samples: usize,
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Index of the map.
    pub map: usize,
    /// In cells of the map.
    pub bounding_box: BoundingBox,
}

/// The map that shows a box best, by its area, and the box in cells of it.
///
/// `strides` are the sides of the maps' cells in pixels; `first_level` is the level of the first map:
/// level `l` has cells of nominally `2^l` pixels.
pub fn assign(bounding_box: BoundingBox, strides: &[f32], first_level: usize) -> Region {
    let area = bounding_box.width() * bounding_box.height();
    let map = map_for(area, strides.len(), first_level);
    let scale = 1.0 / strides[map];
    Region { map, bounding_box: bounding_box.scale(scale, scale) }
}

/// The index of the map, of `num_maps`, that shows a box of an `area` in pixels best.
pub(super) fn map_for(area: f32, num_maps: usize, first_level: usize) -> usize {
    let level = (REFERENCE_LEVEL + (area.sqrt() / REFERENCE_PX + 1e-8).log2()).floor();
    // A level below the first is the first; not a number (an inverted box) is the first, too.
    ((level - first_level as f32).max(0.0) as usize).min(num_maps.saturating_sub(1))
}

/// Features under regions; beyond a map there are zeros.
///
/// # Shapes
/// - `maps`: `[B, D, H, W]` each
/// - `regions`: `B` lists of the same length `N`
/// - result: `[B, N, side, side, D]`
pub fn roi_align(maps: &[Tensor<4>], regions: &[Vec<Region>], grid: Grid) -> Tensor<5> {
    if backend::is_host(&maps[0].device())
        && !maps[0].is_autodiff()
        && let Some(pooled) = host_roi_align::roi_align(maps, regions, grid)
    {
        return pooled;
    }
    by_products(maps, regions, grid)
}

/// [`roi_align`] by matrix products: on every device, and with gradients.
pub(super) fn by_products(maps: &[Tensor<4>], regions: &[Vec<Region>], grid: Grid) -> Tensor<5> {
    let side = grid.side;
    let (batch, rows) = (regions.len(), regions.first().map_or(0, Vec::len));
    let device = maps[0].device();
    let channels = maps[0].dims()[1];
    let mut pooled = Vec::new();
    // Where each region is among the pooled ones: row of the image, rows per image so far.
    let mut places = vec![vec![0; rows]; batch];
    let mut offset = 0;
    for (index, map) in maps.iter().enumerate() {
        let [_, _, height, width] = map.dims();
        let sizes = Sizes { batch, map: [height, width], channels, grid };
        let groups = groups(regions, index, sizes);
        if groups.is_empty() {
            continue;
        }
        let map = map.clone().permute([0, 2, 3, 1]).reshape([batch, height, width * channels]);
        for group in groups {
            let mut boxes = vec![Vec::new(); batch];
            for &Member { image, row, .. } in &group.members {
                places[image][row] = offset + boxes[image].len();
                boxes[image].push(regions[image][row].bounding_box);
            }
            let of_group = pool(map.clone(), &boxes, group.window, sizes);
            offset += of_group.dims()[1];
            pooled.push(of_group);
        }
    }
    if pooled.is_empty() {
        return Tensor::zeros([batch, rows, side, side, channels], &device);
    }
    let pooled = Tensor::cat(pooled, 1).reshape([batch * offset, side * side * channels]);
    let places = places.into_iter().enumerate().flat_map(|(image, places)| {
        places.into_iter().map(move |place| (image * offset + place) as i64)
    });
    let places = TensorData::new(places.collect::<Vec<i64>>(), [batch * rows]);
    let places = Tensor::<1, Int>::from_data(places, &device);
    pooled.select(0, places).reshape([batch, rows, side, side, channels])
}

/// `[B, H, W * D]` and boxes of each image within a window of the map → `[B, N, side, side, D]`, where
/// `N` is the number of boxes of the image with most; zeros where an image has fewer.
fn pool(map: Tensor<3>, boxes: &[Vec<BoundingBox>], window: Window, sizes: Sizes) -> Tensor<5> {
    let Sizes { batch, channels, grid, .. } = sizes;
    let (side, most) = (grid.side, boxes.iter().map(Vec::len).max().unwrap_or(0));
    let device = map.device();
    let [height, width] = window.size();
    let weights = |axis: usize, extent: fn(BoundingBox) -> [f32; 2]| {
        let cells = window.start[axis]..window.end[axis];
        let of_box = side * cells.len();
        let mut weights = vec![0.0; batch * most * of_box];
        for (boxes, weights) in boxes.iter().zip(weights.chunks_exact_mut(most * of_box)) {
            for (one, weights) in boxes.iter().zip(weights.chunks_exact_mut(of_box)) {
                axis_weights(extent(*one), cells.clone(), grid, weights);
            }
        }
        Tensor::<1>::from_data(weights.as_slice(), &device)
    };
    let rows = weights(0, |one| [one.y0, one.y1]).reshape([batch, most * side, height]);
    let columns = weights(1, |one| [one.x0, one.x1]).reshape([batch * most, 1, side, width]);
    let [top, left] = window.start;
    let map = map.narrow(1, top, height).narrow(2, left * channels, width * channels);
    let by_rows = rows.matmul(map).reshape([batch * most, side, width, channels]);
    // The same columns for every row of a box.
    let columns = columns.expand([batch * most, side, side, width]);
    columns.matmul(by_rows).reshape([batch, most, side, side, channels])
}

/// Where a sample point of a bin is on an axis on which the centre of cell `i` is at `i`.
pub(super) fn sample_place(extent: [f32; 2], bin: usize, sample: usize, grid: Grid) -> f32 {
    let [start, end] = extent;
    let within = (sample as f32 + 0.5) / grid.samples as f32;
    start + (bin as f32 + within) * ((end - start) / grid.side as f32) - 0.5
}

/// How much each of `cells` counts in each bin between two places on an axis: `side × cells`, added to
/// `weights`. The centre of cell `i` is at `i + 0.5`.
fn axis_weights(extent: [f32; 2], cells: Range<usize>, grid: Grid, weights: &mut [f32]) {
    let first = cells.start as f32;
    for (bin, weights) in weights.chunks_exact_mut(cells.len()).enumerate() {
        for sample in 0..grid.samples {
            let place = sample_place(extent, bin, sample, grid);
            let (below, share) = (place.floor(), place - place.floor());
            for (cell, weight) in [(below - first, 1.0 - share), (below + 1.0 - first, share)] {
                if cell >= 0.0 && (cell as usize) < cells.len() {
                    weights[cell as usize] += weight / grid.samples as f32;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    const GRID: Grid = Grid { side: 2, samples: 2 };

    #[test]
    fn a_plane_is_sampled_at_the_centres_of_bins_and_fades_beyond_the_border() {
        let device = Device::flex();
        // The value of a cell is the x of its centre.
        let map = Tensor::<4>::from_data([[[[0.5, 1.5, 2.5, 3.5], [0.5, 1.5, 2.5, 3.5]]]], &device);
        let inside = BoundingBox::new(1.0, 0.5, 3.0, 1.5);
        let outside = BoundingBox::new(10.0, 0.0, 12.0, 2.0);
        let regions = [inside, outside].map(|bounding_box| Region { map: 0, bounding_box });
        let found = roi_align(&[map], &[regions.to_vec()], GRID);
        let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
        assert_eq!(found, [1.5, 2.5, 1.5, 2.5, 0.0, 0.0, 0.0, 0.0]);
        // A sample at 3.75, half way from the centre of the last cell (3.5) to the next, misses 1/4.
        let mut weights = [0.0; 4];
        axis_weights([3.5, 4.0], 0..4, Grid { side: 1, samples: 2 }, &mut weights);
        let expected = (1.0 - 0.125 + 1.0 - 0.375) / 2.0;
        assert!((weights[3] - expected).abs() < 1e-6, "{weights:?}");
    }

    #[test]
    fn the_level_follows_the_area() {
        let strides = [8.0, 16.0, 32.0, 64.0, 128.0];
        let map = |side: f32| assign(BoundingBox::new(0.0, 0.0, side, side), &strides, 3).map;
        // Level 4, the second map, from 224 on; level 3 below.
        let sides = [0.0, 100.0, 223.0, 225.0, 447.0, 449.0, 5000.0];
        assert_eq!(sides.map(map), [0, 0, 0, 1, 1, 2, 4]);
    }

    #[test]
    fn many_boxes_are_seen_as_each_alone_and_have_the_same_gradient() {
        let device = Device::flex().autodiff();
        let grid = Grid { side: 3, samples: 2 };
        let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Default, &device);
        // Enough channels that boxes are worth to be grouped.
        let maps = [random([2, 128, 40, 50]), random([2, 128, 20, 25])].map(Tensor::require_grad);
        let region = |index: usize| {
            let (x, y) = ((index * 17 % 43) as f32 + 0.3, (index * 29 % 37) as f32 - 1.6);
            let (width, height) = ((index * 5 % 13) as f32, (index * 3 % 11) as f32 + 0.7);
            Region { map: index % 3 / 2, bounding_box: BoundingBox::from_xywh(x, y, width, height) }
        };
        let regions = [(0..60).map(region).collect(), (60..120).map(region).collect::<Vec<_>>()];
        let sizes = Sizes { batch: 2, map: [40, 50], channels: 128, grid };
        assert!(groups(&regions, 0, sizes).len() > 2);
        let alone = |image: usize, row: usize| {
            let maps = maps.each_ref().map(|map| map.clone().narrow(0, image, 1));
            roi_align(&maps, &[vec![regions[image][row]]], grid)
        };
        let together = roi_align(&maps, &regions, grid);
        let rows = |image| Tensor::cat((0..60).map(|row| alone(image, row)).collect(), 1);
        let apart = Tensor::cat(vec![rows(0), rows(1)], 0);
        let difference = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
        let flat = |pooled: Tensor<5>| pooled.reshape([2, 60, 9, 128]);
        assert!(difference(flat(together.clone()), flat(apart.clone())) < 1e-5);
        let gradients = [together, apart].map(|pooled| pooled.square().sum().backward());
        for map in maps {
            let [a, b] = gradients.each_ref().map(|gradients| map.grad(gradients).unwrap());
            assert!(a.clone().abs().max().into_scalar::<f32>() > 0.1);
            assert!(difference(a, b) < 1e-3);
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let device = Device::flex();
        let values = Tensor::<4>::random([1, 2, 3, 4], Distribution::Default, &device);
        let factor = Tensor::<5>::random([1, 1, 2, 2, 2], Distribution::Default, &device);
        let bounding_box = BoundingBox::new(0.3, -0.4, 3.1, 2.9);
        let regions = [vec![Region { map: 0, bounding_box }]];
        let training = device.clone().autodiff();
        let map = Tensor::<4>::from_data(values.to_data(), &training).require_grad();
        let pooled = roi_align(std::slice::from_ref(&map), &regions, GRID);
        let loss = (pooled * Tensor::from_data(factor.to_data(), &training)).sum();
        let gradient = map.grad(&loss.backward()).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        let values: Vec<f32> = values.into_data().try_to_vec().unwrap();
        for (index, found) in gradient.into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = values.clone();
                moved[index] += step;
                let map = Tensor::<1>::from_data(moved.as_slice(), &device).reshape([1, 2, 3, 4]);
                (roi_align(&[map], &regions, GRID) * factor.clone()).sum().into_scalar::<f32>()
            };
            let expected = (at(0.5) - at(-0.5)) / 1.0;
            assert!((found - expected).abs() < 1e-4, "{index}: {found} {expected}");
        }
    }
}

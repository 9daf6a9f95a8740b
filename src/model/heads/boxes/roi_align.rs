//! RoIAlign (He et al., *Mask R-CNN*, ICCV 2017; `spec/model.md` §10.5): what a feature pyramid has
//! under a box, on a small grid.
//!
//! The sample points of a box form a grid along the axes, so that bilinear sampling and the mean over
//! the samples of a bin are one small matrix for rows and one for columns: two matrix products, and
//! gradients reach the features through them. Boxes are given on the host and have no gradient.

use burn::tensor::{Int, Tensor, TensorData};

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
    let level = (REFERENCE_LEVEL + (area.sqrt() / REFERENCE_PX + 1e-8).log2()).floor();
    let last = strides.len().saturating_sub(1);
    // A level below the first is the first; not a number (an inverted box) is the first, too.
    let map = ((level - first_level as f32).max(0.0) as usize).min(last);
    let scale = 1.0 / strides[map];
    Region { map, bounding_box: bounding_box.scale(scale, scale) }
}

/// Features under regions; beyond a map there are zeros.
///
/// # Shapes
/// - `maps`: `[B, D, H, W]` each
/// - `regions`: `B` lists of the same length `N`
/// - result: `[B, N, side, side, D]`
pub fn roi_align(maps: &[Tensor<4>], regions: &[Vec<Region>], grid: Grid) -> Tensor<5> {
    let side = grid.side;
    let (batch, rows) = (regions.len(), regions.first().map_or(0, Vec::len));
    let device = maps[0].device();
    let channels = maps[0].dims()[1];
    let mut pooled = Vec::new();
    // Where each region is among the pooled ones: row of the image, rows per image so far.
    let mut places = vec![vec![0; rows]; batch];
    let mut offset = 0;
    for (index, map) in maps.iter().enumerate() {
        let of_map: Vec<Vec<usize>> = regions
            .iter()
            .map(|regions| (0..rows).filter(|&row| regions[row].map == index).collect())
            .collect();
        let most = of_map.iter().map(Vec::len).max().unwrap_or(0);
        if most == 0 {
            continue;
        }
        for (image, rows) in of_map.iter().enumerate() {
            for (place, &row) in rows.iter().enumerate() {
                places[image][row] = offset + place;
            }
        }
        let boxes: Vec<Vec<BoundingBox>> = of_map
            .iter()
            .zip(regions)
            .map(|(rows, regions)| rows.iter().map(|&row| regions[row].bounding_box).collect())
            .collect();
        pooled.push(pool(map.clone(), &boxes, most, grid));
        offset += most;
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

/// `[B, D, H, W]` and up to `most` boxes per image → `[B, most, side, side, D]`, zeros where an image
/// has fewer.
fn pool(map: Tensor<4>, boxes: &[Vec<BoundingBox>], most: usize, grid: Grid) -> Tensor<5> {
    let side = grid.side;
    let [batch, channels, height, width] = map.dims();
    let device = map.device();
    let weights = |length: usize, extent: fn(BoundingBox) -> [f32; 2]| {
        let mut weights = Vec::with_capacity(batch * most * side * length);
        for boxes in boxes {
            for one in boxes {
                weights.extend(axis_weights(extent(*one), length, grid));
            }
            weights.resize(weights.len() + (most - boxes.len()) * side * length, 0.0);
        }
        Tensor::<1>::from_data(weights.as_slice(), &device)
    };
    let rows = weights(height, |one| [one.y0, one.y1]).reshape([batch, most * side, height]);
    let columns = weights(width, |one| [one.x0, one.x1]).reshape([batch * most, 1, side, width]);
    let map = map.permute([0, 2, 3, 1]).reshape([batch, height, width * channels]);
    let by_rows = rows.matmul(map).reshape([batch * most, side, width, channels]);
    // The same columns for every row of a box.
    let columns = columns.expand([batch * most, side, side, width]);
    columns.matmul(by_rows).reshape([batch, most, side, side, channels])
}

/// How much each of `length` cells counts in each bin between two places on an axis: `side × length`.
/// The centre of cell `i` is at `i + 0.5`.
fn axis_weights([start, end]: [f32; 2], length: usize, grid: Grid) -> Vec<f32> {
    let Grid { side, samples } = grid;
    let mut weights = vec![0.0; side * length];
    let bin = (end - start) / side as f32;
    for (index, weights) in weights.chunks_mut(length).enumerate() {
        for sample in 0..samples {
            let within = (sample as f32 + 0.5) / samples as f32;
            let place = start + (index as f32 + within) * bin - 0.5;
            let (below, share) = (place.floor(), place - place.floor());
            for (cell, weight) in [(below, 1.0 - share), (below + 1.0, share)] {
                if cell >= 0.0 && (cell as usize) < length {
                    weights[cell as usize] += weight / samples as f32;
                }
            }
        }
    }
    weights
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
        let weights = axis_weights([3.5, 4.0], 4, Grid { side: 1, samples: 2 });
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

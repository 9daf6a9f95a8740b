//! RoIAlign on the processor, where no gradient is asked for: each bin is a weighted sum of the few cells around
//! its sample points. It reads and computes far less than the matrix products of [`super::roi_align`], which
//! are for every other device and for training.
//!
//! The channels of a map are laid out in blocks, a plane of cells for each, so that the cells under a box stay
//! in the first cache while all its bins are summed up.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::roi_align::{Grid, Region, sample_place};

/// Channels of a block: their sums fit into the vector registers of any 64-bit processor.
const BLOCK: usize = 32;

/// A map whose channels are in blocks.
struct BlockedMap {
    height: usize,
    width: usize,
    channels: usize,
    /// By image, block and cell; zeros fill up the last block.
    values: Vec<[f32; BLOCK]>,
}

impl BlockedMap {
    /// From `[B, D, H, W]`; `None` where its numbers are not of 32 bits.
    fn new(map: &Tensor<4>) -> Option<Self> {
        let [_, channels, height, width] = map.dims();
        let data = map.to_data();
        let data = data.as_slice::<f32>().ok()?;
        let cells = height * width;
        let blocks = channels.div_ceil(BLOCK);
        let mut values = vec![[0.0; BLOCK]; data.len() / channels.max(1) * blocks];
        let images = data.par_chunks_exact((channels * cells).max(1));
        let planes = images.flat_map(|image| image.par_chunks((BLOCK * cells).max(1)));
        values.par_chunks_exact_mut(cells.max(1)).zip(planes.collect::<Vec<_>>()).for_each(
            |(block, planes)| {
                for (channel, plane) in planes.chunks_exact(cells).enumerate() {
                    for (cell, value) in block.iter_mut().zip(plane) {
                        cell[channel] = *value;
                    }
                }
            },
        );
        Some(Self { height, width, channels, values })
    }

    /// The cells of a block of channels of an image.
    fn plane(&self, image: usize, block: usize) -> &[[f32; BLOCK]] {
        let cells = self.height * self.width;
        let blocks = self.channels.div_ceil(BLOCK);
        &self.values[(image * blocks + block) * cells..][..cells]
    }
}

/// Some cells and how much each counts.
type Taps = Vec<(usize, f32)>;

/// The cells of an axis that count in each bin between two places on it, as in [`super::roi_align`].
fn axis_taps(extent: [f32; 2], length: usize, grid: Grid) -> Vec<Taps> {
    let of_bin = |bin| {
        let mut taps = Taps::with_capacity(2 * grid.samples);
        for sample in 0..grid.samples {
            let place = sample_place(extent, bin, sample, grid);
            let (below, share) = (place.floor(), place - place.floor());
            for (cell, weight) in [(below, 1.0 - share), (below + 1.0, share)] {
                if !(cell >= 0.0 && (cell as usize) < length) {
                    continue;
                }
                let (cell, weight) = (cell as usize, weight / grid.samples as f32);
                match taps.iter_mut().find(|(known, _)| *known == cell) {
                    Some((_, sum)) => *sum += weight,
                    None => taps.push((cell, weight)),
                }
            }
        }
        taps
    };
    (0..grid.side).map(of_bin).collect()
}

/// As [`super::roi_align::roi_align`]; `None` where a map's numbers are not of 32 bits.
pub(super) fn roi_align(
    maps: &[Tensor<4>],
    regions: &[Vec<Region>],
    grid: Grid,
) -> Option<Tensor<5>> {
    let (batch, rows) = (regions.len(), regions.first().map_or(0, Vec::len));
    let (device, channels) = (maps[0].device(), maps[0].dims()[1]);
    let is_shown = |index| regions.iter().flatten().any(|region| region.map == index);
    let mut blocked = Vec::with_capacity(maps.len());
    for (index, map) in maps.iter().enumerate() {
        blocked.push(if is_shown(index) { Some(BlockedMap::new(map)?) } else { None });
    }
    let size = grid.side * grid.side * channels;
    let mut pooled = vec![0.0; batch * rows * size];
    let images = regions.iter().enumerate();
    let regions: Vec<(usize, Region)> =
        images.flat_map(|(image, of_it)| of_it.iter().map(move |one| (image, *one))).collect();
    pooled.par_chunks_exact_mut(size.max(1)).zip(regions).for_each(|(pooled, (image, region))| {
        if let Some(map) = &blocked[region.map] {
            pool(map, image, &region, grid, pooled);
        }
    });
    let shape = [batch, rows, grid.side, grid.side, channels];
    Some(Tensor::from_data(TensorData::new(pooled, shape), &device))
}

/// `pooled`: `[side, side, D]`
fn pool(map: &BlockedMap, image: usize, region: &Region, grid: Grid, pooled: &mut [f32]) {
    let one = region.bounding_box;
    let rows = axis_taps([one.y0, one.y1], map.height, grid);
    let columns = axis_taps([one.x0, one.x1], map.width, grid);
    // The cells of each bin, one bin after the other.
    let bins = grid.side * grid.side;
    let (mut taps, mut ends) = (Taps::with_capacity(16 * bins), Vec::with_capacity(bins));
    for rows in &rows {
        for columns in &columns {
            for &(row, weight) in rows {
                for &(column, share) in columns {
                    taps.push((row * map.width + column, weight * share));
                }
            }
            ends.push(taps.len());
        }
    }
    for block in 0..map.channels.div_ceil(BLOCK) {
        let plane = map.plane(image, block);
        let mut start = 0;
        for (bin, &end) in pooled.chunks_exact_mut(map.channels).zip(&ends) {
            let sums = weighted_sum(plane, &taps[start..end]);
            let bin = &mut bin[block * BLOCK..];
            match bin.first_chunk_mut() {
                Some(bin) => *bin = sums,
                None => bin.copy_from_slice(&sums[..bin.len()]),
            }
            start = end;
        }
    }
}

fn weighted_sum(plane: &[[f32; BLOCK]], taps: &[(usize, f32)]) -> [f32; BLOCK] {
    let mut sums = [0.0; BLOCK];
    for &(cell, weight) in taps {
        for (sum, value) in sums.iter_mut().zip(&plane[cell]) {
            *sum += weight * value;
        }
    }
    sums
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{DType, Device, Distribution};

    use super::*;
    use crate::geometry::BoundingBox;
    use crate::model::heads::boxes::roi_align::by_products;

    /// Regions of two images in maps of 9 × 12 and 5 × 6 cells: on, across and beyond their borders, without an
    /// area, and with numbers that are none.
    fn regions() -> Vec<Vec<Region>> {
        let boxes = [
            [1.3, 2.1, 7.9, 6.4],
            [-3.0, -2.5, 4.2, 3.1],
            [8.5, 6.0, 30.0, 14.0],
            [50.0, 50.0, 60.0, 60.0],
            [2.0, 2.0, 2.0, 2.0],
            [6.0, 5.0, 3.0, 1.0],
            [f32::NAN, 0.0, 5.0, f32::INFINITY],
            [-1e9, -1e9, 1e9, 1e9],
        ];
        let region = |index: usize| {
            let [x0, y0, x1, y1] = boxes[index % boxes.len()];
            Region { map: index % 3 / 2, bounding_box: BoundingBox::new(x0, y0, x1, y1) }
        };
        vec![(0..12).map(region).collect(), (5..17).map(region).collect()]
    }

    #[test]
    fn sums_of_samples_are_the_matrix_products() {
        let device = Device::flex();
        for (channels, grid) in [
            (1, Grid { side: 2, samples: 1 }),
            (BLOCK, Grid { side: 7, samples: 2 }),
            (2 * BLOCK + 5, Grid { side: 3, samples: 3 }),
        ] {
            let map = |rows, columns| {
                Tensor::<4>::random([2, channels, rows, columns], Distribution::Default, &device)
            };
            let maps = [map(9, 12), map(5, 6)];
            let sums = roi_align(&maps, &regions(), grid).unwrap();
            assert_eq!(sums.dims(), [2, 12, grid.side, grid.side, channels]);
            let difference = sums - by_products(&maps, &regions(), grid);
            let greatest = difference.abs().max().into_scalar::<f32>();
            assert!(greatest < 1e-5, "{channels} channels: {greatest}");
        }
    }

    #[test]
    fn no_region_and_numbers_of_16_bits() {
        let device = Device::flex();
        let grid = Grid { side: 2, samples: 2 };
        let map = Tensor::<4>::ones([2, 3, 9, 12], &device);
        let none = roi_align(std::slice::from_ref(&map), &[vec![], vec![]], grid).unwrap();
        assert_eq!(none.dims(), [2, 0, 2, 2, 3]);
        assert!(roi_align(&[map.cast(DType::BF16)], &regions(), grid).is_none());
    }
}

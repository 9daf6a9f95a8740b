//! The trivial mask: the same pixels of every image, whatever is asked for.

use crate::geometry::mask::Mask;

/// Cells along each side of the grid on which masks are averaged.
const SIDE: usize = 64;
/// Masks that are averaged, the first of the training split: a mean of more is the same, and masks of
/// large images take a while to decode.
const MOST_MASKS: u32 = 5_000;

/// The pixels that most often belong to an object, as many as an object has on average.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanMask {
    /// Whether each cell of the image is inside, row by row.
    inside: Vec<bool>,
}

impl MeanMask {
    /// The cells that the most of `num_masks` masks have, the first among equals.
    fn of_counts(counts: &[u32], num_masks: u32) -> Self {
        let total: u64 = counts.iter().copied().map(u64::from).sum();
        let mean_area = (total as f64 / f64::from(num_masks)).round() as usize;
        let mut cells: Vec<usize> = (0..counts.len()).collect();
        // Stable: among equals, the first stay first.
        cells.sort_by_key(|&cell| std::cmp::Reverse(counts.get(cell).copied().unwrap_or(0)));
        let mut inside = vec![false; counts.len()];
        for &cell in cells.iter().take(mean_area) {
            if let Some(cell) = inside.get_mut(cell) {
                *cell = true;
            }
        }
        Self { inside }
    }

    /// The mask on an image of `width × height` pixels.
    ///
    /// # Errors
    /// In words, where the image is too large.
    pub fn on_image(&self, width: u32, height: u32) -> Result<Mask, String> {
        let places = (0..height as usize).flat_map(|y| {
            let line = nearest(y, height as usize, SIDE) * SIDE;
            (0..width as usize).map(move |x| line + nearest(x, width as usize, SIDE))
        });
        let pixels: Vec<bool> =
            places.map(|at| self.inside.get(at).copied().unwrap_or(false)).collect();
        Mask::from_pixels(&pixels, width, height)
    }
}

/// How often each cell of the image was inside a mask.
#[derive(Debug, Clone)]
pub struct MaskCounts {
    counts: Vec<u32>,
    num_masks: u32,
}

impl Default for MaskCounts {
    fn default() -> Self {
        Self { counts: vec![0; SIDE * SIDE], num_masks: 0 }
    }
}

impl MaskCounts {
    /// Adds a mask; nothing where there are enough.
    pub fn add(&mut self, mask: &Mask) {
        if self.num_masks >= MOST_MASKS {
            return;
        }
        let [width, height] = [mask.width(), mask.height()].map(|side| side as usize);
        let pixels = mask.pixels();
        for (cell, count) in self.counts.iter_mut().enumerate() {
            let (x, y) = (cell % SIDE, cell / SIDE);
            let at = nearest(y, SIDE, height) * width + nearest(x, SIDE, width);
            *count += u32::from(pixels.get(at).copied().unwrap_or(false));
        }
        self.num_masks += 1;
    }

    /// The trivial mask; `None` where there was none.
    pub fn mean(&self) -> Option<MeanMask> {
        (self.num_masks > 0).then(|| MeanMask::of_counts(&self.counts, self.num_masks))
    }
}

/// Which of `to` pixels has the centre of pixel `at` of `from`.
fn nearest(at: usize, from: usize, to: usize) -> usize {
    (2 * at + 1) * to / (2 * from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_pixels_that_most_masks_have_as_many_as_a_mask_has() {
        // Quarters of a row: twice the first, once the second and the last.
        let masks: Vec<Mask> = [[true, false, false, false], [true, true, false, true]]
            .iter()
            .map(|pixels| Mask::from_pixels(pixels, 4, 1).unwrap())
            .collect();
        // Two quarters on average: the first, and of the second and the last the one that comes first in
        // each row of the grid until there are enough.
        let mut counts = MaskCounts::default();
        assert_eq!(counts.mean(), None);
        masks.iter().for_each(|mask| counts.add(mask));
        let mean = counts.mean().unwrap();
        assert_eq!(mean.inside.iter().filter(|inside| **inside).count(), SIDE * SIDE / 2);
        let pixels = mean.on_image(4, 2).unwrap().pixels();
        assert_eq!(pixels, [true, true, false, true, true, false, false, false]);
    }
}

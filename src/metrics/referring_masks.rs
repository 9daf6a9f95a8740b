//! How well the masks of expressions are found (`spec/metrics.md` §3).

use super::referring::iou;
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;

/// Added to unions, as the reference does; empty masks share nothing.
const UNION_EPSILON: f64 = 1e-5;
/// A mask or box that overlaps more than this is found.
const FOUND_IOU: f64 = 0.5;

/// Logits of a mask over a padded canvas, fewer than it has pixels; row by row.
#[derive(Debug, Clone, Copy)]
pub struct CoarseLogits<'a> {
    /// `rows × columns`
    pub logits: &'a [f32],
    /// Cells down.
    pub rows: usize,
    /// Cells across.
    pub columns: usize,
}

impl CoarseLogits<'_> {
    /// The mask on the image: the cells of the padding are cut off, part of a cell is no cell, the rest
    /// is brought to the size of the image, and a pixel is inside where its logit is above 0. Sizes
    /// are `[height, width]` in pixels; `content` is the image on the `canvas`, at its top left.
    ///
    /// # Errors
    /// What is wrong with the sizes, in words.
    pub fn on_image(
        &self,
        canvas: [usize; 2],
        content: [usize; 2],
        image: [u32; 2],
    ) -> Result<Mask, String> {
        let Self { logits, rows, columns } = *self;
        if logits.len() != rows * columns || logits.is_empty() {
            return Err(format!("{} logits are no {rows} × {columns} cells", logits.len()));
        }
        if canvas.contains(&0) || content[0] > canvas[0] || content[1] > canvas[1] {
            return Err(format!("content of {content:?} on a canvas of {canvas:?} pixels"));
        }
        let kept = |cells: usize, axis: usize| (cells * content[axis] / canvas[axis]).max(1);
        let [height, width] = image;
        crate::geometry::mask::check_size(width, height)?;
        let down = samples(kept(rows, 0), height);
        let across = samples(kept(columns, 1), width);
        let mut pixels = Vec::with_capacity(down.len() * across.len());
        for &(top, bottom, below) in &down {
            for &(left, right, beyond) in &across {
                let between = |row: usize| {
                    let [a, b] = [left, right].map(|column| logits[row * columns + column]);
                    a * (1.0 - beyond) + b * beyond
                };
                pixels.push(between(top) * (1.0 - below) + between(bottom) * below);
            }
        }
        Mask::from_logits(&pixels, width, height)
    }
}

/// Where the centres of `pixels` fall between the centres of `cells`: the two cells and the weight of
/// the second, as OpenCV's linear interpolation has them (clamped at the edges, never antialiased).
fn samples(cells: usize, pixels: u32) -> Vec<(usize, usize, f32)> {
    let cells_per_pixel = cells as f64 / f64::from(pixels);
    let last = cells - 1;
    let sample = |pixel: u32| {
        let at = ((f64::from(pixel) + 0.5) * cells_per_pixel - 0.5).clamp(0.0, last as f64) as f32;
        let first = (at.floor() as usize).min(last);
        (first, (first + 1).min(last), at - first as f32)
    };
    (0..pixels).map(sample).collect()
}

/// A predicted mask beside the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskOverlap {
    /// Pixels of both.
    pub intersection: f64,
    /// Pixels of either.
    pub union: f64,
    /// IoU of the tight box of the predicted mask with the reference's box.
    pub box_iou: f64,
}

impl MaskOverlap {
    /// Of a predicted mask, and an expression's mask and box.
    ///
    /// # Errors
    /// In words, where the masks have different sizes.
    pub fn of(predicted: &Mask, reference: &Mask, region: BoundingBox) -> Result<Self, String> {
        let intersection = predicted.shared_area(reference)?;
        let union = predicted.area() + reference.area() - intersection;
        let tight = predicted.bounds().unwrap_or(BoundingBox::new(0.0, 0.0, 0.0, 0.0));
        Ok(Self {
            intersection: intersection as f64,
            union: union as f64,
            box_iou: iou(tight, region),
        })
    }

    /// Intersection over union of the masks; 0 of two empty ones.
    pub fn iou(&self) -> f64 {
        self.intersection / (self.union + UNION_EPSILON)
    }
}

/// Scores of masks of expressions; higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskScores {
    /// All intersections over all unions: large objects count more.
    pub cumulative_iou: f64,
    /// Mean IoU, called generalised IoU in the reference.
    pub mean_iou: f64,
    /// Share of masks with an IoU above 0.5, called AP in the reference.
    pub precision_at_50: f64,
    /// Share of masks with an IoU above 0.7.
    pub precision_at_70: f64,
    /// Share of masks with an IoU above 0.9.
    pub precision_at_90: f64,
    /// Share of tight boxes with an IoU above 0.5.
    pub box_precision_at_50: f64,
}

impl MaskScores {
    /// Scores of expressions; `None` of none.
    pub fn of(overlaps: &[MaskOverlap]) -> Option<Self> {
        let mean = |of: &dyn Fn(&MaskOverlap) -> f64| super::mean(overlaps.iter().map(of));
        let above = |iou: f64, threshold: f64| f64::from(u8::from(iou > threshold));
        let precision = |threshold: f64| mean(&|one: &MaskOverlap| above(one.iou(), threshold));
        Some(Self {
            cumulative_iou: mean(&|one| one.intersection)?
                / (mean(&|one| one.union)? + UNION_EPSILON),
            mean_iou: mean(&MaskOverlap::iou)?,
            precision_at_50: precision(FOUND_IOU)?,
            precision_at_70: precision(0.7)?,
            precision_at_90: precision(0.9)?,
            box_precision_at_50: mean(&|one| above(one.box_iou, FOUND_IOU))?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_padding_is_cut_off_before_cells_become_pixels() {
        // A canvas of 4 × 4 pixels in 2 × 2 cells; the image are the upper two rows, once 2 × 8.
        let coarse = CoarseLogits { logits: &[1.0, -1.0, -9.0, -9.0], rows: 2, columns: 2 };
        let mask = coarse.on_image([4, 4], [2, 4], [2, 8]).unwrap();
        assert_eq!(mask.bounds(), Some(BoundingBox::new(0.0, 0.0, 4.0, 2.0)));
        assert_eq!(mask.area(), 8);
        assert!(coarse.on_image([4, 4], [5, 4], [2, 8]).is_err());
        assert!(CoarseLogits { rows: 3, ..coarse }.on_image([4, 4], [2, 4], [2, 8]).is_err());
    }

    #[test]
    fn pixels_fall_between_cells_as_in_opencv() {
        // Centres at −¼ (clamped), ¼, ¾ and 1¼ (clamped).
        let expected = [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.0)];
        assert_eq!(samples(2, 4), expected);
    }

    #[test]
    fn scores_of_masks_by_hand() {
        let mask = |pixels: [bool; 4]| Mask::from_pixels(&pixels, 4, 1).unwrap();
        let row = |x0, x1| BoundingBox::new(x0, 0.0, x1, 1.0);
        let overlap = |predicted, reference, region| {
            MaskOverlap::of(&mask(predicted), &mask(reference), region).unwrap()
        };
        let all = [true; 4];
        let overlaps = [
            overlap([true, true, true, false], all, row(0.0, 4.0)),
            // The tight box is right, three of four pixels are not.
            overlap([true, false, false, true], [true, true, true, false], row(0.0, 4.0)),
            overlap([false; 4], [true, false, false, false], row(0.0, 1.0)),
        ];
        let scores = MaskScores::of(&overlaps).unwrap();
        assert!((scores.cumulative_iou - 4.0 / 9.0).abs() < 1e-5);
        assert!((scores.mean_iou - (0.75 + 0.25) / 3.0).abs() < 1e-5);
        assert!((scores.precision_at_50 - 1.0 / 3.0).abs() < 1e-12);
        assert!((scores.precision_at_70 - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(scores.precision_at_90, 0.0);
        assert!((scores.box_precision_at_50 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(MaskScores::of(&[]), None);
        let other = Mask::from_pixels(&[true; 2], 2, 1).unwrap();
        assert!(MaskOverlap::of(&mask(all), &other, row(0.0, 1.0)).is_err());
    }
}

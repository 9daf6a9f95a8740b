//! Scores of the masks of *locate*.

use super::Table;
use super::mean_mask::MeanMask;
use crate::data::sample::Row;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;
use crate::metrics::referring_masks::{MaskOverlap, MaskScores};
use crate::tasks::segment::CoarseMask;
use crate::tasks::{LocatedMask, Location};

/// Overlaps with the annotated masks so far, one entry per expression.
pub(super) struct MaskEvaluation<'a> {
    mean_mask: Option<&'a MeanMask>,
    /// Of the model's masks.
    overlaps: Vec<MaskOverlap>,
    /// Of the mean mask.
    mean: Vec<MaskOverlap>,
    /// Of all pixels in the model's boxes.
    filled: Vec<MaskOverlap>,
    num_without_mask: usize,
}

impl<'a> MaskEvaluation<'a> {
    /// None yet; `mean_mask` is the trivial answer.
    pub(super) fn new(mean_mask: Option<&'a MeanMask>) -> Self {
        Self {
            mean_mask,
            overlaps: Vec::new(),
            mean: Vec::new(),
            filled: Vec::new(),
            num_without_mask: 0,
        }
    }

    /// Scores what was found of `row` on an image of the size of its mask; what was found, for a user.
    pub(super) fn add(
        &mut self,
        location: &Location,
        found: Option<&CoarseMask>,
        row: &Row,
    ) -> Result<Option<LocatedMask>> {
        let Some(found) = found else { return Ok(None) };
        let Some(reference) = &row.mask else {
            self.num_without_mask += 1;
            return Ok(None);
        };
        let size = [reference.width(), reference.height()];
        let [width, height] = size.map(|side| side as f32);
        let region = row.region.unwrap_or(BoundingBox::UNIT).scale(width, height);
        let overlap = |mask: &Mask| MaskOverlap::of(mask, reference, region).map_err(unfit);
        let mask = found.on_image(size)?;
        self.overlaps.push(overlap(&mask)?);
        let filled = filled(location.bounds.scale(width, height), size).map_err(unfit)?;
        self.filled.push(overlap(&filled)?);
        if let Some(mean) = self.mean_mask {
            let [width, height] = size;
            self.mean.push(overlap(&mean.on_image(width, height).map_err(unfit)?)?);
        }
        let predicted_iou = found.predicted_iou();
        Ok(Some(LocatedMask { segmentation: mask.to_coco(), predicted_iou }))
    }

    /// Adds the metrics; nothing where there are no masks.
    pub(super) fn finish(&self, table: &mut Table) {
        if self.num_without_mask > 0 {
            let number = self.num_without_mask;
            table.note(format!(
                "{number} expressions have no annotated mask: mask metrics leave them out"
            ));
        }
        let Some(scores) = MaskScores::of(&self.overlaps) else { return };
        let n = self.overlaps.len();
        table.add_parts(
            &scores,
            MaskScores::of(&self.mean).as_ref(),
            n,
            &[
                ("mask_ciou", |scores| scores.cumulative_iou),
                ("mask_giou", |scores| scores.mean_iou),
                ("mask_precision_at_0.5", |scores| scores.precision_at_50),
                ("mask_precision_at_0.7", |scores| scores.precision_at_70),
                ("mask_precision_at_0.9", |scores| scores.precision_at_90),
                ("mask_box_precision_at_0.5", |scores| scores.box_precision_at_50),
            ],
        );
        table.add_parts(
            &scores,
            MaskScores::of(&self.filled).as_ref(),
            n,
            &[
                ("mask_ciou_vs_filled_box", |scores| scores.cumulative_iou),
                ("mask_giou_vs_filled_box", |scores| scores.mean_iou),
            ],
        );
    }
}

/// The pixels whose centre is in a box, in pixels; none where it is inverted or no number.
fn filled(bounds: BoundingBox, [width, height]: [u32; 2]) -> Result<Mask, String> {
    let within = |at: u32, from: f32, to: f32| (from..to).contains(&(at as f32 + 0.5));
    let pixels: Vec<bool> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| within(x, bounds.x0, bounds.x1) && within(y, bounds.y0, bounds.y1))
        .collect();
    Mask::from_pixels(&pixels, width, height)
}

fn unfit(problem: String) -> Error {
    let help = "Report this as a bug.";
    Error::Compute { problem: format!("a mask cannot be scored: {problem}"), help: help.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::evaluation::mean_mask::MaskCounts;

    #[test]
    fn a_box_is_filled_where_the_centres_of_pixels_are_in_it() {
        let pixels = |bounds| filled(bounds, [3, 2]).unwrap().pixels();
        let (o, x) = (false, true);
        assert_eq!(pixels(BoundingBox::new(0.6, -1.0, 3.0, 1.0)), [o, x, x, o, o, o]);
        for none in [
            BoundingBox::new(2.0, 0.0, 1.0, 2.0),
            BoundingBox::new(1.0, 1.0, 1.0, 1.0),
            BoundingBox::new(f32::NAN, 0.0, 3.0, 2.0),
            BoundingBox::new(5.0, 5.0, 9.0, 9.0),
        ] {
            assert_eq!(pixels(none), [o; 6], "{none:?}");
        }
    }

    #[test]
    fn masks_are_scored_beside_the_mean_mask_and_the_filled_box_by_hand() {
        let mask = |pixels: [bool; 4]| Mask::from_pixels(&pixels, 4, 1).unwrap();
        let (o, x) = (false, true);
        let reference = mask([o, x, x, o]);
        let mut counts = MaskCounts::default();
        counts.add(&mask([x, x, o, o]));
        let mean = counts.mean().unwrap();
        let mut masks = MaskEvaluation::new(Some(&mean));
        let row = |mask: Option<Mask>| Row {
            mask,
            ..Row::of_region("it", BoundingBox::new(0.25, 0.0, 0.75, 1.0))
        };
        let location = Location::new("it".into(), BoundingBox::UNIT);
        let found = CoarseMask::example(vec![-1.0, 1.0, 1.0, 1.0], 1, 4);
        let shown = masks.add(&location, Some(&found), &row(Some(reference))).unwrap().unwrap();
        assert_eq!(shown.segmentation, mask([o, x, x, x]).to_coco());
        assert!(masks.add(&location, Some(&found), &row(None)).unwrap().is_none());
        assert!(masks.add(&location, None, &row(None)).unwrap().is_none());
        let mut table = Table::default();
        masks.finish(&mut table);
        let score = |metric: &str| table.scores[metric];
        // Of three pixels two are right; the mean mask has one of three, the filled box two of four.
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-4, "{found}");
        close(score("mask_ciou").value, 2.0 / 3.0);
        close(score("mask_ciou").baseline.unwrap(), 1.0 / 3.0);
        close(score("mask_giou_vs_filled_box").baseline.unwrap(), 0.5);
        assert_eq!(score("mask_precision_at_0.5").value, 1.0);
        assert_eq!(score("mask_precision_at_0.7").value, 0.0);
        assert_eq!(score("mask_ciou").n, 1);
        assert_eq!(
            table.notes,
            ["1 expressions have no annotated mask: mask metrics leave them out"]
        );
    }
}

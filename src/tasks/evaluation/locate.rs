//! Scores of *locate*.

use super::baselines::Baselines;
use super::masks::MaskEvaluation;
use super::{Batch, ImageAnswers, Table, TaskEvaluation};
use crate::data::source::AnswerForm;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::referring::{ReferringScores, iou};
use crate::tasks::locate::{Find, Found};

/// IoU so far, one entry per expression.
pub(super) struct LocateEvaluation<'a> {
    baselines: &'a Baselines,
    ious: Vec<f64>,
    baseline_ious: Vec<f64>,
    num_without_words: usize,
    /// Answers that were written, and those among them that are no box.
    num_written: usize,
    num_malformed: usize,
    masks: MaskEvaluation<'a>,
}

impl<'a> LocateEvaluation<'a> {
    pub(super) fn new(baselines: &'a Baselines) -> Self {
        Self {
            baselines,
            ious: Vec::new(),
            baseline_ious: Vec::new(),
            num_without_words: 0,
            num_written: 0,
            num_malformed: 0,
            masks: MaskEvaluation::new(baselines.mask.as_ref()),
        }
    }
}

impl TaskEvaluation for LocateEvaluation<'_> {
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()> {
        let (mut expressions, mut references) = (Vec::new(), Vec::new());
        for sample in batch.samples {
            let (mut texts, mut rows) = (Vec::new(), Vec::new());
            for row in &sample.rows {
                if batch.predictor.has_words(&row.text)? {
                    texts.push(row.text.clone());
                    rows.push(row);
                } else {
                    self.num_without_words += 1;
                }
            }
            expressions.push(texts);
            references.push(rows);
        }
        let has_masks = references.iter().flatten().any(|row| row.mask.is_some());
        let what = if has_masks { Find::BoxesAndMasks } else { Find::Boxes };
        let found = batch.predictor.find(&batch.images, &expressions, &batch.settings, what)?;
        let images = found.into_iter().zip(references).zip(&batch.images.sizes).zip(answers);
        for (((found, references), &[width, height]), answers) in images {
            // In pixels of the canvas, within the image.
            let in_pixels = |bounds: BoundingBox| bounds.scale(width, height).clip(width, height);
            for (found, row) in found.into_iter().zip(references) {
                let region = row.region.unwrap_or(BoundingBox::UNIT);
                let Found { mut location, mask, is_well_formed } = found;
                location.mask = self.masks.add(&location, mask.as_ref(), row)?;
                let reference = in_pixels(region);
                let overlap = iou(in_pixels(location.bounds), reference);
                // What the model would have written is no box.
                self.ious.push(if is_well_formed { overlap } else { 0.0 });
                self.num_written += usize::from(batch.settings.answer == AnswerForm::Text);
                self.num_malformed += usize::from(!is_well_formed);
                let baseline = self.baselines.region;
                self.baseline_ious.extend(baseline.map(|mean| iou(in_pixels(mean), reference)));
                answers.locations.push((location, region));
            }
        }
        Ok(())
    }

    fn finish(&self, table: &mut Table) {
        if self.num_without_words > 0 {
            table.note(format!("{} expressions have no words", self.num_without_words));
        }
        let Some(scores) = ReferringScores::of(&self.ious) else {
            table.note("there is no expression: every metric is left out");
            return;
        };
        if self.num_written > 0 {
            let share = 1.0 - self.num_malformed as f64 / self.num_written as f64;
            table.add("well_formed", share, None, self.num_written);
        }
        let baseline = ReferringScores::of(&self.baseline_ious);
        table.add_parts(
            &scores,
            baseline.as_ref(),
            self.ious.len(),
            &[
                ("precision_at_0.5", |scores| scores.precision_at_50),
                ("precision_at_0.75", |scores| scores.precision_at_75),
                ("mean_iou", |scores| scores.mean_iou),
            ],
        );
        self.masks.finish(table);
    }
}

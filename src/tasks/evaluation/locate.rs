//! Scores of *locate*.

use super::baselines::Baselines;
use super::{Batch, ImageAnswers, Table, TaskEvaluation};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::referring::{ReferringScores, iou};

/// IoU so far, one entry per expression.
pub(super) struct LocateEvaluation<'a> {
    baselines: &'a Baselines,
    ious: Vec<f64>,
    baseline_ious: Vec<f64>,
    num_without_words: usize,
}

impl<'a> LocateEvaluation<'a> {
    pub(super) fn new(baselines: &'a Baselines) -> Self {
        Self { baselines, ious: Vec::new(), baseline_ious: Vec::new(), num_without_words: 0 }
    }
}

impl TaskEvaluation for LocateEvaluation<'_> {
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()> {
        let (mut expressions, mut regions) = (Vec::new(), Vec::new());
        for sample in batch.samples {
            let (mut texts, mut boxes) = (Vec::new(), Vec::new());
            for row in &sample.rows {
                if batch.predictor.has_words(&row.text)? {
                    texts.push(row.text.clone());
                    boxes.push(row.region.unwrap_or(BoundingBox::UNIT));
                } else {
                    self.num_without_words += 1;
                }
            }
            expressions.push(texts);
            regions.push(boxes);
        }
        let located = batch.predictor.locate_as(&batch.images, &expressions, &batch.settings)?;
        let images = located.into_iter().zip(regions).zip(&batch.images.sizes).zip(answers);
        for (((located, regions), &[width, height]), answers) in images {
            // In pixels of the canvas, within the image.
            let in_pixels = |bounds: BoundingBox| bounds.scale(width, height).clip(width, height);
            for (location, region) in located.into_iter().zip(regions) {
                let reference = in_pixels(region);
                self.ious.push(iou(in_pixels(location.bounds), reference));
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
        let n = self.ious.len();
        let baseline = ReferringScores::of(&self.baseline_ious);
        let mut add = |metric: &str, of: fn(&ReferringScores) -> f64| {
            table.add(metric, of(&scores), baseline.as_ref().map(of), n);
        };
        add("precision_at_0.5", |scores| scores.precision_at_50);
        add("precision_at_0.75", |scores| scores.precision_at_75);
        add("mean_iou", |scores| scores.mean_iou);
    }
}

//! Scores of *detect*.

use super::baselines::{Baselines, TrivialDetections};
use super::{Batch, ImageAnswers, Table, TaskEvaluation};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::captions::is_exact_match;
use crate::metrics::dense_captions::{CaptionScore, DenseCaptions, Detection, Region, merge};
use crate::metrics::meteor::Meteor;
use crate::tasks::detect::DetectionLimits;

/// IoU from which on a region counts as found in the recall.
const RECALL_IOU: f32 = 0.5;

/// 1 for the words of a reference in its order, else 0.
const EXACT: CaptionScore<'static> =
    &|said, references| f64::from(u8::from(is_exact_match(said, references)));

/// Detections so far, the model's and the trivial ones.
pub(super) struct DetectEvaluation<'a> {
    trivial: Option<&'a TrivialDetections>,
    model: Found,
    baseline: Found,
}

/// What was found in the images so far.
#[derive(Default)]
struct Found {
    captions: DenseCaptions,
    num_regions: usize,
    num_recalled: usize,
}

impl Found {
    fn add(&mut self, regions: &[Region], detections: &[Detection]) {
        self.captions.add_image(regions, detections);
        let is_near = |region: &&Region| {
            let overlap = |one: &Detection| boxed(one.bounds).iou(boxed(region.bounds));
            detections.iter().any(|one| overlap(one) >= RECALL_IOU)
        };
        self.num_regions += regions.len();
        self.num_recalled += regions.iter().filter(is_near).count();
    }

    fn recall(&self) -> f64 {
        self.num_recalled as f64 / self.num_regions as f64
    }
}

fn boxed([x, y, width, height]: [f32; 4]) -> BoundingBox {
    BoundingBox::from_xywh(x, y, width, height)
}

impl<'a> DetectEvaluation<'a> {
    pub(super) fn new(baselines: &'a Baselines) -> Self {
        let trivial = baselines.detections.as_ref();
        Self { trivial, model: Found::default(), baseline: Found::default() }
    }
}

impl DetectEvaluation<'_> {
    /// The published mean average precision, which compares captions with METEOR; without METEOR's files
    /// with what there is of it, under another name.
    fn by_meteor(&self, table: &mut Table) {
        let reduced = Meteor::exact_and_stem();
        let whole = table.meteor.clone();
        let meteor = whole.as_deref().unwrap_or(&reduced);
        let name = if whole.is_some() { "map" } else { "map_meteor_exact_stem" };
        let mean = |found: &Found| {
            let scores = found.captions.scores(Some(&|said, texts| meteor.score(said, texts)));
            scores.get("mAP").copied()
        };
        if let Some(value) = mean(&self.model) {
            let baseline = self.trivial.and_then(|_| mean(&self.baseline));
            table.add(name, value, baseline, self.model.num_regions);
        }
    }
}

impl TaskEvaluation for DetectEvaluation<'_> {
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()> {
        let limits = DetectionLimits::default();
        let found = batch.predictor.detect_as(&batch.images, limits, &batch.settings)?;
        let images = batch.samples.iter().zip(found).zip(&batch.images.sizes).zip(answers);
        for (((sample, found), &[width, height]), answers) in images {
            let in_pixels =
                |bounds: BoundingBox| bounds.scale(width, height).clip(width, height).to_xywh();
            let annotated: Vec<(BoundingBox, &str)> = sample
                .rows
                .iter()
                .map(|row| (row.region.unwrap_or(BoundingBox::UNIT), row.text.as_str()))
                .collect();
            let regions: Vec<_> = annotated
                .iter()
                .map(|(bounds, text)| (in_pixels(*bounds), (*text).to_string()))
                .collect();
            let regions = merge(&regions);
            let detections: Vec<_> = found
                .iter()
                .map(|one| Detection {
                    bounds: in_pixels(one.bounds),
                    score: one.score,
                    caption: one.caption.clone(),
                })
                .collect();
            self.model.add(&regions, &detections);
            let trivial = self.trivial.map(|trivial| trivial.in_image(width, height));
            self.baseline.add(&regions, &trivial.unwrap_or_default());
            answers.detections = Some(found);
            answers.annotated_regions =
                annotated.into_iter().map(|(bounds, text)| (bounds, text.to_string())).collect();
        }
        Ok(())
    }

    fn finish(&self, table: &mut Table) {
        let scores = self.model.captions.scores(Some(EXACT));
        if scores.is_empty() {
            table.note("no region is annotated: every metric is left out");
            return;
        }
        let trivial = self.trivial.map(|_| self.baseline.captions.scores(Some(EXACT)));
        let n = self.model.num_regions;
        self.by_meteor(table);
        for (metric, key) in [
            ("map_exact", "mAP"),
            ("map_boxes", "mAP_detection"),
            ("map_boxes_at_0.5", "mAP_detection_iou0.5"),
        ] {
            let baseline = trivial.as_ref().and_then(|trivial| trivial.get(key)).copied();
            table.add(metric, scores.get(key).copied().unwrap_or(f64::NAN), baseline, n);
        }
        let recall = self.trivial.map(|_| self.baseline.recall());
        table.add("recall_at_0.5", self.model.recall(), recall, n);
    }
}

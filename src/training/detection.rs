//! What *detect* learns in a step (`spec/losses.md` §3, `spec/model.md` §10.6): boxes, and the captions
//! of those that hold an object.

use burn::tensor::{Int, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::training_model::TrainingModel;
use crate::data::batch::Batch;
use crate::geometry::BoundingBox;
use crate::model::heads::boxes::{CaptionRow, DetectionLosses};
use crate::model::loss::detection::DetectionLossConfig;
use crate::model::vision::VisionFeatures;

/// Detection losses of a batch, on its device: `[1]` each, the parts before their weights.
#[derive(Debug, Clone)]
pub struct DetectionTerms {
    /// Weighted sum of the parts, before the weight of all.
    pub total: Tensor<1>,
    heatmap: Tensor<1>,
    distances: Tensor<1>,
    classes: Tensor<1>,
    boxes: Tensor<1>,
}

/// The same, read back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DetectionMeasure {
    /// Weighted sum of the parts, before the weight of all.
    pub total: f64,
    /// Where centres are, before its weight.
    pub heatmap: f64,
    /// How far edges are from centres, before its weight.
    pub distances: f64,
    /// Background or object, in the second stage, before its weight.
    pub classes: f64,
    /// Corrections of boxes, in the second stage, before their weight.
    pub boxes: f64,
}

impl DetectionTerms {
    fn of(losses: &DetectionLosses, config: &DetectionLossConfig) -> Self {
        Self {
            total: losses.total(config),
            heatmap: losses.heatmap.positive.clone() + losses.heatmap.negative.clone(),
            distances: losses.distances.loss.clone(),
            classes: losses.classes.clone(),
            boxes: losses.boxes.clone(),
        }
    }

    /// Reads the losses back, all at once.
    pub(super) fn measure(&self) -> DetectionMeasure {
        let terms = [&self.total, &self.heatmap, &self.distances, &self.classes, &self.boxes];
        let values = Tensor::cat(terms.map(Tensor::clone).to_vec(), 0).into_data();
        let mut values = values.iter::<f64>();
        DetectionMeasure::from_array(terms.map(|_| values.next().unwrap_or(f64::NAN)))
    }
}

impl DetectionMeasure {
    /// Total, heatmap, distances, classes and boxes.
    pub(super) fn to_array(self) -> [f64; 5] {
        [self.total, self.heatmap, self.distances, self.classes, self.boxes]
    }

    /// As [`Self::to_array`].
    pub(super) fn from_array([total, heatmap, distances, classes, boxes]: [f64; 5]) -> Self {
        Self { total, heatmap, distances, classes, boxes }
    }
}

impl TrainingModel {
    /// Learns boxes, and makes the rows of the batch those of the boxes that the second stage learnt
    /// from: each with the text of the annotated box with which it overlaps most, invalid where that is
    /// too little. `None` for a model without a box decoder, which learns the captions of annotated boxes.
    pub(super) fn detect(
        &self,
        images: &VisionFeatures,
        batch: &mut Batch,
    ) -> Option<DetectionTerms> {
        let decoder = self.model.box_decoder()?;
        let config = &self.losses.detection;
        let mut rng = ChaCha8Rng::seed_from_u64(batch.seed);
        let map = self.model.beside_boxes(images);
        let found = decoder.forward_train(map, &batch.annotated, &config.focal, &mut rng);
        let of_image = |(samples, annotated): (&Vec<_>, &Vec<BoundingBox>)| {
            decoder.caption_rows(samples, annotated, decoder.num_captioned())
        };
        let rows: Vec<Vec<CaptionRow>> =
            found.samples.iter().zip(&batch.annotated).map(of_image).collect();
        caption(batch, &rows);
        Some(DetectionTerms::of(&found.losses, config))
    }
}

/// Makes `rows` the rows of the batch, up to the last that is matched: what comes behind it teaches
/// nothing. One row at least.
fn caption(batch: &mut Batch, rows: &[Vec<CaptionRow>]) {
    let matched = |rows: &Vec<CaptionRow>| rows.iter().rposition(|row| row.matched);
    let count = rows.iter().filter_map(matched).max().map_or(1, |last| last + 1);
    let [images, num_annotated, length] = batch.rows.text.dims();
    let nothing = CaptionRow {
        bounding_box: BoundingBox::new(0.0, 0.0, 0.0, 0.0),
        annotated: 0,
        matched: false,
    };
    let (mut boxes, mut texts, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for (image, rows) in rows.iter().enumerate() {
        for row in 0..count {
            let row = rows.get(row).unwrap_or(&nothing);
            boxes.extend(row.bounding_box.to_array());
            texts.push((image * num_annotated + row.annotated) as i64);
            valid.push(f32::from(u8::from(row.matched)));
        }
    }
    let device = batch.row_valid.device();
    let texts = Tensor::<1, Int>::from_data(TensorData::new(texts, [images * count]), &device);
    let chosen = |ids: Tensor<3, Int>, length: usize| {
        let ids = ids.reshape([images * num_annotated, length]);
        ids.select(0, texts.clone()).reshape([images, count, length])
    };
    batch.rows.prompt_boxes =
        Tensor::from_data(TensorData::new(boxes, [images, count, 4]), &device);
    batch.rows.text = chosen(batch.rows.text.clone(), length);
    batch.rows.context = batch.rows.context.take().map(|context| {
        let [_, _, length] = context.dims();
        chosen(context, length)
    });
    batch.row_valid = Tensor::from_data(TensorData::new(valid, [images, count]), &device);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

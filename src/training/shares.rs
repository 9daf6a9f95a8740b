//! How much each part of a batch counts, so that its parts together have the losses of the whole.
//!
//! A loss is a mean over what counts in it: tokens, places, masks. Of parts of a batch, each has another
//! number of them, and a mean of their means would be another loss than that of the batch. So the loss of
//! a part is multiplied by its share of what counts, and gradients are added up.

use burn::tensor::Tensor;

use super::detection::DetectionMeasure;
use super::mask_losses::MaskMeasure;
use super::record::LossRecord;
use super::training_model::TrainingModel;
use crate::data::batch::{BatchDims, HostBatch, int_tensor, tensor};
use crate::data::sample::Task;
use crate::model::loss::point::{PointDistance, TokenSelection, counted_tokens, select_tokens};
use crate::model::loss::text::predicted_tokens;

/// What each loss of a part is multiplied by; over all parts of a batch, each sums to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    pub(super) text: f64,
    pub(super) point: f64,
    pub(super) overlap: f64,
    pub(super) detection: f64,
    pub(super) mask: f64,
}

impl Shares {
    /// Of a batch that is not in parts.
    pub(super) const WHOLE: Self = Self::equal(1.0);

    const fn equal(share: f64) -> Self {
        Self { text: share, point: share, overlap: share, detection: share, mask: share }
    }

    /// Those of one of `count` parts that count the same.
    pub(super) fn one_of(self, count: usize) -> Self {
        let of = |share: f64| share / count as f64;
        Self {
            text: of(self.text),
            point: of(self.point),
            overlap: of(self.overlap),
            detection: of(self.detection),
            mask: of(self.mask),
        }
    }
}

/// What counts in the losses of a part.
struct Counts {
    images: f64,
    text: f64,
    point: f64,
    overlap: f64,
    mask: f64,
}

impl TrainingModel {
    /// The shares of the parts of a batch.
    pub(super) fn shares(&self, parts: &[HostBatch]) -> Vec<Shares> {
        if let [_] = parts {
            return vec![Shares::WHOLE];
        }
        let counts: Vec<Counts> = parts.iter().map(|part| self.counts(part)).collect();
        let total = |of: fn(&Counts) -> f64| counts.iter().map(of).sum::<f64>();
        let images = total(|counts| counts.images);
        let [text, point, overlap, mask] = [
            total(|counts| counts.text),
            total(|counts| counts.point),
            total(|counts| counts.overlap),
            total(|counts| counts.mask),
        ];
        let of = |counts: &Counts| {
            let of_images = counts.images / images;
            // Where nothing counts, the loss is 0 whatever its share.
            let share =
                |count: f64, total: f64| if total > 0.0 { count / total } else { of_images };
            Shares {
                text: share(counts.text, text),
                point: share(counts.point, point),
                overlap: share(counts.overlap, overlap),
                detection: of_images,
                mask: share(counts.mask, mask),
            }
        };
        counts.iter().map(of).collect()
    }

    /// Counted by what the losses themselves count by.
    fn counts(&self, batch: &HostBatch) -> Counts {
        let device = self.device().inner();
        let BatchDims { images, rows, text_tokens, .. } = batch.dims;
        let vocabulary = self.model.language().vocabulary();
        let text = int_tensor(batch.text.clone(), [images, rows, text_tokens], &device);
        let valid = tensor(batch.row_valid.clone(), [images, rows], &device);
        let points = tensor(batch.points.clone(), [images, rows, text_tokens, 2, 2], &device);
        let selection = match batch.task {
            Task::Locate => TokenSelection::LastWord,
            Task::Narrate | Task::Describe | Task::Detect => TokenSelection::Words,
        };
        let selected = select_tokens(text.clone(), &vocabulary, selection);
        let of_rows = selected.clone() * valid.clone().unsqueeze_dim::<3>(2);
        let counted = |distance| counted_tokens(points.clone(), of_rows.clone(), distance);
        let masked = batch.masks.as_ref().map_or(0.0, |masks| {
            let with_mask = tensor(masks.valid.clone(), [images, rows], &device);
            sum(selected.max_dim(2).squeeze_dim::<2>(2) * with_mask)
        });
        Counts {
            images: images as f64,
            // The rows of *detect* are those of boxes that are yet to be found.
            text: match batch.task {
                Task::Detect if self.model.box_decoder().is_some() => 0.0,
                _ => sum(predicted_tokens(text, valid, &vocabulary)),
            },
            point: sum(counted(self.losses.point.distance)),
            overlap: sum(counted(PointDistance::L1Nonzero)),
            mask: masked,
        }
    }
}

fn sum<const D: usize>(mask: Tensor<D>) -> f64 {
    f64::from(mask.sum().into_scalar::<f32>())
}

/// The losses of a batch from those of its parts. The total of a part has its shares already.
pub(super) fn together(parts: &[(LossRecord, Shares)]) -> LossRecord {
    let one = |value: fn(&LossRecord) -> Option<f64>, share: fn(&Shares) -> f64| {
        let [sum] = weighted_sum(parts, |record| value(record).map(|value| [value]), share)?;
        Some(sum)
    };
    LossRecord {
        loss: parts.iter().map(|(record, _)| record.loss).sum(),
        text_loss: one(|record| record.text_loss, |of| of.text),
        point_loss: one(|record| record.point_loss, |of| of.point),
        overlap_loss: one(|record| record.overlap_loss, |of| of.overlap),
        detection_loss: weighted_sum(
            parts,
            |record| record.detection_loss.map(DetectionMeasure::to_array),
            |of| of.detection,
        )
        .map(DetectionMeasure::from_array),
        mask_loss: weighted_sum(
            parts,
            |record| record.mask_loss.map(MaskMeasure::to_array),
            |of| of.mask,
        )
        .map(MaskMeasure::from_array),
    }
}

/// `None` where a part has no such loss.
fn weighted_sum<const N: usize>(
    parts: &[(LossRecord, Shares)],
    values: impl Fn(&LossRecord) -> Option<[f64; N]>,
    share: impl Fn(&Shares) -> f64,
) -> Option<[f64; N]> {
    let mut sum = [0.0; N];
    for (record, shares) in parts {
        let share = share(shares);
        sum.iter_mut().zip(values(record)?).for_each(|(sum, value)| *sum += value * share);
    }
    Some(sum)
}

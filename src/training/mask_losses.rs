//! Masks in a step: the losses of a batch with masks, and what is written down of them.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::training_model::TrainingModel;
use crate::data::batch::Batch;
use crate::model::heads::points::to_pixels;
use crate::model::loss::mask::{MaskLossConfig, MaskLosses, MaskTargets, mask_loss};
use crate::model::loss::point::{TokenSelection, select_tokens};
use crate::model::pixel_llm::locate::box_of_points;
use crate::model::pixel_llm::placement::on;
use crate::model::vision::VisionFeatures;

/// The mask loss of a batch and its parts, read back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MaskMeasure {
    /// Weighted sum of the parts, before the weight of the mask loss.
    pub total: f64,
    /// Focal loss before its weight.
    pub focal: f64,
    /// Dice loss before its weight.
    pub dice: f64,
    /// Squared error of the expected overlap, before its weight.
    pub iou: f64,
}

impl MaskMeasure {
    /// Reads the losses back.
    pub(super) fn of(losses: &MaskLosses, config: &MaskLossConfig) -> Self {
        let read = |loss: Tensor<1>| f64::from(loss.into_scalar::<f32>());
        Self {
            total: read(losses.total(config)),
            focal: read(losses.focal.clone()),
            dice: read(losses.dice.clone()),
            iou: read(losses.iou.clone()),
        }
    }

    /// Total, focal, dice and IoU loss.
    pub(super) fn to_array(self) -> [f64; 4] {
        [self.total, self.focal, self.dice, self.iou]
    }

    /// As [`Self::to_array`].
    pub(super) fn from_array([total, focal, dice, iou]: [f64; 4]) -> Self {
        Self { total, focal, dice, iou }
    }
}

impl TrainingModel {
    /// The mask losses of a batch; `None` where it has no masks, the model does not make them, or they
    /// weigh nothing. As when the model is asked, the prompt of the mask decoder is the box of the
    /// points of the last word, and no gradient goes back through it (`spec/inference.md` §2.2).
    ///
    /// A row without a last word (its text was cut) has no box, and one without a mask nothing to
    /// learn: neither counts.
    ///
    /// # Shapes
    /// - `visual`: `[B, M, Q, D]`, what the language model saw of each prompt
    /// - `features`: `[B, N, L, D]`, what it read
    pub(super) fn mask_losses(
        &self,
        batch: &Batch,
        images: &VisionFeatures,
        visual: Tensor<4>,
        features: Tensor<4>,
    ) -> Option<MaskLosses> {
        let targets = batch.masks.as_ref().filter(|_| self.losses.mask.weight > 0.0)?;
        let vocabulary = self.model.language().vocabulary();
        let points = self.model.points(features.clone())?;
        let device = points.device();
        let text = on(&device, batch.rows.text.clone());
        let answers = select_tokens(text, &vocabulary, TokenSelection::LastWord);
        let points = to_pixels(points, on(&device, batch.sizes.clone()));
        let boxes = box_of_points(points, answers.clone().greater_elem(0.0), 0);
        let masks = self.model.masks(images, boxes, visual, features)?;
        let has_answer = answers.max_dim(2).squeeze_dim::<2>(2);
        let targets = MaskTargets {
            masks: on(&device, targets.masks.clone()),
            row_valid: on(&device, targets.row_valid.clone()) * has_answer,
            padding_mask: on(&device, targets.padding_mask.clone()),
        };
        Some(mask_loss(masks, &targets, &self.losses.mask))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! The numbers of a record by name: what TensorBoard, tables and lists of runs show.

use std::collections::BTreeMap;

use super::record::{LossRecord, Record};
use crate::experiment::checkpoints::LossName;

/// Names of the losses and of their parts, in the order of [`LossRecord::values`].
pub const LOSS_NAMES: [&str; 13] = [
    "loss",
    "text_loss",
    "point_loss",
    "overlap_loss",
    "detection_loss",
    "detection_loss.heatmap",
    "detection_loss.distances",
    "detection_loss.classes",
    "detection_loss.boxes",
    "mask_loss",
    "mask_loss.focal",
    "mask_loss.dice",
    "mask_loss.iou",
];

/// Names of what else a step measures, in the order of [`step_values`].
pub const STEP_NAMES: [&str; 8] = [
    "gradient_norm",
    "learning_rate",
    "samples_per_second",
    "tokens_per_second",
    "flops_per_second",
    "memory_bytes",
    "data_wait_share",
    "seconds",
];

impl LossRecord {
    /// Every loss and part, in the order of [`LOSS_NAMES`]; `None` for what is not there.
    pub fn values(&self) -> [Option<f64>; 13] {
        let detection = self.detection_loss.as_ref();
        let mask = self.mask_loss.as_ref();
        [
            Some(self.loss),
            self.text_loss,
            self.point_loss,
            self.overlap_loss,
            detection.map(|loss| loss.total),
            detection.map(|loss| loss.heatmap),
            detection.map(|loss| loss.distances),
            detection.map(|loss| loss.classes),
            detection.map(|loss| loss.boxes),
            mask.map(|loss| loss.total),
            mask.map(|loss| loss.focal),
            mask.map(|loss| loss.dice),
            mask.map(|loss| loss.iou),
        ]
    }

    /// The losses that there are, each with its name.
    pub fn named(&self) -> BTreeMap<&'static str, f64> {
        let values = LOSS_NAMES.into_iter().zip(self.values());
        values.filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// One of the losses; `None` where it was not measured.
    pub fn get(&self, name: LossName) -> Option<f64> {
        match name {
            LossName::Loss => Some(self.loss),
            LossName::TextLoss => self.text_loss,
            LossName::PointLoss => self.point_loss,
            LossName::OverlapLoss => self.overlap_loss,
            LossName::DetectionLoss => self.detection_loss.as_ref().map(|loss| loss.total),
            LossName::MaskLoss => self.mask_loss.as_ref().map(|loss| loss.total),
        }
    }
}

/// What a record measured beside losses, in the order of [`STEP_NAMES`]; of the validation split, nothing.
pub fn step_values(record: &Record) -> [Option<f64>; 8] {
    match record {
        Record::Step(step) => [
            Some(step.gradient_norm),
            Some(step.learning_rate),
            Some(step.samples_per_second),
            step.cost.tokens_per_second,
            step.cost.flops_per_second,
            step.cost.memory_bytes.map(|bytes| bytes as f64),
            Some(step.data_wait_share),
            step.cost.seconds,
        ],
        Record::Validation(_) => [None; 8],
    }
}

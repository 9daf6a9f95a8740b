//! Which checkpoints of a run are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::sample::Task;

/// Which checkpoints of a run are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// The last ones, so many. Called `training.keep_checkpoints` in older experiments, which are still
    /// read.
    pub keep_last: usize,
    /// The best ones, so many, beside the last: those with the lowest `best_by` on the validation split.
    pub keep_best: usize,
    /// The loss by which one checkpoint is better than another: the lower, the better. A checkpoint at
    /// which it was not measured is none of the best.
    pub best_by: LossName,
    /// The task whose loss that is; leave out for the mean over all batches of the validation split.
    pub best_task: Option<Task>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { keep_last: 2, keep_best: 1, best_by: LossName::Loss, best_task: None }
    }
}

/// A loss, by its key in `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Weighted sum of the others.
    Loss,
    /// Of texts.
    TextLoss,
    /// Of points.
    PointLoss,
    /// Of the overlap of boxes.
    OverlapLoss,
    /// Of the box decoder.
    DetectionLoss,
    /// Of masks.
    MaskLoss,
}

//! `metrics.jsonl`: what every step and every look at the validation split measured.

use serde::{Deserialize, Serialize};

use crate::data::sample::Task;

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A training step.
    Step(StepRecord),
    /// The validation split, after `step` steps.
    Validation(ValidationRecord),
}

/// What a training step measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// What the batch was for.
    pub task: Task,
    /// Weighted sum of the parts.
    pub loss: f64,
    /// Text loss before its weight; `None` where the task has none.
    pub text_loss: Option<f64>,
    /// Point loss before its weight, in the experiment's unit; `None` where the task has none.
    pub point_loss: Option<f64>,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Images per second since the last step.
    pub samples_per_second: f64,
    /// Share of the step's time spent waiting for its batch.
    pub data_wait_share: f64,
}

/// What the validation split measured for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Steps done.
    pub step: usize,
    /// What the batches were for.
    pub task: Task,
    /// Weighted sum of the parts.
    pub loss: f64,
    /// Text loss before its weight.
    pub text_loss: Option<f64>,
    /// Point loss before its weight.
    pub point_loss: Option<f64>,
}

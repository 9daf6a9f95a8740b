//! What an evaluation found: one number beside that of a trivial baseline.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A metric's value on one split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What the model reached.
    pub value: f64,
    /// What a trivial answer reaches on the same split; `None` where there is none.
    pub baseline: Option<f64>,
    /// How many answers were scored.
    pub n: usize,
}

/// Metric → score, in the order of the table.
pub type TaskScores = BTreeMap<String, Score>;

/// Split → task → metric → score: the content of `evaluation.json`.
pub type Evaluation = BTreeMap<String, BTreeMap<String, TaskScores>>;

/// Whether less of a metric is better: of errors and distances; of everything else more is.
pub fn lower_is_better(metric: &str) -> bool {
    metric.contains("error") || metric.ends_with("_l1")
}

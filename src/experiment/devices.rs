//! `[devices]`: which part of the model trains where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::model::ConfigProblem;

/// Parts of the model that train elsewhere than on the experiment's `device`, each a name as there. What
/// one part hands to the next is moved between their devices, and gradients are moved back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DevicesConfig {
    /// Device of the image encoders.
    pub vision: Option<String>,
    /// Device of the location encoder and the prompt adapter.
    pub adapter: Option<String>,
    /// Device of the language model.
    pub language: Option<String>,
    /// Device of the point head, the box decoder and the mask branch.
    pub heads: Option<String>,
}

impl DevicesConfig {
    /// Whether any part is elsewhere.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

impl Experiment {
    /// Devices that do not go together.
    pub(super) fn placed_badly(&self) -> Vec<ConfigProblem> {
        let problem = |key: &str, problem: &str, allowed: String| ConfigProblem {
            key: key.into(),
            problem: problem.into(),
            allowed,
        };
        let shared = &self.training.devices;
        let mut problems = Vec::new();
        if let Some(first) = shared.first().filter(|first| **first != self.device) {
            let allowed = format!("{first:?}, the first of training.devices, or no such list");
            problems.push(problem("device", "is not the first of training.devices", allowed));
        }
        if !shared.is_empty() && self.training.parallel_parts > 1 {
            let found = "each of training.devices computes one part at a time";
            problems.push(problem("training.parallel_parts", found, "1".into()));
        }
        if self.devices.is_set() && shared.len() > 1 {
            let found = "a model in parts cannot be on several devices at once";
            let allowed = "none beside [devices]".into();
            problems.push(problem("training.devices", found, allowed));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_share_whole_models_and_begin_with_the_experiments_own() {
        let keys = |change: &dyn Fn(&mut Experiment)| {
            let mut experiment = Experiment::default();
            change(&mut experiment);
            let problems = experiment.placed_badly();
            problems.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        let two = || vec!["cpu".to_string(), "cpu".to_string()];
        assert!(keys(&|e| e.training.devices = two()).is_empty());
        assert!(keys(&|e| e.devices.heads = Some("wgpu".into())).is_empty());
        let other_first = |e: &mut Experiment| e.training.devices = vec!["cuda:0".into()];
        assert_eq!(keys(&other_first), ["device"]);
        let placed = |e: &mut Experiment| {
            e.training.devices = two();
            e.training.parallel_parts = 2;
            e.devices.vision = Some("cpu".into());
        };
        assert_eq!(keys(&placed), ["training.parallel_parts", "training.devices"]);
    }
}

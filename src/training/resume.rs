//! What a resumed run may change of its experiment.

use serde_json::Value;

use super::run_directory::RunDirectory;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};

/// Keys that change nothing of what is learnt; tables with everything in them.
const MAY_CHANGE: [&str; 13] = [
    "checkpoints",
    "data.cache_features",
    "data.workers",
    "device",
    "devices",
    "output",
    "evaluation",
    "logging",
    "decoding",
    "training.devices",
    "training.gradient_checkpointing",
    "training.prefetch_batches",
    "training.validation_batches",
];

/// Checks that `experiment` is the one of the run, but for what changes nothing of what is learnt.
///
/// # Errors
/// [`Error::Run`] naming every key that differs.
pub fn check_same(run: &RunDirectory, experiment: &Experiment) -> Result<()> {
    let before = experiment::load(&run.experiment(), &[])?;
    let as_json = |experiment: &Experiment| serde_json::to_value(experiment).unwrap_or_default();
    let mut changed = Vec::new();
    differences(&as_json(&before), &as_json(experiment), "", &mut changed);
    changed.retain(|key| {
        !MAY_CHANGE.iter().any(|free| key == free || key.starts_with(&format!("{free}.")))
    });
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::Run {
        path: run.path().into(),
        problem: format!("was begun with other values of {}", changed.join(", ")),
        help: format!(
            "Resume with the experiment it was begun with ({}), or train anew with --out.",
            run.experiment().display()
        ),
    })
}

/// Dotted paths of the values that differ.
fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let value = |table: &serde_json::Map<String, Value>| {
                    table.get(key).cloned().unwrap_or_default()
                };
                differences(&value(before), &value(after), &path, found);
            }
        }
        _ if before == after => {}
        _ => found.push(path.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_innermost_key() {
        let mut found = Vec::new();
        let before = json!({"seed": 1, "model": {"width": 8, "depth": 2}, "data": [1, 2]});
        let after = json!({"seed": 1, "model": {"width": 9, "depth": 2}, "data": [1], "new": 1});
        differences(&before, &after, "", &mut found);
        assert_eq!(found, ["data", "model.width", "new"]);
    }
}

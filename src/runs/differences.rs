//! In what runs differ: keys of their experiments, and metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Run;
use crate::error::{Error, Result};
use crate::metrics::score::lower_is_better;

/// Keys that say where a run is, not what it does.
const PLACES: [&str; 2] = ["name", "output"];

/// Runs beside each other; the first is what others are compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Names of the runs.
    pub runs: Vec<String>,
    /// Dotted keys of their experiments that differ, each with its value in every run; `None` where a run's
    /// experiment has no such key.
    pub experiments: BTreeMap<String, Vec<Option<Value>>>,
    /// Metrics, and losses on the validation split.
    pub metrics: Vec<MetricRow>,
}

/// A number of every run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricRow {
    /// `split.task.metric`, or `validation.task.loss`.
    pub name: String,
    /// Whether less of it is better.
    pub lower_is_better: bool,
    /// In every run; `None` where it was not measured.
    pub values: Vec<Option<f64>>,
    /// The same less that of the first.
    pub differences: Vec<Option<f64>>,
}

impl Comparison {
    /// Of several runs.
    ///
    /// # Errors
    /// What is wrong with an experiment that cannot be read; [`Error::Usage`] for fewer than two runs.
    pub fn new(runs: Vec<Run>) -> Result<Self> {
        if runs.len() < 2 {
            return Err(Error::Usage {
                problem: "there is nothing to compare a single run with".into(),
                help: "Name two runs or more.".into(),
            });
        }
        let summaries: Vec<_> = runs.iter().map(|run| run.summary.clone()).collect();
        let mut experiments = Vec::new();
        for run in runs {
            let json = serde_json::to_value(run.experiment?).unwrap_or_default();
            let mut keys = BTreeMap::new();
            flatten(&json, String::new(), &mut keys);
            experiments.push(keys);
        }
        let names: BTreeSet<&String> =
            summaries.iter().flat_map(|run| run.metrics.keys()).collect();
        let of_metric = |name: &String| {
            let values = summaries.iter().map(|run| run.metrics.get(name).copied()).collect();
            MetricRow::new(name.clone(), lower_is_better(name), values)
        };
        let tasks: BTreeSet<&String> =
            summaries.iter().flat_map(|run| run.validation.keys()).collect();
        let of_task = |task: &String| {
            let values = summaries.iter().map(|run| run.validation.get(task).copied()).collect();
            MetricRow::new(format!("validation.{task}.loss"), true, values)
        };
        Ok(Self {
            metrics: names
                .into_iter()
                .map(of_metric)
                .chain(tasks.into_iter().map(of_task))
                .collect(),
            runs: summaries.into_iter().map(|run| run.name).collect(),
            experiments: differences(&experiments),
        })
    }
}

impl MetricRow {
    fn new(name: String, lower_is_better: bool, values: Vec<Option<f64>>) -> Self {
        let first = values.first().copied().flatten();
        let differences = values.iter().map(|value| Some((*value)? - first?)).collect();
        Self { name, lower_is_better, values, differences }
    }
}

/// Dotted keys with their values; what is in a list has its number.
fn flatten(value: &Value, key: String, keys: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if key.is_empty() { name.into() } else { format!("{key}.{name}") };
    match value {
        Value::Object(table) if !table.is_empty() => {
            table.iter().for_each(|(name, value)| flatten(value, below(name), keys));
        }
        // A list of numbers or names is one value; a list of tables is several.
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| flatten(value, below(&index.to_string()), keys));
        }
        _ => {
            keys.insert(key, value.clone());
        }
    }
}

/// The keys whose values are not the same in all.
fn differences(experiments: &[BTreeMap<String, Value>]) -> BTreeMap<String, Vec<Option<Value>>> {
    let keys: BTreeSet<&String> = experiments.iter().flat_map(BTreeMap::keys).collect();
    let rows = keys.into_iter().map(|key| {
        let values: Vec<_> = experiments.iter().map(|keys| keys.get(key).cloned()).collect();
        (key.clone(), values)
    });
    let differs = |values: &[Option<Value>]| values.windows(2).any(|pair| pair[0] != pair[1]);
    rows.filter(|(key, values)| differs(values) && !PLACES.contains(&key.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_differ_are_named_with_the_value_of_every_run() {
        let flat = |value: Value| {
            let mut keys = BTreeMap::new();
            flatten(&value, String::new(), &mut keys);
            keys
        };
        let one = flat(json!({"name": "a", "seed": 1, "model": {"width": 8, "blocks": [1, 2]},
                              "sources": [{"weight": 1.0}], "shapes": {}}));
        let other = flat(json!({"name": "b", "seed": 1, "model": {"width": 8, "blocks": [1, 3]},
                                "sources": [{"weight": 1.0}, {"weight": 2.0}], "shapes": {}}));
        let found = differences(&[one, other]);
        let keys: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(keys, ["model.blocks", "sources.1.weight"]);
        assert_eq!(found["model.blocks"], [Some(json!([1, 2])), Some(json!([1, 3]))]);
        assert_eq!(found["sources.1.weight"], [None, Some(json!(2.0))]);
    }

    #[test]
    fn differences_of_metrics_are_those_from_the_first_run() {
        let row = MetricRow::new("m".into(), false, vec![Some(0.5), Some(0.75), None]);
        assert_eq!(row.differences, [Some(0.0), Some(0.25), None]);
        let row = MetricRow::new("m".into(), false, vec![None, Some(0.75)]);
        assert_eq!(row.differences, [None, None]);
    }
}

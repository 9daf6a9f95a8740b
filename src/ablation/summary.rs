//! The numbers of a sweep beside each other.

use std::collections::BTreeMap;

use super::launch::Cost;
use super::plan::Plan;
use super::sweep::Sweep;
use crate::error::{Error, Result};
use crate::experiment::did_you_mean;
use crate::metrics::score::{Evaluation, lower_is_better};
use crate::training::record::{self, Record};
use crate::training::run_directory::{RunDirectory, read_json};

/// Fewer seeds than this say nothing of a difference: with three each, all of one being better than all
/// of the other happens by chance once in ten (2 of the 20 ways to share out six ranks).
const SEEDS_FOR_A_VERDICT: usize = 3;

/// A quantity of a variant: each seed of which it is known, and its value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values(pub Vec<(u64, f64)>);

impl Values {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|(_, value)| *value)
    }

    /// Their mean; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.numbers().sum::<f64>() / self.0.len() as f64)
    }

    /// Their standard deviation (of a sample, n − 1); `None` of fewer than two.
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares: f64 = self.numbers().map(|value| (value - mean).powi(2)).sum();
        (self.0.len() > 1).then(|| (squares / (self.0.len() - 1) as f64).sqrt())
    }

    fn range(&self) -> (f64, f64) {
        let low = self.numbers().fold(f64::INFINITY, f64::min);
        (low, self.numbers().fold(f64::NEG_INFINITY, f64::max))
    }
}

/// How a variant does against the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Every seed is better than every seed of the first.
    Better,
    /// Every seed is worse than every seed of the first.
    Worse,
    /// Seeds overlap, or there are fewer than three.
    Unclear,
}

/// One quantity over all variants.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `split.task.metric`, or what it costs.
    pub name: String,
    /// Whether less of it is better.
    pub lower_is_better: bool,
    /// What a trivial answer reaches; `None` where there is none, or where it is not the same in every
    /// run.
    pub baseline: Option<f64>,
    /// For each variant.
    pub values: Vec<Values>,
}

impl Row {
    /// How variant `index` does against the first.
    pub fn difference(&self, index: usize) -> Difference {
        let (Some(first), Some(other)) = (self.values.first(), self.values.get(index)) else {
            return Difference::Unclear;
        };
        if index == 0 || first.0.len().min(other.0.len()) < SEEDS_FOR_A_VERDICT {
            return Difference::Unclear;
        }
        let ((first_low, first_high), (low, high)) = (first.range(), other.range());
        match (low > first_high, high < first_low) {
            (true, _) if self.lower_is_better => Difference::Worse,
            (true, _) => Difference::Better,
            (_, true) if self.lower_is_better => Difference::Better,
            (_, true) => Difference::Worse,
            _ => Difference::Unclear,
        }
    }
}

/// Losses of a variant over the steps, for the curves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Task → (step, loss on the validation split, mean over the seeds).
    pub validation: BTreeMap<String, Vec<(usize, f64)>>,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The sweep's name.
    pub name: String,
    /// What it was to find out.
    pub question: String,
    /// The command that made it.
    pub command: String,
    /// Names of the variants that are compared.
    pub variants: Vec<String>,
    /// Seeds that are finished, for each variant.
    pub finished: Vec<Vec<u64>>,
    /// Trials that are not finished, and what is known of why.
    pub missing: Vec<String>,
    /// Quality: the metrics of the evaluation.
    pub metrics: Vec<Row>,
    /// Cost: images per second, minutes, peak memory.
    pub costs: Vec<Row>,
    /// For each variant.
    pub curves: Vec<Curve>,
}

/// What one finished trial says.
struct Finished {
    evaluation: Evaluation,
    records: Vec<Record>,
    cost: Option<Cost>,
}

impl Summary {
    /// Reads every finished trial of `plan`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] for a file that is damaged, [`Error::Usage`] where the sweep
    /// asks for a metric that no run has.
    pub fn read(sweep: &Sweep, plan: &Plan, command: String, missing: Vec<String>) -> Result<Self> {
        let compared: Vec<_> =
            (0..plan.variants.len()).filter(|v| !plan.variants[*v].aside).collect();
        let mut finished: Vec<Vec<(u64, Finished)>> = Vec::new();
        for variant in &compared {
            let trials = plan.trials.iter().filter(|trial| trial.variant == *variant);
            let mut found = Vec::new();
            for trial in trials {
                let Ok(run) = RunDirectory::open(&trial.directory) else { continue };
                if run.evaluation().is_file() {
                    found.push((trial.seed, read_finished(&run)?));
                }
            }
            finished.push(found);
        }
        let metrics = metric_rows(&finished);
        Ok(Self {
            name: sweep.name.clone(),
            question: sweep.question.clone(),
            command,
            variants: compared.iter().map(|v| plan.variants[*v].name.clone()).collect(),
            finished: finished.iter().map(|f| f.iter().map(|(seed, _)| *seed).collect()).collect(),
            missing,
            metrics: chosen(metrics, &sweep.metrics)?,
            costs: cost_rows(&finished),
            curves: finished.iter().map(|trials| curve(trials)).collect(),
        })
    }
}

fn read_finished(run: &RunDirectory) -> Result<Finished> {
    let cost = Cost::file(run.path());
    Ok(Finished {
        evaluation: read_json(&run.evaluation())?,
        records: record::read(&run.metrics())?,
        cost: if cost.is_file() { Some(read_json(&cost)?) } else { None },
    })
}

/// Every metric that any trial has.
fn metric_rows(finished: &[Vec<(u64, Finished)>]) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (variant, trials) in finished.iter().enumerate() {
        for (seed, trial) in trials {
            for (split, tasks) in &trial.evaluation {
                for (task, scores) in tasks {
                    for (metric, score) in scores {
                        let name = format!("{split}.{task}.{metric}");
                        let row = rows.entry(name.clone()).or_insert_with(|| Row {
                            name,
                            lower_is_better: lower_is_better(metric),
                            baseline: score.baseline,
                            values: vec![Values::default(); finished.len()],
                        });
                        row.baseline = row.baseline.filter(|same| Some(*same) == score.baseline);
                        row.values[variant].0.push((*seed, score.value));
                    }
                }
            }
        }
    }
    rows.into_values().collect()
}

/// The rows that the sweep asks for, in its order.
fn chosen(rows: Vec<Row>, wanted: &[String]) -> Result<Vec<Row>> {
    if wanted.is_empty() || rows.is_empty() {
        return Ok(rows);
    }
    wanted
        .iter()
        .map(|name| {
            rows.iter().find(|row| row.name == *name).cloned().ok_or_else(|| Error::Usage {
                problem: format!("no run of the sweep has the metric {name}"),
                help: format!(
                    "{}Look at the evaluation.json of one of its runs.",
                    did_you_mean(name, rows.iter().map(|row| row.name.as_str()), '`')
                ),
            })
        })
        .collect()
}

fn cost_rows(finished: &[Vec<(u64, Finished)>]) -> Vec<Row> {
    let row = |name: &str, lower_is_better: bool, value: &dyn Fn(&Finished) -> Option<f64>| {
        let of_trial = |(seed, trial): &(u64, Finished)| Some((*seed, value(trial)?));
        let values = |trials: &Vec<_>| Values(trials.iter().filter_map(of_trial).collect());
        let values = finished.iter().map(values).collect();
        Row { name: name.into(), lower_is_better, baseline: None, values }
    };
    let cost = |value: fn(&Cost) -> Option<f64>| {
        move |trial: &Finished| trial.cost.as_ref().and_then(value)
    };
    let rows = [
        row("images per second", false, &|trial| median_speed(&trial.records)),
        row("minutes", true, &cost(|cost| Some(cost.seconds / 60.0))),
        row("peak memory, GiB", true, &cost(|cost| Some(cost.peak_bytes? as f64 / GIBIBYTE))),
    ];
    rows.into_iter().filter(|row| row.values.iter().any(|values| !values.0.is_empty())).collect()
}

const GIBIBYTE: f64 = (1u64 << 30) as f64;

/// The median over the steps: the first steps and those beside a checkpoint are no guide.
fn median_speed(records: &[Record]) -> Option<f64> {
    let speed = |record: &Record| match record {
        Record::Step(step) => Some(step.samples_per_second),
        Record::Validation(_) => None,
    };
    let mut speeds: Vec<_> = records.iter().filter_map(speed).filter(|s| *s > 0.0).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied()
}

fn curve(trials: &[(u64, Finished)]) -> Curve {
    let mut sums: BTreeMap<String, BTreeMap<usize, (f64, usize)>> = BTreeMap::new();
    for (_, trial) in trials {
        for record in &trial.records {
            if let Record::Validation(check) = record {
                let steps = sums.entry(check.task.name().to_string()).or_default();
                let (sum, count) = steps.entry(check.step).or_default();
                *sum += check.losses.loss;
                *count += 1;
            }
        }
    }
    let mean = |(step, (sum, count)): (usize, (f64, usize))| (step, sum / count as f64);
    let validation = sums.into_iter().map(|(task, s)| (task, s.into_iter().map(mean).collect()));
    Curve { validation: validation.collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metrics::Score;

    /// Values of the seeds 0, 1, 2 and so on.
    fn seeded(values: &[f64]) -> Values {
        Values((0..).zip(values.iter().copied()).collect())
    }

    fn row(lower_is_better: bool, values: &[&[f64]]) -> Row {
        let values = values.iter().map(|v| seeded(v)).collect();
        Row { name: "m".into(), lower_is_better, baseline: None, values }
    }

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let values = seeded(&[1.0, 2.0, 6.0]);
        assert_eq!(values.mean(), Some(3.0));
        // Squares 4 + 1 + 9 over two.
        assert!((values.deviation().unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!((seeded(&[2.0]).deviation(), Values::default().mean()), (None, None));
    }

    #[test]
    fn a_difference_is_clear_where_no_seed_overlaps() {
        let first = [0.5, 0.6, 0.55];
        let of = |lower, other: &[f64]| row(lower, &[&first, other]).difference(1);
        assert_eq!(of(false, &[0.61, 0.7, 0.8]), Difference::Better);
        assert_eq!(of(true, &[0.61, 0.7, 0.8]), Difference::Worse);
        assert_eq!(of(false, &[0.4, 0.3, 0.49]), Difference::Worse);
        assert_eq!(of(false, &[0.59, 0.7, 0.8]), Difference::Unclear);
        assert_eq!(of(false, &[0.7, 0.8]), Difference::Unclear);
        assert_eq!(row(false, &[&first]).difference(0), Difference::Unclear);
    }

    #[test]
    fn a_baseline_that_differs_between_runs_is_left_out() {
        let trial = |baseline: [f64; 2]| {
            let score = |baseline| Score { value: 0.5, baseline: Some(baseline), n: 3 };
            let scores = ["a", "b"].map(String::from).into_iter().zip(baseline.map(score));
            let tasks = BTreeMap::from([("locate".to_string(), scores.collect())]);
            let evaluation = Evaluation::from([("test".to_string(), tasks)]);
            Finished { evaluation, records: vec![], cost: None }
        };
        let rows = metric_rows(&[vec![(7, trial([0.1, 0.2]))], vec![(9, trial([0.1, 0.3]))]]);
        let baselines: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.baseline)).collect();
        assert_eq!(baselines, [("test.locate.a", Some(0.1)), ("test.locate.b", None)]);
        assert_eq!(rows[0].values, [Values(vec![(7, 0.5)]), Values(vec![(9, 0.5)])]);
    }

    #[test]
    fn a_metric_that_no_run_has_is_an_error_with_a_near_one() {
        let rows = vec![Row { name: "test.locate.mean_iou".into(), ..row(false, &[&[0.1]]) }];
        assert_eq!(chosen(rows.clone(), &["test.locate.mean_iou".into()]).unwrap(), rows);
        let error = chosen(rows, &["test.locate.mean_iuo".into()]).unwrap_err();
        assert!(error.to_string().contains("test.locate.mean_iuo"), "{error}");
    }
}

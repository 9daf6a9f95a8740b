//! Floor 5: runs beside each other, by what is in their directories: what became of them, in what their
//! experiments differ, and in what their numbers do.

pub mod differences;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::metrics::score::Evaluation;
use crate::training::record::{self, Record};
use crate::training::run_directory::{RunDirectory, read_json};
use crate::training::run_lock::RunLock;

/// Folders below a folder of runs that are looked into: sweeps keep theirs two deeper.
const DEPTH: usize = 4;
/// Steps whose mean is called the loss of now.
const RECENT_STEPS: usize = 50;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its weights are there.
    Finished,
    /// A process trains it.
    Running,
    /// Neither: it was stopped, or killed.
    Stopped,
}

impl State {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A run, without its records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// What it is called here: its path as it was given or found.
    pub name: String,
    /// What became of it.
    pub state: State,
    /// Steps done.
    pub step: usize,
    /// Steps wanted; `None` where the experiment counts epochs, or cannot be read.
    pub max_steps: Option<usize>,
    /// Mean loss of the last 50 steps; `None` before the first.
    pub loss: Option<f64>,
    /// Last loss on the validation split, by task.
    pub validation: BTreeMap<String, f64>,
    /// Metrics of its evaluation, as `split.task.metric`.
    pub metrics: BTreeMap<String, f64>,
    /// When its last step was done, in seconds since 1970.
    pub time: Option<f64>,
    /// Seconds that its steps took together; `None` in runs of older versions.
    pub seconds: Option<f64>,
}

/// A run with what is in its directory.
#[derive(Debug)]
pub struct Run {
    /// Where it is.
    pub directory: RunDirectory,
    /// What is said of it.
    pub summary: RunSummary,
    /// Its experiment; what is wrong with it where it cannot be read.
    pub experiment: Result<Experiment>,
    /// Its records.
    pub records: Vec<Record>,
}

impl Run {
    /// Reads the run in `path`.
    ///
    /// # Errors
    /// [`Error::Run`] where there is none, [`Error::Io`] and [`Error::Format`] where its records or its
    /// evaluation cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let directory = RunDirectory::open(path)?;
        let experiment = experiment::load(&directory.experiment(), &[]);
        let metrics = directory.metrics();
        let records = if metrics.is_file() { record::read(&metrics)? } else { Vec::new() };
        let evaluation: Evaluation = match directory.evaluation() {
            file if file.is_file() => read_json(&file)?,
            _ => Evaluation::new(),
        };
        let max_steps = experiment.as_ref().ok().map(|experiment| &experiment.training);
        let max_steps = max_steps.filter(|training| training.epochs.is_none());
        let summary = RunSummary {
            name: path.strip_prefix(".").unwrap_or(path).display().to_string(),
            state: state(&directory),
            step: records.iter().map(Record::step).max().unwrap_or(0),
            max_steps: max_steps.map(|training| training.max_steps),
            loss: recent_loss(&records),
            validation: last_validation(&records),
            metrics: flat(&evaluation),
            time: last_time(&records).or_else(|| modified(&metrics)),
            seconds: seconds(&records),
        };
        Ok(Self { directory, summary, experiment, records })
    }
}

fn state(directory: &RunDirectory) -> State {
    match (RunLock::is_held(directory), directory.weights().is_file()) {
        (true, _) => State::Running,
        (false, true) => State::Finished,
        (false, false) => State::Stopped,
    }
}

fn recent_loss(records: &[Record]) -> Option<f64> {
    let losses = records.iter().rev().filter_map(|record| match record {
        Record::Step(step) => Some(step.losses.loss),
        Record::Validation(_) => None,
    });
    let losses: Vec<f64> = losses.take(RECENT_STEPS).collect();
    (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
}

fn last_validation(records: &[Record]) -> BTreeMap<String, f64> {
    let checks = records.iter().filter_map(|record| match record {
        Record::Step(_) => None,
        Record::Validation(check) => Some((check.task.name().to_string(), check.losses.loss)),
    });
    checks.collect()
}

fn last_time(records: &[Record]) -> Option<f64> {
    records.iter().rev().find_map(|record| match record {
        Record::Step(step) => step.cost.time,
        Record::Validation(_) => None,
    })
}

fn modified(path: &Path) -> Option<f64> {
    let time = path.metadata().ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

fn seconds(records: &[Record]) -> Option<f64> {
    let taken = records.iter().filter_map(|record| match record {
        Record::Step(step) => step.cost.seconds,
        Record::Validation(_) => None,
    });
    let taken: Vec<f64> = taken.collect();
    (!taken.is_empty()).then(|| taken.iter().sum())
}

fn flat(evaluation: &Evaluation) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    for (split, tasks) in evaluation {
        for (task, scores) in tasks {
            for (metric, score) in scores {
                metrics.insert(format!("{split}.{task}.{metric}"), score.value);
            }
        }
    }
    metrics
}

/// The runs below `folder`, or the one that it is, by their paths.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    if RunDirectory::open(folder).is_ok() {
        found.insert(folder.to_path_buf());
    } else {
        let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
        entries.flatten().for_each(|entry| look(&entry.path(), DEPTH, &mut found));
    }
    Ok(found.into_iter().collect())
}

/// Looks into a folder; one that cannot be read has nothing to show.
fn look(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    if depth == 0 || !folder.is_dir() {
        return;
    }
    if RunDirectory::open(folder).is_ok() {
        found.insert(folder.to_path_buf());
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.for_each(|entry| look(&entry.path(), depth - 1, found));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_below_a_folder_and_not_inside_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "sweeps/s/v-0", "a/inside"] {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("experiment.toml"), "").unwrap();
        }
        let found = find(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("a"), Path::new("sweeps/s/v-0")]);
        assert_eq!(find(&folder.path().join("a")).unwrap(), [folder.path().join("a")]);
        assert!(find(&folder.path().join("none")).is_err());
    }
}

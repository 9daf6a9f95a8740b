//! Checkpoints on the disk: which there are, whether they are whole, and which of them is meant.
//!
//! `state-N.json` is written last of the files of a checkpoint, and has the checksums of the others and of
//! what it says itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::durable::{Checksum, hex};
use super::run_directory::{RunDirectory, read_json, write_json};
use crate::error::{Error, Result};

/// Where a run stood at a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Number of the checkpoint, from 1.
    pub number: usize,
    /// Optimiser steps done.
    pub step: usize,
    /// The loss by which checkpoints are compared; `None` where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Its files by name. Checkpoints of older versions have none, and are taken as they are.
    #[serde(default)]
    pub files: BTreeMap<String, Checksum>,
    /// XXH3 of number, step and files, in hexadecimal.
    #[serde(default)]
    pub xxh3: String,
}

impl CheckpointState {
    /// A state with the checksum of itself.
    pub fn new(
        number: usize,
        step: usize,
        score: Option<f64>,
        files: BTreeMap<String, Checksum>,
    ) -> Self {
        let xxh3 = hash(number, step, &files);
        Self { number, step, score, files, xxh3 }
    }

    /// Writes it into `directory`, which makes the checkpoint one.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        write_json(&state_path(directory, self.number), self)
    }

    /// What is wrong with the files of the checkpoint in `directory`, if anything is. Reads them all.
    pub fn problem(&self, directory: &Path) -> Option<String> {
        if self.files.is_empty() && self.xxh3.is_empty() {
            return None;
        }
        if self.xxh3 != hash(self.number, self.step, &self.files) {
            return Some("its state has changed since it was written".into());
        }
        self.files.iter().find_map(|(name, checksum)| checksum.problem(&directory.join(name)))
    }
}

fn hash(number: usize, step: usize, files: &BTreeMap<String, Checksum>) -> String {
    let files = files.iter().map(|(name, sum)| format!("{name} {} {}\n", sum.bytes, sum.xxh3));
    hex(xxh3_64(format!("{number} {step}\n{}", files.collect::<String>()).as_bytes()))
}

/// Where the state of a checkpoint is.
pub(super) fn state_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("state-{number}.json"))
}

/// The numbers of the checkpoints in `directory`, in their order.
fn numbers(directory: &Path) -> Result<Vec<usize>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    let number = |name: &str| -> Option<usize> {
        name.strip_prefix("state-")?.strip_suffix(".json")?.parse().ok()
    };
    let mut numbers: Vec<_> = entries
        .flatten()
        .filter_map(|entry| number(&entry.file_name().to_string_lossy()))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The checkpoints in `directory` whose state can be read, in their order; the others are said.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read.
pub fn all(directory: &Path) -> Result<Vec<CheckpointState>> {
    let state = |number: usize| {
        let path = state_path(directory, number);
        match read_json::<CheckpointState>(&path) {
            Ok(state) if state.number == number => Some(state),
            Ok(state) => {
                tracing::warn!("{} says it is number {}: left out", path.display(), state.number);
                None
            }
            Err(error) => {
                tracing::warn!("checkpoint {number} is left out: {error}");
                None
            }
        }
    };
    Ok(numbers(directory)?.into_iter().filter_map(state).collect())
}

/// The last checkpoint in `directory` that is whole, if any; those after it that are not are said.
///
/// # Errors
/// As [`all`].
pub fn latest(directory: &Path) -> Result<Option<CheckpointState>> {
    Ok(first_whole(directory, all(directory)?.into_iter().rev()))
}

/// The first of `states` that is whole; those before it are said.
fn first_whole(
    directory: &Path,
    mut states: impl Iterator<Item = CheckpointState>,
) -> Option<CheckpointState> {
    states.find(|state| match state.problem(directory) {
        None => true,
        Some(problem) => {
            let (number, step) = (state.number, state.step);
            tracing::warn!("checkpoint {number} (step {step}) is damaged: {problem}; left out");
            false
        }
    })
}

/// Those of `states` that are among the `count` best, the best first. Of two that are equally good, the
/// earlier is better.
pub(super) fn best(states: &[CheckpointState], count: usize) -> Vec<&CheckpointState> {
    let score = |state: &CheckpointState| state.score.filter(|score| score.is_finite());
    let mut measured: Vec<_> = states.iter().filter(|state| score(state).is_some()).collect();
    measured.sort_by(|one, other| {
        let [one, other] = [one, other].map(|state| score(state).unwrap_or(f64::INFINITY));
        one.total_cmp(&other)
    });
    measured.truncate(count);
    measured
}

/// Which weights of a run are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those of the best checkpoint.
    Best,
    /// Those of the last checkpoint.
    Last,
    /// Those of the checkpoint after so many steps.
    Step(usize),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "best" => Ok(Self::Best),
            "last" => Ok(Self::Last),
            _ => text.parse().map(Self::Step).map_err(|_| "is not best, last or a step".into()),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Last => f.write_str("last"),
            Self::Step(step) => write!(f, "{step}"),
        }
    }
}

/// The checkpoint of `run` that is meant. Where it is damaged, the last or best of those that are not takes
/// its place, which is said; one that is named by its step has no other in its place.
///
/// # Errors
/// [`Error::Run`] where there is none, or the one of the step is damaged.
pub fn find(run: &RunDirectory, wanted: Wanted) -> Result<CheckpointState> {
    let directory = run.checkpoints();
    let states = all(&directory)?;
    let steps: Vec<_> = states.iter().map(|state| state.step.to_string()).collect();
    let lacking = |problem: String| Error::Run {
        path: run.path().into(),
        problem,
        help: match steps.is_empty() {
            true => "It has no checkpoint that can be read.".into(),
            false => format!("It has checkpoints after these steps: {}.", steps.join(", ")),
        },
    };
    let found = match wanted {
        Wanted::Last => first_whole(&directory, states.iter().rev().cloned()),
        Wanted::Best => {
            let ranked = best(&states, states.len()).into_iter().cloned();
            first_whole(&directory, ranked)
        }
        Wanted::Step(step) => {
            let Some(state) = states.iter().find(|state| state.step == step) else {
                return Err(lacking(format!("has no checkpoint after {step} steps")));
            };
            match state.problem(&directory) {
                None => Some(state.clone()),
                Some(problem) => {
                    let problem =
                        format!("the checkpoint after {step} steps is damaged: {problem}");
                    return Err(lacking(problem));
                }
            }
        }
    };
    found.ok_or_else(|| match wanted {
        Wanted::Best => lacking("has no checkpoint whose loss was measured".into()),
        _ => lacking("has no checkpoint".into()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A checkpoint of one file.
    fn write(directory: &Path, number: usize, score: Option<f64>) -> CheckpointState {
        let name = format!("model-{number}.bpk");
        let path = directory.join(&name);
        fs::write(&path, format!("weights {number}")).unwrap();
        let files = BTreeMap::from([(name, Checksum::of(&path).unwrap())]);
        let state = CheckpointState::new(number, number * 10, score, files);
        state.write(directory).unwrap();
        state
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path();
        assert_eq!(latest(&directory.join("none")).unwrap(), None);
        let (first, second) = (write(directory, 1, None), write(directory, 2, None));
        assert_eq!(latest(directory).unwrap(), Some(second.clone()));
        // One bit of a file, of the state, and the end of the state.
        let model = directory.join("model-2.bpk");
        fs::write(&model, "weights 3").unwrap();
        assert_eq!(latest(directory).unwrap(), Some(first.clone()));
        fs::write(&model, "weights 2").unwrap();
        assert_eq!(latest(directory).unwrap(), Some(second));
        let path = state_path(directory, 2);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"step\": 20", "\"step\": 21")).unwrap();
        assert_eq!(latest(directory).unwrap(), Some(first.clone()));
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(latest(directory).unwrap(), Some(first));
        fs::remove_file(directory.join("model-1.bpk")).unwrap();
        assert_eq!(latest(directory).unwrap(), None);
    }

    #[test]
    fn a_checkpoint_of_an_older_version_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = state_path(folder.path(), 4);
        fs::write(&path, r#"{"number": 4, "step": 40}"#).unwrap();
        assert_eq!(latest(folder.path()).unwrap().unwrap().step, 40);
    }

    #[test]
    fn checkpoints_have_names() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(folder.path()).unwrap();
        let missing = find(&run, Wanted::Last).unwrap_err();
        assert!(missing.to_string().contains("has no checkpoint"), "{missing}");
        let directory = run.checkpoints();
        for (number, score) in [(1, Some(3.0)), (2, Some(1.0)), (3, Some(2.0)), (4, None)] {
            write(&directory, number, score);
        }
        let step = |text: &str| find(&run, text.parse().unwrap()).map(|state| state.step);
        assert_eq!(
            [step("last").unwrap(), step("best").unwrap(), step("30").unwrap()],
            [40, 20, 30]
        );
        assert!("lest".parse::<Wanted>().is_err());
        let error = step("25").unwrap_err().to_string();
        assert!(error.contains("no checkpoint after 25 steps"), "{error}");
        // Damaged ones: the next best, the one before; what is named has no other.
        for number in [2, 4] {
            fs::write(directory.join(format!("model-{number}.bpk")), "").unwrap();
        }
        assert_eq!([step("last").unwrap(), step("best").unwrap()], [30, 30]);
        let error = step("20").unwrap_err().to_string();
        assert!(error.contains("model-2.bpk has 0 bytes of 9"), "{error}");
    }
}

//! Checkpoints that are there as a whole or not at all.
//!
//! burn-train saves a model, an optimizer and a schedule on three threads. Each file is written
//! beside its place and moved there; when the third has arrived, `state-N.json` is written. A
//! checkpoint is one that has this file, so what a killed run left half done is never resumed from.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};
use serde::{Deserialize, Serialize};

use super::run_directory::{read_json, write_json};
use crate::error::{Error, Result};

/// Files of a checkpoint, without their number.
const PARTS: [&str; 3] = ["model", "optimizer", "schedule"];

/// Where a run stood at a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Number of the checkpoint, from 1.
    pub number: usize,
    /// Optimiser steps done.
    pub step: usize,
}

/// The last complete checkpoint in `directory`, if any.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`] where its state cannot be read.
pub fn latest(directory: &Path) -> Result<Option<CheckpointState>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    let number = |name: &str| -> Option<usize> {
        name.strip_prefix("state-")?.strip_suffix(".json")?.parse().ok()
    };
    let numbers =
        entries.flatten().filter_map(|entry| number(&entry.file_name().to_string_lossy()));
    numbers.max().map(|number| read_json(&state_path(directory, number))).transpose()
}

fn state_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("state-{number}.json"))
}

/// The three savers of a run.
pub struct Checkpoints {
    directory: PathBuf,
    /// The step of the checkpoint that is being saved, and how many of its files have arrived.
    pending: Mutex<HashMap<usize, (usize, usize)>>,
}

impl Checkpoints {
    /// Checkpoints in `directory`.
    pub fn new(directory: PathBuf) -> Arc<Self> {
        Arc::new(Self { directory, pending: Mutex::default() })
    }

    /// Says that checkpoint `number`, about to be saved, is of `step`.
    pub fn announce(&self, number: usize, step: usize) {
        self.pending().insert(number, (step, 0));
    }

    /// The savers of model, optimizer and schedule.
    pub fn parts(self: &Arc<Self>) -> [Part; 3] {
        PARTS.map(|name| Part { checkpoints: self.clone(), name })
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<usize, (usize, usize)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a file that has arrived; the last one completes the checkpoint.
    fn arrived(&self, number: usize) -> Result<(), CheckpointerError> {
        let mut pending = self.pending();
        let Some((step, count)) = pending.get_mut(&number) else { return Ok(()) };
        *count += 1;
        if *count < PARTS.len() {
            return Ok(());
        }
        let state = CheckpointState { number, step: *step };
        pending.remove(&number);
        write_json(&state_path(&self.directory, number), &state)
            .map_err(|error| CheckpointerError::Unknown(error.to_string()))
    }
}

/// Saves one of the three files.
pub struct Part {
    checkpoints: Arc<Checkpoints>,
    name: &'static str,
}

impl Part {
    fn path(&self, number: usize) -> PathBuf {
        self.checkpoints.directory.join(format!("{}-{number}.bpk", self.name))
    }
}

impl<R: Checkpoint> Checkpointer<R> for Part {
    fn save(&self, number: usize, record: R) -> Result<(), CheckpointerError> {
        let beside = self.checkpoints.directory.join(format!("{}-{number}.partial.bpk", self.name));
        record.save(beside.clone())?;
        fs::File::open(&beside)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&beside, self.path(number)))
            .map_err(CheckpointerError::IOError)?;
        self.checkpoints.arrived(number)
    }

    /// The state goes first: without it, what remains is no checkpoint.
    fn delete(&self, number: usize) -> Result<(), CheckpointerError> {
        for path in [state_path(&self.checkpoints.directory, number), self.path(number)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CheckpointerError::IOError(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn restore(&self, number: usize) -> Result<R, CheckpointerError> {
        R::load(self.path(number))
    }
}

/// Saves and restores the model of a run that leaves parameters out of its checkpoints.
pub struct ModelPart {
    part: Part,
    /// Number of parameters in a checkpoint, where they are not all of the model.
    num_saved: Option<usize>,
}

impl ModelPart {
    /// Through `part`; `num_saved` where checkpoints hold a part of the model only.
    pub fn new(part: Part, num_saved: Option<usize>) -> Self {
        Self { part, num_saved }
    }
}

impl Checkpointer<ModuleRecord> for ModelPart {
    fn save(&self, number: usize, record: ModuleRecord) -> Result<(), CheckpointerError> {
        self.part.save(number, record)
    }

    fn delete(&self, number: usize) -> Result<(), CheckpointerError> {
        Checkpointer::<ModuleRecord>::delete(&self.part, number)
    }

    /// What is left out may be absent when the record is loaded; a parameter that has no place is an
    /// error to Burn, so that with the right number of them none is missing.
    fn restore(&self, number: usize) -> Result<ModuleRecord, CheckpointerError> {
        let record: ModuleRecord = self.part.restore(number)?;
        let Some(expected) = self.num_saved else { return Ok(record) };
        if record.len() != expected {
            let path = self.part.path(number);
            return Err(CheckpointerError::Unknown(format!(
                "{} holds {} parameters, not the {expected} that the run saves",
                path.display(),
                record.len()
            )));
        }
        Ok(record.allow_partial(true))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    fn linear() -> Linear {
        LinearConfig::new(2, 3).init(&Device::flex())
    }

    fn save(part: &Part, number: usize) {
        part.save(number, linear().into_record()).unwrap();
    }

    #[test]
    fn a_checkpoint_is_there_when_its_three_files_are() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(directory.path().to_path_buf());
        assert_eq!(latest(directory.path()).unwrap(), None);
        let [model, optimizer, schedule] = checkpoints.parts();
        checkpoints.announce(1, 10);
        save(&model, 1);
        save(&schedule, 1);
        assert_eq!(latest(directory.path()).unwrap(), None, "the optimizer is missing");
        save(&optimizer, 1);
        let first = CheckpointState { number: 1, step: 10 };
        assert_eq!(latest(directory.path()).unwrap(), Some(first));

        checkpoints.announce(2, 20);
        for part in [&model, &optimizer, &schedule] {
            save(part, 2);
        }
        assert_eq!(latest(directory.path()).unwrap().unwrap().step, 20);
        let restored: ModuleRecord = model.restore(2).unwrap();
        assert_eq!(restored.len(), 2);

        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
        assert_eq!(latest(directory.path()).unwrap(), Some(first), "half a checkpoint is none");
        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
    }

    #[test]
    fn no_folder_is_no_checkpoint_and_a_broken_state_is_named() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(latest(&directory.path().join("none")).unwrap(), None);
        fs::write(directory.path().join("state-4.json"), "{\"number\": 4").unwrap();
        let error = latest(directory.path()).unwrap_err().to_string();
        assert!(error.contains("state-4.json"), "{error}");
    }
}

//! Checkpoints that are there as a whole or not at all.
//!
//! burn-train saves a model, an optimizer and a schedule on three threads. Each file is written beside its
//! place, brought to the disk and moved there; when the third has arrived, `state-N.json` is written, with
//! the checksums of all three ([`super::checkpoint_state`]). Only then do older checkpoints go, so that
//! there is a whole one at every moment.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use super::checkpoint_state::{self, CheckpointState, best, state_path};
use super::durable::{Checksum, move_into_place};
use crate::error::{Error, Result};
use crate::experiment::checkpoints::CheckpointConfig;

/// Files of a checkpoint, without their number.
const PARTS: [&str; 3] = ["model", "optimizer", "schedule"];

/// The file of a part.
fn file_name(part: &str, number: usize) -> String {
    format!("{part}-{number}.bpk")
}

/// Where the weights of a checkpoint are.
pub fn model_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(file_name("model", number))
}

/// The three savers of a run.
pub struct Checkpoints {
    directory: PathBuf,
    config: CheckpointConfig,
    /// Checkpoints that are being saved.
    pending: Mutex<HashMap<usize, Pending>>,
    /// Checkpoints that are there, in their order.
    kept: Mutex<Vec<CheckpointState>>,
}

/// A checkpoint that is being saved.
struct Pending {
    step: usize,
    score: Option<f64>,
    /// Its files that have arrived.
    files: BTreeMap<String, Checksum>,
}

impl Checkpoints {
    /// Checkpoints in `directory`, of a run that goes on from `number`, or from its start. What is there of
    /// later ones was damaged or cut off, and goes.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read or changed.
    pub fn new(
        directory: PathBuf,
        config: CheckpointConfig,
        number: Option<usize>,
    ) -> Result<Arc<Self>> {
        remove_leftovers(&directory, number.unwrap_or(0))?;
        let kept = Mutex::new(checkpoint_state::all(&directory)?);
        Ok(Arc::new(Self { directory, config, pending: Mutex::default(), kept }))
    }

    /// Says that checkpoint `number`, about to be saved, is of `step` and as good as `score`.
    pub fn announce(&self, number: usize, step: usize, score: Option<f64>) {
        let pending = Pending { step, score, files: BTreeMap::new() };
        lock(&self.pending).insert(number, pending);
    }

    /// The savers of model, optimizer and schedule.
    pub fn parts(self: &Arc<Self>) -> [Part; 3] {
        PARTS.map(|name| Part { checkpoints: self.clone(), name })
    }

    /// A file has arrived; the last one completes the checkpoint, and others go that are too many.
    fn arrived(&self, number: usize, name: String, checksum: Checksum) -> Result<()> {
        let complete = {
            let mut pending = lock(&self.pending);
            let Some(checkpoint) = pending.get_mut(&number) else { return Ok(()) };
            checkpoint.files.insert(name, checksum);
            if checkpoint.files.len() < PARTS.len() {
                return Ok(());
            }
            pending.remove(&number)
        };
        let Some(Pending { step, score, files }) = complete else { return Ok(()) };
        let state = CheckpointState::new(number, step, score, files);
        state.write(&self.directory)?;
        let mut kept = lock(&self.kept);
        kept.retain(|other| other.number != number);
        kept.push(state);
        for number in superfluous(&kept, &self.config) {
            remove(&self.directory, number)?;
            kept.retain(|state| state.number != number);
        }
        Ok(())
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers of the checkpoints that are neither of the last nor of the best.
fn superfluous(kept: &[CheckpointState], config: &CheckpointConfig) -> Vec<usize> {
    let best = best(kept, config.keep_best);
    let last = kept.len().saturating_sub(config.keep_last);
    let older = kept.iter().take(last);
    let is_best = |state: &CheckpointState| best.iter().any(|other| other.number == state.number);
    older.filter(|state| !is_best(state)).map(|state| state.number).collect()
}

/// Removes a checkpoint. The state goes first: without it, what remains is no checkpoint.
fn remove(directory: &Path, number: usize) -> Result<()> {
    let files = PARTS.map(|part| directory.join(file_name(part, number)));
    [state_path(directory, number)].into_iter().chain(files).try_for_each(|path| remove_file(&path))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes what a process that was killed left half written, and checkpoints after `number`.
fn remove_leftovers(directory: &Path, number: usize) -> Result<()> {
    let entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let number_of = |name: &str| -> Option<usize> {
        let (_, rest) = name.split_once('-')?;
        rest.split('.').next()?.parse().ok()
    };
    let mut leftovers: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains(".partial") || number_of(&name).is_some_and(|found| found > number)
        })
        .map(|entry| entry.path())
        .collect();
    // States first, as ever.
    leftovers.sort_by_key(|path| path.extension().is_some_and(|extension| extension != "json"));
    leftovers.iter().try_for_each(|path| remove_file(path))
}

/// Every checkpoint is saved; which of them go is decided when it is there.
pub struct SaveAll;

impl CheckpointingStrategy for SaveAll {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// Saves one of the three files.
pub struct Part {
    checkpoints: Arc<Checkpoints>,
    name: &'static str,
}

impl Part {
    fn path(&self, number: usize) -> PathBuf {
        self.checkpoints.directory.join(file_name(self.name, number))
    }
}

impl<R: Checkpoint> Checkpointer<R> for Part {
    fn save(&self, number: usize, record: R) -> Result<(), CheckpointerError> {
        let beside = self.checkpoints.directory.join(format!("{}-{number}.partial.bpk", self.name));
        if let Err(error) = record.save(beside.clone()) {
            // A disk that is full is not made fuller.
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        // Of what was written, before it is asked for by its name.
        let checksum = Checksum::of(&beside).map_err(CheckpointerError::IOError)?;
        move_into_place(&beside, &self.path(number)).map_err(CheckpointerError::IOError)?;
        self.checkpoints
            .arrived(number, file_name(self.name, number), checksum)
            .map_err(|error| CheckpointerError::Unknown(error.to_string()))
    }

    fn delete(&self, number: usize) -> Result<(), CheckpointerError> {
        remove(&self.checkpoints.directory, number)
            .map_err(|error| CheckpointerError::Unknown(error.to_string()))
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

    fn restore(&self, number: usize) -> Result<ModuleRecord, CheckpointerError> {
        read_model(&self.part.path(number), self.num_saved)
    }
}

/// Reads the weights of a checkpoint, of which it holds `num_saved`; all where that is `None`.
///
/// What is left out may be absent when the record is loaded; a parameter that has no place is an error to
/// Burn, so that with the right number of them none is missing.
///
/// # Errors
/// [`CheckpointerError`] where the file cannot be read, or holds another number of parameters.
pub fn read_model(
    path: &Path,
    num_saved: Option<usize>,
) -> Result<ModuleRecord, CheckpointerError> {
    let record = <ModuleRecord as Checkpoint>::load(path.to_path_buf())?;
    let Some(expected) = num_saved else { return Ok(record) };
    if record.len() != expected {
        return Err(CheckpointerError::Unknown(format!(
            "{} holds {} parameters, not the {expected} that the run saves",
            path.display(),
            record.len()
        )));
    }
    Ok(record.allow_partial(true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::super::checkpoint_state::latest;
    use super::*;

    fn linear() -> Linear {
        LinearConfig::new(2, 3).init(&Device::flex())
    }

    fn save(part: &Part, number: usize) {
        part.save(number, linear().into_record()).unwrap();
    }

    fn checkpoints(directory: &Path, keep_last: usize, keep_best: usize) -> Arc<Checkpoints> {
        let config = CheckpointConfig { keep_last, keep_best, ..CheckpointConfig::default() };
        Checkpoints::new(directory.to_path_buf(), config, None).unwrap()
    }

    /// Steps of the checkpoints that are there.
    fn steps(directory: &Path) -> Vec<usize> {
        checkpoint_state::all(directory).unwrap().iter().map(|state| state.step).collect()
    }

    #[test]
    fn a_checkpoint_is_there_when_its_three_files_are() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(directory.path(), 2, 0);
        assert_eq!(latest(directory.path()).unwrap(), None);
        let [model, optimizer, schedule] = checkpoints.parts();
        checkpoints.announce(1, 10, None);
        save(&model, 1);
        save(&schedule, 1);
        assert_eq!(latest(directory.path()).unwrap(), None, "the optimizer is missing");
        save(&optimizer, 1);
        assert_eq!(latest(directory.path()).unwrap().unwrap().step, 10);

        checkpoints.announce(2, 20, None);
        for part in [&model, &optimizer, &schedule] {
            save(part, 2);
        }
        assert_eq!(latest(directory.path()).unwrap().unwrap().step, 20);
        let restored: ModuleRecord = model.restore(2).unwrap();
        assert_eq!(restored.len(), 2);

        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
        assert_eq!(steps(directory.path()), [10]);
        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
    }

    #[test]
    fn the_only_checkpoint_goes_after_the_next_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(directory.path(), 1, 0);
        let [model, optimizer, schedule] = checkpoints.parts();
        for number in 1..=2 {
            checkpoints.announce(number, number * 10, None);
            save(&model, number);
            save(&optimizer, number);
            if number == 2 {
                assert_eq!(latest(directory.path()).unwrap().unwrap().step, 10);
            }
            save(&schedule, number);
        }
        assert_eq!(steps(directory.path()), [20]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[test]
    fn the_last_and_the_best_are_kept_also_by_a_run_that_was_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let go_on = |from: Option<usize>, scores: &[(usize, Option<f64>)]| {
            let config = CheckpointConfig { keep_last: 1, keep_best: 2, ..Default::default() };
            let checkpoints =
                Checkpoints::new(directory.path().to_path_buf(), config, from).unwrap();
            for (number, score) in scores {
                checkpoints.announce(*number, number * 10, *score);
                checkpoints.parts().iter().for_each(|part| save(part, *number));
            }
            steps(directory.path())
        };
        let scores = [(1, Some(5.0)), (2, Some(1.0)), (3, Some(3.0)), (4, Some(f64::NAN))];
        assert_eq!(go_on(None, &scores), [20, 30, 40]);
        assert_eq!(go_on(Some(4), &[(5, Some(2.0)), (6, None)]), [20, 50, 60]);
        // From an earlier one, because the last was damaged: what came after it is gone.
        assert_eq!(go_on(Some(5), &[(6, Some(9.0))]), [20, 50, 60]);
        assert_eq!(go_on(Some(2), &[]), [20]);
    }

    #[test]
    fn what_was_cut_off_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["model-1.partial.bpk", "state-1.partial", "model-1.bpk"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        checkpoints(directory.path(), 1, 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

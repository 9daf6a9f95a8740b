//! The weights of a run, as safetensors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use burn::module::Module;
use burn::store::{ModuleSnapshot, PathFilter, SafetensorsStore};
use burn::tensor::Device;

use super::checkpoint;
use super::checkpoint_state::CheckpointState;
use super::durable::{Checksum, move_into_place};
use super::frozen_record::FrozenRecord;
use super::run_directory::{RunDirectory, read_json, write_json};
use super::training_model::TrainingModel;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::model::language::LanguageConfig;
use crate::model::language::t5::config::Trained;
use crate::model::pixel_llm::PixelLlm;
use crate::model::storage::Storage;
use crate::weights::hub::{self, Wanted};
use crate::weights::import::{self, ImportOptions, Imported};
use crate::weights::load::parameter_shapes;

/// The file of weights, by its name in `checksums.json`.
const WEIGHTS: &str = "weights.safetensors";

/// Writes the weights of `model` into `run`, but for what `frozen` says comes from files.
///
/// # Errors
/// [`Error::Io`] or [`Error::Run`] where the file cannot be written.
pub fn save(run: &RunDirectory, model: &PixelLlm, frozen: &FrozenRecord) -> Result<()> {
    let (path, checksums) = (run.weights(), run.checksums());
    // Those of other weights would call these damaged.
    match fs::remove_file(&checksums) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &checksums)(error));
        }
        _ => {}
    }
    save_to(&path, model, frozen)?;
    let checksum = Checksum::of(&path).map_err(Error::io("read", &path))?;
    write_json(&checksums, &BTreeMap::from([(WEIGHTS, checksum)]))
}

/// Writes the same to another `path`.
///
/// # Errors
/// As [`save`].
pub fn save_to(path: &Path, model: &PixelLlm, frozen: &FrozenRecord) -> Result<()> {
    let mut paths: BTreeSet<String> = parameter_shapes(model).into_keys().collect();
    let count = paths.len();
    frozen.from_files().for_each(|path| {
        paths.remove(path);
    });
    write(path, model, (paths.len() < count).then_some(&paths))
}

/// Writes the parameters `only` of `model`, or all, to `path`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Run`] where the file cannot be written.
pub fn write(path: &Path, model: &PixelLlm, only: Option<&BTreeSet<String>>) -> Result<()> {
    let beside = path.with_extension("partial.safetensors");
    let mut store = SafetensorsStore::from_file(&beside)
        .overwrite(true)
        .metadata("format", "pixelllm")
        .metadata("version", env!("CARGO_PKG_VERSION"));
    if let Some(only) = only {
        store = store.filter(PathFilter::new().with_full_paths(only.iter().cloned()));
    }
    model.save_into(&mut store).map_err(|error| {
        // A disk that is full is not made fuller.
        let _ = fs::remove_file(&beside);
        Error::Run {
            path: path.into(),
            problem: format!("cannot write the weights: {error}"),
            help: "Check that there is room, and train again with --resume.".into(),
        }
    })?;
    move_into_place(&beside, path).map_err(Error::io("write", path))
}

/// Finds, or downloads, what the experiment names on Hugging Face, so that what cannot be had is said
/// before anything is begun.
///
/// # Errors
/// What [`hub::locate`] finds.
pub fn ensure(experiment: &Experiment) -> Result<()> {
    let weights = experiment.weights.iter().map(|file| (&file.file, Wanted::Weights));
    let tokenizer = experiment.data.tokenizer.file.iter().map(|file| (file, Wanted::Tokenizer));
    for (file, wanted) in weights.chain(tokenizer).filter(|(file, _)| hub::is_name(file)) {
        hub::locate(file, wanted)?;
    }
    Ok(())
}

/// Loads the files that modules of `experiment` start from into `model`, and says what became of each.
///
/// # Errors
/// [`Error::Usage`], [`Error::Io`] or [`Error::Format`] where one cannot be used.
pub fn import(experiment: &Experiment, model: &mut PixelLlm) -> Result<Vec<Imported>> {
    let mut all = Vec::new();
    for file in &experiment.weights {
        let options =
            ImportOptions { layout: file.layout.as_deref(), strict: file.strict, only: None };
        let path = hub::locate(&file.file, Wanted::Weights)?;
        let imported = import::into_model(&path, &experiment.model, model, &options)?;
        let (name, layout, report) = (file.file.display(), imported.layout, &imported.report);
        tracing::info!("weights {name} ({layout}): {report}");
        if imported.report.half > 0 && has_wide_t5(experiment) {
            tracing::info!(
                "model.language.storage = \"bf16\" would keep matrices of T5 in 16 bits"
            );
        }
        all.push(imported);
    }
    Ok(all)
}

/// Whether the language model is a T5 whose matrices could be kept in half precision, and are not.
fn has_wide_t5(experiment: &Experiment) -> bool {
    match &experiment.model.language {
        LanguageConfig::T5(t5) => t5.storage == Storage::F32 && t5.trained == Trained::Lora,
        LanguageConfig::Git(_) => false,
    }
}

/// Builds the model of `run` on `device` and reads its weights, and what was frozen from the files that
/// it came from.
///
/// # Errors
/// [`Error::Run`] where the run is not finished, or its weights do not fit its experiment.
pub fn load(
    run: &RunDirectory,
    experiment: &Experiment,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<PixelLlm> {
    let path = run.weights();
    if !path.is_file() {
        return Err(Error::Run {
            path: run.path().into(),
            problem: "has no weights: its training was not finished".into(),
            help: "Finish it with `pixelllm train EXPERIMENT.toml --resume`, or take the weights of its \
                   last checkpoint with --checkpoint last."
                .into(),
        });
    }
    check_whole(run)?;
    load_from(&path, run, experiment, tokenizer, device)
}

/// Refuses weights that have changed since they were written. Runs of older versions have no checksums.
fn check_whole(run: &RunDirectory) -> Result<()> {
    let path = run.checksums();
    if !path.is_file() {
        return Ok(());
    }
    let checksums: BTreeMap<String, Checksum> = read_json(&path)?;
    match checksums.get(WEIGHTS).and_then(|checksum| checksum.problem(&run.weights())) {
        None => Ok(()),
        Some(problem) => Err(Error::Run {
            path: run.path().into(),
            problem,
            help: "Restore it; or train with --resume, which writes it again from the last \
                   checkpoint; or take a checkpoint's weights with --checkpoint."
                .into(),
        }),
    }
}

/// The same with the weights of the file at `path`, which are the run's but for its checksums.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    path: &Path,
    run: &RunDirectory,
    experiment: &Experiment,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<PixelLlm> {
    let mut model = experiment.model.init(tokenizer.vocabulary(), device);
    let frozen = FrozenRecord::read(run)?;
    frozen.load_files(run, &experiment.model, &mut model)?;
    let from_files: BTreeSet<&String> = frozen.from_files().collect();
    let mut store = SafetensorsStore::from_file(path).allow_partial(!from_files.is_empty());
    let unfit = |problem: String| Error::Run {
        path: path.into(),
        problem,
        help: "The weights, experiment.toml and tokenizer.json of a run belong together; restore \
               those that were changed."
            .into(),
    };
    let applied = model.load_from(&mut store).map_err(|error| unfit(error.to_string()))?;
    let is_complete = applied.missing.iter().all(|(path, _)| from_files.contains(path));
    if is_complete && applied.unused.is_empty() && applied.errors.is_empty() {
        Ok(model)
    } else {
        Err(unfit(format!("the weights do not fit the experiment:\n{applied}")))
    }
}

/// Builds the model of `run` on `device` with the weights of a checkpoint, and what was frozen from where it
/// is.
///
/// # Errors
/// [`Error::Run`] where they do not fit its experiment.
pub fn load_checkpoint(
    run: &RunDirectory,
    state: &CheckpointState,
    experiment: &Experiment,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<PixelLlm> {
    let mut model = experiment.model.init(tokenizer.vocabulary(), device);
    let frozen = FrozenRecord::read(run)?;
    frozen.load_all(run, &experiment.model, &mut model)?;
    let losses = experiment.losses.clone();
    let model = TrainingModel::new(model, losses, None, 1, frozen.left_out());
    let path = checkpoint::model_path(&run.checkpoints(), state.number);
    let unfit = |problem: String| Error::Run {
        path: run.path().into(),
        problem: format!("the checkpoint after {} steps cannot be used: {problem}", state.step),
        help: "The checkpoints, experiment.toml and tokenizer.json of a run belong together."
            .into(),
    };
    let record = checkpoint::read_model(&path, model.num_saved());
    let record = record.map_err(|error| unfit(error.to_string()))?;
    let loaded = model.try_load_record(record).map_err(|error| unfit(error.to_string()))?;
    Ok(loaded.model)
}

//! The weights of a run, as safetensors.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn::store::{ModuleSnapshot, PathFilter, SafetensorsStore};
use burn::tensor::Device;

use super::frozen_record::FrozenRecord;
use super::run_directory::RunDirectory;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::model::language::LanguageConfig;
use crate::model::language::t5::config::{Storage, Trained};
use crate::model::pixel_llm::PixelLlm;
use crate::weights::hub::{self, Wanted};
use crate::weights::import::{self, ImportOptions, Imported};
use crate::weights::load::parameter_shapes;

/// Writes the weights of `model` into `run`, but for what `frozen` says comes from files.
///
/// # Errors
/// [`Error::Io`] or [`Error::Run`] where the file cannot be written.
pub fn save(run: &RunDirectory, model: &PixelLlm, frozen: &FrozenRecord) -> Result<()> {
    let mut paths: BTreeSet<String> = parameter_shapes(model).into_keys().collect();
    let count = paths.len();
    frozen.from_files().for_each(|path| {
        paths.remove(path);
    });
    write(&run.weights(), model, (paths.len() < count).then_some(&paths))
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
    model.save_into(&mut store).map_err(|error| Error::Run {
        path: path.into(),
        problem: format!("cannot write the weights: {error}"),
        help: "Check that there is room, and train again with --resume.".into(),
    })?;
    fs::rename(&beside, path).map_err(Error::io("write", path))
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
            help: "Finish it with `pixelllm train EXPERIMENT.toml --resume`.".into(),
        });
    }
    let mut model = experiment.model.init(tokenizer.vocabulary(), device);
    let frozen = FrozenRecord::read(run)?;
    frozen.load_files(run, &experiment.model, &mut model)?;
    let from_files: BTreeSet<&String> = frozen.from_files().collect();
    let mut store = SafetensorsStore::from_file(&path).allow_partial(!from_files.is_empty());
    let unfit = |problem: String| Error::Run {
        path: path.clone(),
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

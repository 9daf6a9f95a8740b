//! The weights of a run, as safetensors.

use std::fs;

use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;

use super::run_directory::RunDirectory;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::model::pixel_llm::PixelLlm;
use crate::weights::import::{self, ImportOptions};

/// Writes the weights of `model` into `run`.
///
/// # Errors
/// [`Error::Io`] or [`Error::Run`] where the file cannot be written.
pub fn save(run: &RunDirectory, model: &PixelLlm) -> Result<()> {
    let path = run.weights();
    let beside = path.with_extension("partial.safetensors");
    let mut store = SafetensorsStore::from_file(&beside)
        .overwrite(true)
        .metadata("format", "pixelllm")
        .metadata("version", env!("CARGO_PKG_VERSION"));
    model.save_into(&mut store).map_err(|error| Error::Run {
        path: path.clone(),
        problem: format!("cannot write the weights: {error}"),
        help: "Check that there is room, and train again with --resume.".into(),
    })?;
    fs::rename(&beside, &path).map_err(Error::io("write", &path))
}

/// Loads the files that modules of `experiment` start from into `model`, and says what became of each.
///
/// # Errors
/// [`Error::Usage`], [`Error::Io`] or [`Error::Format`] where one cannot be used.
pub fn import(experiment: &Experiment, model: &mut PixelLlm) -> Result<()> {
    for file in &experiment.weights {
        let options = ImportOptions { layout: file.layout.as_deref(), strict: file.strict };
        let imported = import::into_model(&file.file, &experiment.model, model, &options)?;
        let (name, layout, report) = (file.file.display(), imported.layout, imported.report);
        tracing::info!("weights {name} ({layout}): {report}");
    }
    Ok(())
}

/// Builds the model of `run` on `device` and reads its weights.
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
    let mut store = SafetensorsStore::from_file(&path);
    let unfit = |problem: String| Error::Run {
        path: path.clone(),
        problem,
        help: "The weights, experiment.toml and tokenizer.json of a run belong together; restore \
               those that were changed."
            .into(),
    };
    let applied = model.load_from(&mut store).map_err(|error| unfit(error.to_string()))?;
    if applied.missing.is_empty() && applied.unused.is_empty() && applied.errors.is_empty() {
        Ok(model)
    } else {
        Err(unfit(format!("the weights do not fit the experiment:\n{applied}")))
    }
}

//! Models on disk: run directories, and the small one of the repository.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;

use super::predictor::{EncodedImages, Predictor};
use super::timing::Stage;
use crate::backend;
use crate::data::tokenizer::Tokenizer;
use crate::data::transform::load_canvas;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::model::language::LanguageConfig;
use crate::training::checkpoint_state::CheckpointState;
use crate::training::parameters::{count_parameters, total};
use crate::training::run_directory::RunDirectory;
use crate::training::weights;

/// The model of the repository, in the working directory or in a folder above the executable.
pub const DEFAULT_MODEL: &str = "data/models/shapes";

/// Where the model of the repository is: in the working directory, else beside the executable or in a
/// folder above it.
///
/// # Errors
/// [`Error::Usage`] where it is in none of them.
pub fn default_model() -> Result<PathBuf> {
    let here = PathBuf::from(DEFAULT_MODEL);
    if RunDirectory::open(&here).is_ok() {
        return Ok(here);
    }
    // Without a name of the executable there is nothing to look beside.
    let executable = env::current_exe().unwrap_or_default();
    let folders = executable.ancestors().skip(1);
    let found = folders.map(|folder| folder.join(DEFAULT_MODEL));
    found.into_iter().find(|path| RunDirectory::open(path).is_ok()).ok_or_else(|| Error::Usage {
        problem: format!(
            "no RUN was given, and the model of the repository, {DEFAULT_MODEL}, is neither in the \
             working directory nor above the program"
        ),
        help:
            "Give a run directory, such as one that `pixelllm train experiments/quickstart.toml` \
               makes, or start in a clone of the repository."
                .into(),
    })
}

/// The model of a run for inference on `device`, with the weights of a checkpoint or those at the end of
/// training, and how many parameters it has.
///
/// # Errors
/// What [`Tokenizer::from_file`] and [`weights::load`] find; [`Error::Device`] where the device cannot
/// keep the weights.
pub fn load(
    run: &RunDirectory,
    checkpoint: Option<&CheckpointState>,
    experiment: &Experiment,
    device: &Device,
) -> Result<(Predictor, usize)> {
    if let LanguageConfig::T5(language) = &experiment.model.language {
        backend::check_keeps(device, language.storage.dtype())?;
    }
    let tokenizer = Tokenizer::from_file(run.tokenizer())?;
    let model = match checkpoint {
        None => weights::load(run, experiment, &tokenizer, device)?,
        Some(state) => weights::load_checkpoint(run, state, experiment, &tokenizer, device)?,
    };
    let num_parameters = total(&count_parameters(&model)).total;
    let predictor = Predictor::new(&model, tokenizer, &experiment.data.sources)
        .with_decoding(experiment.decoding.clone());
    Ok((predictor, num_parameters))
}

impl Predictor {
    /// The model of a run directory on `device`, which finds texts as the run says.
    ///
    /// # Errors
    /// [`Error::Run`] where the folder holds no finished run, and what is wrong with its files.
    pub fn open(run: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let run = RunDirectory::open(run.as_ref())?;
        let experiment = experiment::load(&run.experiment(), &[])?;
        Ok(load(&run, None, &experiment, device)?.0)
    }

    /// Reads image files and looks at them: [`load_canvas`] and [`Self::encode`].
    ///
    /// # Errors
    /// Those of [`load_canvas`], for the first file that has any; [`Error::Usage`] where there is no file.
    pub fn encode_files(&self, files: &[impl AsRef<Path>]) -> Result<EncodedImages> {
        let begun = Instant::now();
        let canvases = files.iter().map(|file| load_canvas(file.as_ref(), self.canvas_px()));
        let canvases = canvases.collect::<Result<Vec<_>>>()?;
        let time = begun.elapsed();
        let images = self.encode(&canvases)?;
        images.record(Stage::Read, time);
        Ok(images)
    }
}

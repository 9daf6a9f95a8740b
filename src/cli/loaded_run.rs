//! A finished run, ready to answer.

use std::path::PathBuf;

use clap::Args;

use super::decoding::DecodingArguments;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::tasks::predictor::Predictor;
use crate::training::parameters::{count_parameters, total};
use crate::training::run_directory::RunDirectory;
use crate::training::{sources, weights};

/// Which run, and where to compute.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The run directory
    #[arg(value_name = "RUN")]
    pub(super) run: PathBuf,
    /// Where to compute: cpu, wgpu, cuda or cuda:1 [default: the device of the run]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

/// A finished run, ready to answer.
pub(super) struct LoadedRun {
    pub(super) run: RunDirectory,
    pub(super) experiment: Experiment,
    pub(super) predictor: Predictor,
    pub(super) num_parameters: usize,
}

impl RunArguments {
    /// Reads experiment, tokenizer and weights.
    pub(super) fn load(&self) -> Result<LoadedRun> {
        let run = RunDirectory::open(&self.run)?;
        let overrides: Vec<_> = self.device.iter().map(|name| format!("device={name}")).collect();
        let experiment = experiment::load(&run.experiment(), &overrides)?;
        let device = sources::device(&experiment)?;
        let tokenizer = Tokenizer::from_file(run.tokenizer())?;
        let model = weights::load(&run, &experiment, &tokenizer, &device)?;
        let num_parameters = total(&count_parameters(&model)).total;
        let predictor = Predictor::new(&model, tokenizer, &experiment.data.sources)
            .with_decoding(experiment.decoding.clone());
        Ok(LoadedRun { run, experiment, predictor, num_parameters })
    }
}

impl LoadedRun {
    /// The same, which finds texts as `arguments` say.
    pub(super) fn decoding(self, arguments: &DecodingArguments) -> Result<Self> {
        let decoding = arguments.over(&self.experiment.decoding)?;
        Ok(Self { predictor: self.predictor.with_decoding(decoding), ..self })
    }
}

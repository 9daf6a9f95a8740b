//! A finished run, ready to answer.

use std::path::{Path, PathBuf};

use clap::Args;

use super::decoding::DecodingArguments;
use crate::backend;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::tasks::predictor::Predictor;
use crate::tasks::{default_model, open};
use crate::training::run_directory::RunDirectory;

/// Which run, and where to compute.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The run directory [default: data/models/shapes, the small model of the repository, in the current
    /// directory or above the program]
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Where to compute: cpu, wgpu, cuda or cuda:1 [default: the device of the run]
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Option<String>,
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
        let run = self.run.clone().map_or_else(default_model, Ok)?;
        LoadedRun::open(&run, self.device.as_deref())
    }
}

impl LoadedRun {
    /// Reads experiment, tokenizer and weights of the run directory `run`, to compute on `device`, or where
    /// the run says.
    pub(super) fn open(run: &Path, device: Option<&str>) -> Result<Self> {
        let run = RunDirectory::open(run)?;
        let overrides: Vec<_> = device.iter().map(|name| format!("device={name}")).collect();
        let experiment = experiment::load(&run.experiment(), &overrides)?;
        let device = backend::device(&experiment.device)?;
        let (predictor, num_parameters) = open::load(&run, &experiment, &device)?;
        Ok(Self { run, experiment, predictor, num_parameters })
    }

    /// The same, which finds texts as `arguments` say.
    pub(super) fn decoding(self, arguments: &DecodingArguments) -> Result<Self> {
        let decoding = arguments.over(&self.experiment.decoding)?;
        Ok(Self { predictor: self.predictor.with_decoding(decoding), ..self })
    }
}

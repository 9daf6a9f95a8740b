//! A finished run, ready to answer.

use std::path::{Path, PathBuf};

use clap::Args;

use super::decoding::DecodingArguments;
use crate::backend;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::tasks::predictor::Predictor;
use crate::tasks::{default_model, open};
use crate::training::checkpoint_state::{self, Wanted};
use crate::training::record::{self, Record};
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
    /// Whose weights: best, last, or the checkpoint after so many steps [default: the weights at the end
    /// of training]
    #[arg(long, value_name = "best|last|STEP")]
    checkpoint: Option<Wanted>,
}

/// A finished run, ready to answer.
pub(super) struct LoadedRun {
    pub(super) run: RunDirectory,
    pub(super) experiment: Experiment,
    pub(super) predictor: Predictor,
    pub(super) num_parameters: usize,
    /// Optimiser steps that the weights have seen.
    pub(super) step: usize,
}

impl RunArguments {
    /// Reads experiment, tokenizer and weights.
    pub(super) fn load(&self) -> Result<LoadedRun> {
        let run = self.run.clone().map_or_else(default_model, Ok)?;
        LoadedRun::open(&run, self.device.as_deref(), self.checkpoint)
    }
}

/// The last step in `metrics.jsonl`; 0 where a run was copied without it.
fn last_step(run: &RunDirectory) -> Result<usize> {
    let path = run.metrics();
    let records = if path.is_file() { record::read(&path)? } else { Vec::new() };
    Ok(records.iter().map(Record::step).max().unwrap_or(0))
}

impl LoadedRun {
    /// Reads experiment, tokenizer and weights of the run directory `run`, to compute on `device`, or where
    /// the run says; the weights of a checkpoint, or those at the end of training.
    pub(super) fn open(
        run: &Path,
        device: Option<&str>,
        checkpoint: Option<Wanted>,
    ) -> Result<Self> {
        let run = RunDirectory::open(run)?;
        let overrides: Vec<_> = device.iter().map(|name| format!("device={name}")).collect();
        let experiment = experiment::load(&run.experiment(), &overrides)?;
        let device = backend::device(&experiment.device)?;
        let state = checkpoint.map(|wanted| checkpoint_state::find(&run, wanted)).transpose()?;
        let step = match &state {
            None => last_step(&run)?,
            Some(state) => {
                tracing::info!("weights of the checkpoint after {} steps", state.step);
                state.step
            }
        };
        let (predictor, num_parameters) = open::load(&run, state.as_ref(), &experiment, &device)?;
        Ok(Self { run, experiment, predictor, num_parameters, step })
    }

    /// The same, which finds texts as `arguments` say.
    pub(super) fn decoding(self, arguments: &DecodingArguments) -> Result<Self> {
        let decoding = arguments.over(&self.experiment.decoding)?;
        Ok(Self { predictor: self.predictor.with_decoding(decoding), ..self })
    }
}

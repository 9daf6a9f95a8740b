//! A finished run, ready to answer.

use std::path::PathBuf;

use clap::Args;

use super::decoding::DecodingArguments;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::tasks::predictor::Predictor;
use crate::training::checkpoint_state::{self, Wanted};
use crate::training::parameters::{count_parameters, total};
use crate::training::record::{self, Record};
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
    /// Whose weights: best, last, or the checkpoint after so many steps [default: the weights at the end
    /// of training]
    #[arg(long, value_name = "best|last|STEP")]
    pub(super) checkpoint: Option<Wanted>,
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
        let run = RunDirectory::open(&self.run)?;
        let overrides: Vec<_> = self.device.iter().map(|name| format!("device={name}")).collect();
        let experiment = experiment::load(&run.experiment(), &overrides)?;
        let device = sources::device(&experiment)?;
        let tokenizer = Tokenizer::from_file(run.tokenizer())?;
        let (model, step) = match self.checkpoint {
            None => {
                let model = weights::load(&run, &experiment, &tokenizer, &device)?;
                (model, last_step(&run)?)
            }
            Some(wanted) => {
                let state = checkpoint_state::find(&run, wanted)?;
                tracing::info!("weights of the checkpoint after {} steps", state.step);
                let model =
                    weights::load_checkpoint(&run, &state, &experiment, &tokenizer, &device)?;
                (model, state.step)
            }
        };
        let num_parameters = total(&count_parameters(&model)).total;
        let predictor = Predictor::new(&model, tokenizer, &experiment.data.sources)
            .with_decoding(experiment.decoding.clone());
        Ok(LoadedRun { run, experiment, predictor, num_parameters, step })
    }
}

/// The last step in `metrics.jsonl`; 0 where a run was copied without it.
fn last_step(run: &RunDirectory) -> Result<usize> {
    let path = run.metrics();
    let records = if path.is_file() { record::read(&path)? } else { Vec::new() };
    Ok(records.iter().map(Record::step).max().unwrap_or(0))
}

impl LoadedRun {
    /// The same, which finds texts as `arguments` say.
    pub(super) fn decoding(self, arguments: &DecodingArguments) -> Result<Self> {
        let decoding = arguments.over(&self.experiment.decoding)?;
        Ok(Self { predictor: self.predictor.with_decoding(decoding), ..self })
    }
}

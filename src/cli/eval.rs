//! `pixelllm eval`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::loaded_run::LoadedRun;
use super::measure::Measured;
use crate::error::Result;
use crate::training::checkpoint_state::Wanted;
use crate::training::sources;

/// Measure a run again, and write its report anew
#[derive(Debug, Args)]
pub(super) struct Eval {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where to compute: cpu, wgpu, cuda or cuda:1 [default: the device of the run]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Whose weights: best, last, or the checkpoint after so many steps [default: the weights at the end
    /// of training]
    #[arg(long, value_name = "best|last|STEP")]
    checkpoint: Option<Wanted>,
}

impl Eval {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = LoadedRun::open(&self.run, self.device.as_deref(), self.checkpoint)?;
        let data = &loaded.experiment.data;
        sources::ensure_shapes(data)?;
        let train = sources::load_split(data, &data.splits.train)?;
        let measured = Measured {
            run: &loaded.run,
            experiment: &loaded.experiment,
            predictor: &loaded.predictor,
            train: &train,
            command: self.command(),
            num_parameters: loaded.num_parameters,
            step: loaded.step,
            checkpoint: self.checkpoint,
        };
        measured.evaluate_and_report()?;
        Ok(ExitCode::SUCCESS)
    }

    fn command(&self) -> String {
        let checkpoint = self.checkpoint.map(|wanted| format!(" --checkpoint {wanted}"));
        format!("pixelllm eval {}{}", self.run.display(), checkpoint.unwrap_or_default())
    }
}

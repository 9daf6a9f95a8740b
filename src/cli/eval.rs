//! `pixelllm eval`.

use std::process::ExitCode;

use clap::Args;

use super::loaded_run::RunArguments;
use super::measure::Measured;
use crate::error::Result;
use crate::training::sources;

/// Measure a run again, and write its report anew
#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(flatten)]
    run: RunArguments,
}

impl Eval {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?;
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
            checkpoint: self.run.checkpoint,
        };
        measured.evaluate_and_report()?;
        Ok(ExitCode::SUCCESS)
    }

    fn command(&self) -> String {
        let checkpoint = self.run.checkpoint.map(|wanted| format!(" --checkpoint {wanted}"));
        format!("pixelllm eval {}{}", self.run.run.display(), checkpoint.unwrap_or_default())
    }
}

//! `pixelllm experiment`.

use std::process::ExitCode;

use clap::Subcommand;

use super::output::say;
use crate::error::Result;
use crate::experiment;

/// Look at the schema of experiments
#[derive(Debug, Subcommand)]
pub(super) enum ExperimentCommand {
    /// Print the reference of every key as Markdown
    Reference,
}

impl ExperimentCommand {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Reference => say(experiment::reference::markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

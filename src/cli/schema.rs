//! `pixelllm schema`.

use std::process::ExitCode;

use clap::Args;

use super::output::say;
use crate::error::Result;
use crate::tasks::results;

/// Print the JSON Schema of what narrate, describe, locate and detect print with --json
#[derive(Debug, Args)]
pub(super) struct Schema;

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode> {
        // Alternate Display of a JSON value is indented.
        say(format_args!("{:#}", results::schema()));
        Ok(ExitCode::SUCCESS)
    }
}

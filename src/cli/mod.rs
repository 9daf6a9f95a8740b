//! Floor 6: the command line. One file per command: parse, call, print.

mod data;
mod dry_run;
mod experiment;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::error::Result;

/// Pixel-aligned language models: every word gets a place in the image.
#[derive(Debug, Parser)]
#[command(name = "pixelllm", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train an experiment, measure it and write its report
    Train(train::Train),
    /// Make data
    #[command(subcommand)]
    Data(data::Data),
    /// Look at the schema of experiments
    #[command(subcommand)]
    Experiment(experiment::ExperimentCommand),
}

/// Runs the command that the arguments name; errors go to standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the library has to say goes to standard error as plain lines; RUST_LOG chooses more.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,pixelllm=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(1);
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(code)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(train) => train.run(),
        Command::Data(data) => data.run(),
        Command::Experiment(experiment) => experiment.run(),
    }
}

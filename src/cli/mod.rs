//! Floor 6: the command line. One file per command: parse, call, print.

mod ablate;
mod answer_text;
mod answering;
mod data;
mod decoding;
mod describe;
mod detect;
mod dry_run;
mod eval;
mod experiment;
mod latency;
mod loaded_run;
mod locate;
mod measure;
mod narrate;
mod output;
mod pictures;
mod place;
mod runs;
mod schema;
mod score;
mod serve;
mod signals;
mod train;
mod verify;
mod weights;
mod worker;

use std::io::IsTerminal;
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
    /// Measure a run again, and write its report anew
    Eval(eval::Eval),
    /// Train variants of one experiment, and put their numbers beside each other
    Ablate(ablate::Ablate),
    /// List runs, compare them, draw their curves, and do a failed step again
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Write a caption of an image, with a place for every word
    Narrate(narrate::Narrate),
    /// Write captions of places in an image: boxes, points, or traces
    Describe(describe::Describe),
    /// Find the box, and the mask, that an expression is about
    Locate(locate::Locate),
    /// Find what is in an image, and write a caption of each
    Detect(detect::Detect),
    /// Measure how long each stage of an answer takes
    Latency(latency::Latency),
    /// Print the JSON Schema of what narrate, describe, locate and detect print with --json
    Schema(schema::Schema),
    /// Answer over HTTP, with a page to try a run on
    Serve(serve::Serve),
    /// Lend devices of this machine to training on another (needs the feature `remote`)
    Worker(worker::Worker),
    /// Score predictions in files: no model needed
    #[command(subcommand)]
    Score(score::Score),
    /// Make data, and look into it
    #[command(subcommand)]
    Data(data::Data),
    /// Compare what a device computes with golden vectors of the original implementation
    Verify(verify::Verify),
    /// Look into files of weights, bring public ones into our format, and adapters out of it
    #[command(subcommand)]
    Weights(weights::Weights),
    /// Look at the schema of experiments
    #[command(subcommand)]
    Experiment(experiment::ExperimentCommand),
}

/// Runs the command that the arguments name; errors go to standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the library has to say goes to standard error as plain lines; RUST_LOG chooses more.
    let terminal = std::io::stderr().is_terminal();
    // On a machine without a display, wgpu calls that an error; it is none.
    let usual = || EnvFilter::new("error,wgpu_hal::gles=off,pixelllm=info");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .without_time()
        .with_target(false)
        .init();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(1);
            eprintln!("{:?}", report(error, terminal));
            ExitCode::from(code)
        }
    }
}

/// What went wrong and what to do about it. Messages name their cause themselves. Lines are broken for
/// a terminal only, so that the paths in a log are whole.
fn report(error: crate::Error, terminal: bool) -> miette::Report {
    let handler = move || {
        let options = miette::MietteHandlerOpts::new().without_cause_chain();
        options.wrap_lines(terminal).break_words(false).build()
    };
    // Fails where somebody has set one already, who then has a better idea.
    let _ = miette::set_hook(Box::new(move |_| Box::new(handler())));
    miette::Report::new(error)
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(train) => train.run(),
        Command::Eval(eval) => eval.run(),
        Command::Ablate(ablate) => ablate.run(),
        Command::Runs(runs) => runs.run(),
        Command::Narrate(narrate) => narrate.run(),
        Command::Describe(describe) => describe.run(),
        Command::Locate(locate) => locate.run(),
        Command::Detect(detect) => detect.run(),
        Command::Latency(latency) => latency.run(),
        Command::Schema(schema) => schema.run(),
        Command::Serve(serve) => serve.run(),
        Command::Worker(worker) => worker.run(),
        Command::Score(score) => score.run(),
        Command::Data(data) => data.run(),
        Command::Verify(verify) => verify.run(),
        Command::Weights(weights) => weights.run(),
        Command::Experiment(experiment) => experiment.run(),
    }
}

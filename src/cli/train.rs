//! `pixelllm train`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};

use super::dry_run;
use super::measure::Measured;
use super::output::say;
use super::signals::{INTERRUPTED, on_interrupt, stop_or_exit};
use crate::error::{Error, Result};
use crate::experiment;
use crate::report::table::profile_table;
use crate::tasks::predictor::Predictor;
use crate::training::parameters::{count_parameters, total};
use crate::training::run::{self, Dashboard, Outcome, RunOptions};
use crate::training::run_directory::{RunDirectory, read_json};

/// Train an experiment, measure it and write its report
#[derive(Debug, Args)]
pub(super) struct Train {
    /// The experiment
    #[arg(value_name = "EXPERIMENT.toml")]
    experiment: PathBuf,
    /// Change a key of the experiment; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where to train: cpu, wgpu, cuda or cuda:1; short for --set device=…
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// The run directory [default: {output}/{name} of the experiment]
    #[arg(long, value_name = "RUN_DIR")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint of the run directory
    #[arg(long)]
    resume: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = DashboardChoice::Auto)]
    dashboard: DashboardChoice,
    /// Time the parts of so many steps, after two to warm up, print them at the end and keep them in
    /// `profile.json`. The device is waited for after each part, which makes these steps slower
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "20",
          value_parser = clap::value_parser!(u32).range(1..))]
    profile: Option<u32>,
    /// Print the resolved experiment, the parameters of each module and how they are updated, the shapes
    /// of a batch and an estimate of the memory, and train nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DashboardChoice {
    /// Burn's dashboard where there is a terminal, lines otherwise
    Auto,
    /// Burn's dashboard
    Tui,
    /// Lines
    Plain,
    /// Nothing
    Off,
}

impl DashboardChoice {
    fn resolve(self) -> Result<Dashboard> {
        let terminal = std::io::stdout().is_terminal();
        match self {
            Self::Tui if !terminal => Err(Error::Usage {
                problem: "there is no terminal for the dashboard".into(),
                help: "Use --dashboard plain where output goes to a file.".into(),
            }),
            Self::Tui => Ok(Dashboard::Tui),
            Self::Auto if terminal => Ok(Dashboard::Tui),
            Self::Auto | Self::Plain => Ok(Dashboard::Plain),
            Self::Off => Ok(Dashboard::Off),
        }
    }
}

impl Train {
    pub(super) fn run(mut self) -> Result<ExitCode> {
        self.overrides.extend(self.device.iter().map(|device| format!("device={device}")));
        let command = self.command();
        let experiment = experiment::load(&self.experiment, &self.overrides)?;
        if self.dry_run {
            dry_run::print(&experiment)?;
            return Ok(ExitCode::SUCCESS);
        }
        let signals = Signals::listen()?;
        let options = RunOptions {
            directory: self.out,
            resume: self.resume,
            dashboard: self.dashboard.resolve()?,
            profile: self.profile.map(|steps| steps as usize),
            stop: signals.stop.clone(),
        };
        match run::train(&experiment, &options)? {
            Outcome::Stopped { run, step } => {
                print_profile(&run, &options)?;
                say(format_args!(
                    "Stopped after {step} steps, with a checkpoint. Go on with:\n  \
                     {command} --resume --out {}",
                    quoted(&run.path().to_string_lossy())
                ));
                Ok(ExitCode::from(INTERRUPTED))
            }
            Outcome::Finished(trained) => {
                signals.trained.store(true, Ordering::Relaxed);
                print_profile(&trained.run, &options)?;
                if signals.stop.load(Ordering::Relaxed) {
                    eprintln!("{NOT_MEASURED}");
                    return Ok(ExitCode::from(INTERRUPTED));
                }
                let sources = &experiment.data.sources;
                let predictor = Predictor::new(&trained.model, trained.tokenizer, sources)
                    .with_decoding(experiment.decoding.clone());
                let measured = Measured {
                    run: &trained.run,
                    experiment: &experiment,
                    predictor: &predictor,
                    train: &trained.train,
                    command,
                    num_parameters: total(&count_parameters(&trained.model)).total,
                    step: trained.step,
                    checkpoint: None,
                };
                measured.evaluate_and_report()?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// What profiled steps took, where steps were.
fn print_profile(run: &RunDirectory, options: &RunOptions) -> Result<()> {
    let path = run.profile();
    if options.profile.is_some() && path.is_file() {
        say(profile_table(&read_json(&path)?));
    }
    Ok(())
}

impl Train {
    /// What trains the same again, for a shell.
    fn command(&self) -> String {
        let overrides = self.overrides.iter().map(|text| format!(" --set {}", quoted(text)));
        let experiment = self.experiment.to_string_lossy();
        format!("pixelllm train {}{}", quoted(&experiment), overrides.collect::<String>())
    }
}

/// In single quotes where a shell would not take the text as it is.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// What is said where a run was stopped after its last step.
const NOT_MEASURED: &str = "\nStopped before everything was measured. The weights are there; \
                            `pixelllm eval RUN` measures them.";

/// What Ctrl-C and termination signals do.
struct Signals {
    /// Set by the first one; the second one ends the process.
    stop: Arc<AtomicBool>,
    /// Set when there is nothing left to lose: then the first one ends the process.
    trained: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Result<Self> {
        let signals = Self { stop: Arc::default(), trained: Arc::default() };
        let (stop, trained) = (signals.stop.clone(), signals.trained.clone());
        on_interrupt(move || {
            if trained.load(Ordering::Relaxed) {
                eprintln!("{NOT_MEASURED}");
                std::process::exit(INTERRUPTED.into());
            }
            stop_or_exit(
                &stop,
                "Stopping after this step, with a checkpoint. Again to stop at once.",
            );
        })?;
        Ok(signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_where_a_shell_would_change_it() {
        assert_eq!(quoted("runs/a-1.toml"), "runs/a-1.toml");
        assert_eq!(quoted("data.splits.evaluation=[]"), "'data.splits.evaluation=[]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}

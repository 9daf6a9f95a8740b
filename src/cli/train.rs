//! `pixelllm train`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};

use super::dry_run;
use crate::error::{Error, Result};
use crate::experiment;
use crate::training::run::{self, Dashboard, Outcome, RunOptions};

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

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
    /// Print the resolved experiment, the parameters of each module, the shapes of a batch and an
    /// estimate of the memory, and train nothing
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
        let experiment = experiment::load(&self.experiment, &self.overrides)?;
        if self.dry_run {
            dry_run::print(&experiment)?;
            return Ok(ExitCode::SUCCESS);
        }
        let options = RunOptions {
            directory: self.out,
            resume: self.resume,
            dashboard: self.dashboard.resolve()?,
            stop: stop_on_signal()?,
        };
        match run::train(&experiment, &options)? {
            Outcome::Stopped { run, step } => {
                println!(
                    "Stopped after {step} steps, with a checkpoint. Go on with:\n  \
                     pixelllm train {} --resume --out {}",
                    self.experiment.display(),
                    run.path().display()
                );
                Ok(ExitCode::from(INTERRUPTED))
            }
            Outcome::Finished(_trained) => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Set by the first Ctrl-C or termination signal; the second one ends the process.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\nStopping after this step, with a checkpoint. Again to stop at once.");
    })
    .map_err(|error| Error::Compute {
        problem: format!("cannot listen for Ctrl-C: {error}"),
        help: "Report this as a bug.".into(),
    })?;
    Ok(stop)
}

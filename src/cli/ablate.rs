//! `pixelllm ablate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::say;
use super::signals::{INTERRUPTED, on_interrupt, stop_or_exit};
use crate::ablation::launch::{LaunchOptions, Outcome, Watcher, launch};
use crate::ablation::plan::{Plan, Progress, plan};
use crate::ablation::summary::Summary;
use crate::ablation::{Sweep, sweep};
use crate::error::{Error, Result};
use crate::report::comparison;

/// Train variants of one experiment, and put their numbers beside each other
#[derive(Debug, Args)]
pub(super) struct Ablate {
    /// The sweep
    #[arg(value_name = "SWEEP.toml")]
    sweep: PathBuf,
    /// Where the runs and the report go [default: runs/sweeps/{name of the sweep}]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    parallel: usize,
    /// Print what would be trained, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the report of what is finished, and train nothing
    #[arg(long, conflicts_with = "dry_run")]
    report_only: bool,
}

impl Ablate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let sweep = Sweep::read(&self.sweep)?;
        let out = self
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from("runs/sweeps").join(sweep::slug(&sweep.name)));
        let plan = plan(&sweep, &out)?;
        if self.dry_run {
            return print(&plan);
        }
        let outcome = match self.report_only {
            true => Outcome::default(),
            false => self.launch(&plan)?,
        };
        let command = format!("pixelllm ablate {}", self.sweep.display());
        let missing = missing(&plan, &outcome)?;
        let summary = Summary::read(&sweep, &plan, command, missing)?;
        say(comparison::table(&summary));
        let page = comparison::write(&summary, &out)?;
        say(format_args!("\nLook at {}", page.display()));
        Ok(match (outcome.stopped, outcome.failed.is_empty()) {
            (true, _) => ExitCode::from(INTERRUPTED),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::FAILURE,
        })
    }

    fn launch(&self, plan: &Plan) -> Result<Outcome> {
        let stop = listen()?;
        let program = std::env::current_exe().map_err(Error::io("find", "pixelllm"))?;
        let options = LaunchOptions { program, parallel: self.parallel, stop: &stop };
        launch(plan, &options, &mut Bars::default())
    }
}

/// What each trial is, how far, and the command that trains it.
fn print(plan: &Plan) -> Result<ExitCode> {
    for trial in &plan.trials {
        let progress = trial.progress()?;
        let state = match progress {
            Progress::Fresh => "to train",
            Progress::Begun => "to resume",
            Progress::Finished => "finished",
        };
        let arguments = trial.arguments(progress == Progress::Begun);
        let quoted: Vec<_> = arguments.iter().map(|text| super::train::quoted(text)).collect();
        say(format_args!("{}: {state}\n  pixelllm {}", plan.name(trial), quoted.join(" ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// Trials that the report lacks, and why where that is known.
fn missing(plan: &Plan, outcome: &Outcome) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (index, trial) in plan.trials.iter().enumerate() {
        if trial.progress()? != Progress::Finished {
            let why = outcome.failed.get(&index).map_or("not finished", String::as_str);
            missing.push(format!("{}: {why}", plan.name(trial)));
        }
    }
    Ok(missing)
}

/// The first Ctrl-C lets the runs save a checkpoint, the second ends at once.
fn listen() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let said = "Stopping: every run saves a checkpoint. The same command goes on.";
    on_interrupt(move || stop_or_exit(&flag, said))?;
    Ok(stop)
}

/// One bar for each trial that is trained; lines where there is no terminal.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: BTreeMap<usize, ProgressBar>,
}

impl Watcher for Bars {
    fn begins(&mut self, index: usize, name: &str, max_steps: usize) {
        let bar = self.all.add(ProgressBar::new(max_steps as u64));
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps, {eta} left  {msg}");
        // A template that cannot be read leaves the usual look.
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(name.to_string());
        if bar.is_hidden() {
            say(format_args!("{name}: begins"));
        }
        self.bars.insert(index, bar);
    }

    fn advances(&mut self, index: usize, step: usize) {
        if let Some(bar) = self.bars.get(&index) {
            bar.set_position(step as u64);
        }
    }

    fn ends(&mut self, index: usize, problem: Option<&str>) {
        let Some(bar) = self.bars.remove(&index) else { return };
        bar.finish_and_clear();
        let line = format!("{}: {}", bar.message(), problem.unwrap_or("done"));
        // A hidden multi-progress swallows what is printed through it.
        if bar.is_hidden() || self.all.println(&line).is_err() {
            say(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_failed_is_missing_with_its_reason() {
        let sweep = toml::from_str(
            "name = 's'\nexperiment = 'experiments/quickstart.toml'\nseeds = [1, 2]\n",
        );
        let plan = sweep.map(|sweep| plan(&sweep, std::path::Path::new("no/such/place")));
        let Ok(Ok(plan)) = plan else { unreachable!("no plan") };
        let failed = BTreeMap::from([(1, "was killed".to_string())]);
        let missing = missing(&plan, &Outcome { stopped: false, failed }).unwrap_or_default();
        assert_eq!(missing, ["as it is, seed 1: not finished", "as it is, seed 2: was killed"]);
    }
}

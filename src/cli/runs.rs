//! `pixelllm runs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::output::say;
use crate::error::{Error, Result};
use crate::experiment;
use crate::report::run_plot::{self, NamedRecords};
use crate::report::run_tables;
use crate::runs::differences::Comparison;
use crate::runs::{Run, find};
use crate::training::failure::{self, Replayed};
use crate::training::run_directory::{RunDirectory, write_atomically};
use crate::training::sources;

/// Names that are printed of parameters that are not finite; the rest is counted.
const FEW: usize = 8;

/// List runs, compare them, draw their curves, and do a failed step again
#[derive(Debug, Subcommand)]
pub(super) enum Runs {
    /// List the runs below a folder: what became of them, their losses and metrics
    List(List),
    /// Say in what runs differ: keys of their experiments, and metrics
    Compare(Compare),
    /// Draw the loss curves of several runs over one another
    Plot(Plot),
    /// Do a step again that came out not finite, and say what is to blame
    Replay(Replay),
}

impl Runs {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Compare(compare) => compare.run(),
            Self::Plot(plot) => plot.run(),
            Self::Replay(replay) => replay.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// List the runs below a folder
#[derive(Debug, Args)]
pub(super) struct List {
    /// Where to look
    #[arg(value_name = "DIR", default_value = "runs")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    fn run(self) -> Result<()> {
        let mut summaries = Vec::new();
        for path in find(&self.folder)? {
            // A damaged run is no reason to hide the others.
            match Run::read(&path) {
                Ok(run) => {
                    if let Err(error) = &run.experiment {
                        tracing::warn!("{}: {error}", path.display());
                    }
                    summaries.push(run.summary);
                }
                Err(error) => tracing::warn!("{} is left out: {error}", path.display()),
            }
        }
        match (self.json, summaries.is_empty()) {
            (true, _) => say(json(&summaries)?),
            (false, true) => say(format_args!("There are no runs in {}.", self.folder.display())),
            (false, false) => say(run_tables::list(&summaries)),
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TableFormat {
    /// For a terminal
    Table,
    /// For programs
    Json,
    /// For notes
    Markdown,
}

/// Say in what runs differ
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Run directories; the first is what the others are compared with
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// How the differences are printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

impl Compare {
    fn run(self) -> Result<()> {
        let comparison = Comparison::new(read(&self.runs)?)?;
        say(match self.format {
            TableFormat::Table => run_tables::comparison(&comparison),
            TableFormat::Json => json(&comparison)?,
            TableFormat::Markdown => run_tables::comparison_markdown(&comparison),
        });
        Ok(())
    }
}

/// Draw the loss curves of several runs over one another
#[derive(Debug, Args)]
pub(super) struct Plot {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The file to write: .svg, .png or .html
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The title of a chart in a run's report, such as "Text loss"; may be given several times
    /// [default: all losses]
    #[arg(long = "chart", value_name = "TITLE")]
    charts: Vec<String>,
}

impl Plot {
    fn run(self) -> Result<()> {
        let extension = self.out.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let draw = match extension.as_str() {
            "svg" => |runs: &[NamedRecords<'_>], charts: &[String]| {
                run_plot::svg(runs, charts).map(String::into_bytes)
            },
            "html" => |runs: &[NamedRecords<'_>], charts: &[String]| {
                run_plot::page(runs, charts).map(String::into_bytes)
            },
            "png" => run_plot::png,
            _ => {
                return Err(Error::Usage {
                    problem: format!("cannot draw a file called {}", self.out.display()),
                    help: "Give a name that ends with .svg, .png or .html.".into(),
                });
            }
        };
        let runs = read(&self.runs)?;
        let named: Vec<_> = runs
            .iter()
            .map(|run| NamedRecords { name: &run.summary.name, records: &run.records })
            .collect();
        write_atomically(&self.out, &draw(&named, &self.charts)?)?;
        say(format_args!("Look at {}", self.out.display()));
        Ok(())
    }
}

/// Do a step again that came out not finite
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The step [default: the last that failed]
    #[arg(long, value_name = "STEP")]
    step: Option<usize>,
    /// Where to compute: cpu, wgpu, cuda or cuda:1 [default: the device of the run]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl Replay {
    fn run(self) -> Result<()> {
        let run = RunDirectory::open(&self.run)?;
        let step = self.chosen(&run)?;
        let overrides: Vec<_> = self.device.iter().map(|name| format!("device={name}")).collect();
        let experiment = experiment::load(&run.experiment(), &overrides)?;
        let device = sources::device(&experiment)?.autodiff();
        print(&failure::replay(&run, step, &experiment, &device)?);
        Ok(())
    }

    /// The step that is meant.
    fn chosen(&self, run: &RunDirectory) -> Result<usize> {
        let steps = failure::steps(run)?;
        let is_kept = |step: &usize| steps.contains(step);
        self.step.or(steps.last().copied()).filter(is_kept).ok_or_else(|| {
            let names: Vec<_> = steps.iter().map(ToString::to_string).collect();
            Error::Run {
                path: run.path().into(),
                problem: "has kept no such step".into(),
                help: match names.is_empty() {
                    true => "Steps are kept when their loss or gradient is not finite.".into(),
                    false => format!("It has kept these: {}.", names.join(", ")),
                },
            }
        })
    }
}

fn print(replayed: &Replayed) {
    let Replayed { failure, output, broken_weights, broken_gradients } = replayed;
    say(format_args!(
        "Step {}, {} ({} split): {}",
        failure.step,
        failure.task.name(),
        failure.split,
        failure.problem
    ));
    for sample in &failure.samples {
        let image = sample.image.display();
        say(format_args!("  source {} sample {} {image}", sample.source, sample.sample));
    }
    say("Again:");
    for (name, value) in output.losses.named() {
        let before = failure.losses.get(name).copied().flatten();
        let before = before.map_or("not finite".into(), |value| value.to_string());
        say(format_args!("  {name} {value} (before: {before})"));
    }
    say(format_args!("  gradient norm {}", output.gradient_norm));
    say(format_args!("Weights that are not finite: {}", few(broken_weights)));
    say(format_args!("Gradients that are not finite: {}", few(broken_gradients)));
}

/// The first names, and how many more there are.
fn few(names: &[String]) -> String {
    match names.len() {
        0 => "none".into(),
        count if count <= FEW => names.join(", "),
        count => format!("{}, and {} more", names[..FEW].join(", "), count - FEW),
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Run>> {
    paths.iter().map(|path| Run::read(path)).collect()
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| {
        Error::format(Path::new("runs"), error.to_string(), "Report this as a bug.")
    })
}

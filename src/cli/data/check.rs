//! `pixelllm data check`.

use std::process::ExitCode;

use clap::Args;

use super::super::output::say;
use super::annotations::{Annotations, Asked, splits};
use crate::data::check::{Checked, Finding, Splits, Thoroughness, check_file, check_sources};
use crate::error::{Error, Result};

/// Faults that are shown of each kind; `--json` gives all of them.
const EXAMPLES: usize = 3;

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    annotations: Annotations,
    /// Decode every image, too
    #[arg(long)]
    decode: bool,
    /// Print every fault as JSON: {"records": n, "faults": [{"kind", "file", "line", "id", "message"}]}
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Exit code 1 where there are faults.
    pub(super) fn run(self) -> Result<ExitCode> {
        let thoroughness = Thoroughness { decode_images: self.decode };
        let checked = match self.annotations.ask()? {
            Asked::File(file) => check_file(file.format, &file.request(), thoroughness)?,
            Asked::Experiment(_, Some(split)) => {
                return Err(Error::Usage {
                    problem: format!(
                        "an experiment is checked on all of its splits, not on {split:?}"
                    ),
                    help: "Leave --split out, or check one file by --format.".into(),
                });
            }
            Asked::Experiment(experiment, None) => {
                let (train, held_out) = splits(&experiment);
                let splits = Splits { train, held_out: &held_out };
                check_sources(&experiment.data.sources, splits, thoroughness)?
            }
        };
        match self.json {
            true => {
                say(serde_json::to_string_pretty(&checked).map_err(|error| Error::Compute {
                    problem: format!("the faults cannot be written as JSON: {error}"),
                    help: "Report this as a bug.".into(),
                })?)
            }
            false => print(&checked),
        }
        Ok(ExitCode::from(u8::from(!checked.faults.is_empty())))
    }
}

fn print(checked: &Checked) {
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    for (kind, faults) in checked.by_kind() {
        say(format_args!("{kind}: {}", faults.len()));
        for fault in faults.iter().take(EXAMPLES) {
            say(format_args!("  {}: {}", place(fault), fault.message));
        }
        if faults.len() > EXAMPLES {
            say(format_args!("  … and {} more", faults.len() - EXAMPLES));
        }
    }
    let records = counted(checked.records, "record");
    match checked.faults.len() {
        0 => say(format_args!("{records}, no fault")),
        faults => say(format_args!("{records}, {}", counted(faults, "fault"))),
    }
}

fn place(fault: &Finding) -> String {
    let line = fault.line.map(|line| format!(":{line}")).unwrap_or_default();
    let id = fault.id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
    format!("{}{line}{id}", fault.file)
}

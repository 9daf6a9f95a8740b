//! `pixelllm verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::output::say;
use crate::backend;
use crate::error::Result;
use crate::metrics::meteor::Meteor;
use crate::verify::compare::{Comparison, Verdict};
use crate::verify::{self, Checked, Counts, Outcome};

/// Compare what a device computes with golden vectors of the original implementation
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Golden vectors: .safetensors files, folders of a checkpoint, or folders of these
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Where to compute: cpu, wgpu, cuda or cuda:1
    #[arg(long, default_value = "cpu")]
    device: String,
    /// METEOR's files: the jar, or the folder that has it [default: $PIXELLLM_METEOR_DATA]
    #[arg(long, value_name = "JAR|DIR")]
    meteor_data: Option<PathBuf>,
    /// Count what is not implemented as a failure
    #[arg(long)]
    all: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode> {
        let device = backend::device(&self.device)?;
        let meteor = Meteor::find(self.meteor_data.as_deref())?;
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_header([
            "component",
            "output",
            "largest difference",
            "relative",
            "tolerance",
            "verdict",
        ]);
        for column in [2, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut total = Counts::default();
        for path in verify::find(&self.paths)? {
            let checked = verify::check(&path, &device, meteor.as_ref());
            let counts = checked.counts();
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.not_implemented += counts.not_implemented;
            add(&mut table, &checked);
        }
        say(table);
        let Counts { passed, failed, not_implemented } = total;
        say(format_args!(
            "{}: {passed} passed, {failed} failed, {not_implemented} not implemented",
            backend::describe(&device)
        ));
        let fails = failed > 0 || self.all && not_implemented > 0;
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The rows of one file; what is not implemented is one row.
fn add(table: &mut Table, checked: &Checked) {
    let name = checked.path.file_name().unwrap_or(checked.path.as_os_str()).to_string_lossy();
    let file = name.trim_end_matches(".safetensors");
    match &checked.outcome {
        Outcome::NotImplemented => {
            table.add_row([file, "", "", "", "", "not implemented"]);
        }
        Outcome::Failed(error) => {
            table.add_row([file, "", "", "", "", &format!("FAILED: {error}")]);
        }
        Outcome::Compared(comparisons) => {
            for comparison in comparisons {
                table.add_row(row(file, comparison));
            }
        }
    }
}

fn row(file: &str, comparison: &Comparison) -> [String; 6] {
    let verdict = match &comparison.verdict {
        Verdict::Passed => "passed".to_string(),
        Verdict::Failed(problem) => format!("FAILED: {problem}"),
        Verdict::NotImplemented => "not implemented".to_string(),
    };
    let number = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.1e}") };
    [
        file.to_string(),
        comparison.output.clone(),
        number(comparison.absolute),
        number(comparison.relative),
        comparison.tolerance.map(|tolerance| tolerance.to_string()).unwrap_or_default(),
        verdict,
    ]
}

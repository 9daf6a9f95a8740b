//! `metrics.csv`: the records of a run as a flat table, for spreadsheets and data frames.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::durable::move_into_place;
use super::record::{self, Record, RecordSink};
use super::run_directory::RunDirectory;
use super::scalars::{LOSS_NAMES, STEP_NAMES, step_values};
use crate::error::{Error, Result};

/// Appends rows to `metrics.csv`. No field needs quotes: names are words, the others numbers.
#[derive(Debug)]
pub struct TableLog {
    path: PathBuf,
    file: File,
}

impl TableLog {
    /// Begins the table of `run` with the records of its `metrics.jsonl`, so that both say the same from the
    /// first step on, however often the run was resumed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] where the one cannot be read or the other not written.
    pub fn begin(run: &RunDirectory) -> Result<Self> {
        let path = run.metrics_table();
        // Beside its place, so that nobody reads half a table.
        let beside = path.with_extension("partial.csv");
        let file = File::create(&beside).map_err(Error::io("create", &beside))?;
        let mut table = Self { path: beside.clone(), file };
        let names = ["kind", "step", "task"].into_iter().chain(LOSS_NAMES).chain(STEP_NAMES);
        table.write(&names.collect::<Vec<_>>().join(","))?;
        record::read(&run.metrics())?.iter().try_for_each(|record| table.append(record))?;
        move_into_place(&beside, &path).map_err(Error::io("write", &path))?;
        Ok(Self { path, ..table })
    }

    fn write(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\r\n");
        self.file.write_all(line.as_bytes()).map_err(Error::io("write", &self.path))
    }
}

impl RecordSink for TableLog {
    fn append(&mut self, record: &Record) -> Result<()> {
        let (kind, task, losses) = match record {
            Record::Step(step) => ("step", step.task, &step.losses),
            Record::Validation(check) => ("validation", check.task, &check.losses),
        };
        let cell = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let fixed = [kind.to_string(), record.step().to_string(), task.name().to_string()];
        let values = losses.values().into_iter().chain(step_values(record)).map(cell);
        self.write(&fixed.into_iter().chain(values).collect::<Vec<_>>().join(","))
    }
}

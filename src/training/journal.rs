//! What is written and shown while training.

use super::console::Console;
use super::record::{Record, RecordLog, RecordSink, StepRecord, ValidationRecord};
use super::run_directory::RunDirectory;
use super::span::Span;
use super::table_log::TableLog;
use super::tensorboard::TensorBoard;
use crate::error::{Error, Result};
use crate::experiment::logging::LoggingConfig;

/// What is written and shown while training, and how it ended.
#[derive(Debug)]
pub struct Journal {
    /// `metrics.jsonl`.
    pub log: RecordLog,
    /// Files with the same numbers.
    pub sinks: Vec<Box<dyn RecordSink>>,
    /// Progress lines, where there are any.
    pub console: Option<Console>,
    /// Steps done.
    pub step: usize,
    /// What stopped training, if anything did.
    pub failure: Option<Error>,
}

impl Journal {
    /// Begins or goes on with the records of `run`; with progress lines if `with_console`.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be written, and what is wrong with records of before.
    pub(super) fn begin(
        run: &RunDirectory,
        logging: &LoggingConfig,
        span: Span,
        with_console: bool,
    ) -> Result<Self> {
        let log = match span.first_step {
            0 => RecordLog::create(&run.metrics())?,
            step => RecordLog::resume(&run.metrics(), step)?,
        };
        let mut sinks: Vec<Box<dyn RecordSink>> = Vec::new();
        if logging.csv {
            sinks.push(Box::new(TableLog::begin(run)?));
        }
        if logging.tensorboard {
            sinks.push(Box::new(TensorBoard::begin(run)?));
        }
        let console = with_console.then(|| Console::new(span.first_step, span.max_steps));
        Ok(Self { log, sinks, console, step: 0, failure: None })
    }

    pub(super) fn step(&mut self, record: StepRecord) -> Result<()> {
        self.step = record.step;
        if let Some(console) = &mut self.console {
            console.step(&record);
        }
        self.append(&Record::Step(record))
    }

    pub(super) fn validation(&mut self, record: ValidationRecord) -> Result<()> {
        if let Some(console) = &self.console {
            console.validation(&record);
        }
        self.append(&Record::Validation(record))
    }

    fn append(&mut self, record: &Record) -> Result<()> {
        self.log.append(record)?;
        self.sinks.iter_mut().try_for_each(|sink| sink.append(record))
    }
}

//! What the dashboard shows, as burn-train writes it: `train/epoch-N/Loss.log`, a line per step.
//!
//! burn-train's own writer panics where a disk is full. This one stops, and says so: the complete record is
//! `metrics.jsonl`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

/// Writes below a folder.
pub struct DashboardLog {
    folder: PathBuf,
    names: HashMap<MetricId, Arc<String>>,
    /// Open files of one span between two checkpoints.
    files: HashMap<PathBuf, File>,
    epoch: usize,
    /// Whether writing has failed before.
    failed: bool,
}

impl DashboardLog {
    /// Below `folder`.
    pub fn new(folder: PathBuf) -> Self {
        let (names, files) = (HashMap::new(), HashMap::new());
        Self { folder, names, files, epoch: 0, failed: false }
    }

    fn path(&self, name: &str, epoch: usize, split: &Split) -> PathBuf {
        let folder = self.folder.join(split.to_string()).join(format!("epoch-{epoch}"));
        folder.join(format!("{}.log", name.replace(' ', "_")))
    }

    fn write(&mut self, path: PathBuf, value: &str) -> io::Result<()> {
        let file = match self.files.get_mut(&path) {
            Some(file) => file,
            None => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                let file = File::create(&path)?;
                self.files.entry(path).or_insert(file)
            }
        };
        writeln!(file, "{value}")
    }
}

impl MetricLogger for DashboardLog {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if self.epoch != epoch {
            self.files.clear();
            self.epoch = epoch;
        }
        let numeric = update.entries_numeric.iter().map(|update| &update.entry);
        for entry in update.entries.iter().chain(numeric) {
            let is_there = !entry.serialized_entry.is_not_available();
            let name = self.names.get(&entry.metric_id).filter(|_| is_there).cloned();
            let Some(name) = name else { continue };
            let path = self.path(&name, epoch, split);
            let written = match self.failed {
                true => Ok(()),
                false => self.write(path, &entry.serialized_entry.serialized),
            };
            if let Err(error) = written {
                self.failed = true;
                let folder = self.folder.display();
                tracing::warn!("{folder} is not written any more: {error}");
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let text = fs::read_to_string(self.path(name, epoch, split)).unwrap_or_default();
        text.lines().map(NumericEntry::deserialize).collect()
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {
        self.files.clear();
    }
}

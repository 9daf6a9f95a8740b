//! `metrics.jsonl`: what every step and every look at the validation split measured.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::detection::DetectionMeasure;
use super::durable::move_into_place;
use super::mask_losses::MaskMeasure;
use super::throughput::StepCost;
use crate::data::sample::Task;
use crate::error::{Error, Result};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A training step.
    Step(StepRecord),
    /// The validation split, after `step` steps.
    Validation(ValidationRecord),
}

/// What a training step measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// What the batch was for.
    pub task: Task,
    /// Its losses, each a key of the record.
    #[serde(flatten)]
    pub losses: LossRecord,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Images per second since the last step.
    pub samples_per_second: f64,
    /// Share of the step's time spent waiting for its batch.
    pub data_wait_share: f64,
    /// What else it cost, each a key of the record.
    #[serde(flatten)]
    pub cost: StepCost,
}

/// What the validation split measured for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Steps done.
    pub step: usize,
    /// What the batches were for.
    pub task: Task,
    /// Means over the batches, each a key of the record.
    #[serde(flatten)]
    pub losses: LossRecord,
}

/// The losses of a batch, or means of several.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LossRecord {
    /// Weighted sum of the parts.
    pub loss: f64,
    /// Text loss before its weight; `None` where the task has none.
    pub text_loss: Option<f64>,
    /// Point loss before its weight, in the experiment's unit; `None` where the task has none.
    pub point_loss: Option<f64>,
    /// Overlap loss before its weight; `None` where the task has none or it weighs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_loss: Option<f64>,
    /// Detection loss before its weight, and its parts; `None` where the task has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_loss: Option<DetectionMeasure>,
    /// Mask loss before its weight, and its parts; `None` where the batch has no masks or they weigh
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_loss: Option<MaskMeasure>,
}

impl LossRecord {
    /// Means of records by their weights, of each loss over the records that have it; `None` without a
    /// record that weighs something.
    pub(super) fn mean(records: &[(&Self, f64)]) -> Option<Self> {
        let of = |value: fn(&Self) -> Option<f64>| {
            let [mean] = weighted_mean(records, |record| value(record).map(|value| [value]))?;
            Some(mean)
        };
        Some(Self {
            loss: of(|record| Some(record.loss))?,
            text_loss: of(|record| record.text_loss),
            point_loss: of(|record| record.point_loss),
            overlap_loss: of(|record| record.overlap_loss),
            detection_loss: weighted_mean(records, |record| {
                Some(record.detection_loss?.to_array())
            })
            .map(DetectionMeasure::from_array),
            mask_loss: weighted_mean(records, |record| Some(record.mask_loss?.to_array()))
                .map(MaskMeasure::from_array),
        })
    }
}

fn weighted_mean<const N: usize>(
    records: &[(&LossRecord, f64)],
    values: impl Fn(&LossRecord) -> Option<[f64; N]>,
) -> Option<[f64; N]> {
    let (mut sum, mut total) = ([0.0; N], 0.0);
    for (record, weight) in records {
        let Some(values) = values(record) else { continue };
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * weight);
        total += weight;
    }
    (total > 0.0).then(|| sum.map(|sum| sum / total))
}

/// Takes records as soon as they are known.
pub trait RecordSink: std::fmt::Debug + Send {
    /// Takes one.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    fn append(&mut self, record: &Record) -> Result<()>;
}

/// Appends records to `metrics.jsonl`, each as soon as it is known.
#[derive(Debug)]
pub struct RecordLog {
    path: PathBuf,
    file: File,
}

impl RecordLog {
    /// Begins an empty log.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::io("create", path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Goes on after `step` steps: what was written after them, by a run that was killed, goes.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read or written.
    pub fn resume(path: &Path, step: usize) -> Result<Self> {
        let kept: Vec<Record> = if path.exists() {
            read(path)?.into_iter().filter(|record| record.step() <= step).collect()
        } else {
            Vec::new()
        };
        // Beside its place, so that a process that is killed here leaves the file as it was.
        let beside = path.with_extension("partial.jsonl");
        let mut log = Self::create(&beside)?;
        kept.iter().try_for_each(|record| log.append(record))?;
        move_into_place(&beside, path).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_path_buf(), ..log })
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// [`Error::Io`] where that fails.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).map_err(io::Error::from);
        // At once, so that other processes see whole lines.
        line.and_then(|line| self.file.write_all(format!("{line}\n").as_bytes()))
            .map_err(Error::io("write", &self.path))
    }
}

impl Record {
    /// Steps done when it was measured.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(record) => record.step,
            Self::Validation(record) => record.step,
        }
    }
}

/// Reads `metrics.jsonl`. A last line that was cut off, by a run that was killed, is left out.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Format`] where another line is broken.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => {
                let help = "Delete the line.";
                return Err(Error::format_at(path, index + 1, error.to_string(), help));
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(step: usize) -> Record {
        Record::Step(StepRecord {
            step,
            task: Task::Locate,
            losses: LossRecord { loss: 0.5, point_loss: Some(0.25), ..LossRecord::default() },
            gradient_norm: 1.0,
            learning_rate: 1e-3,
            samples_per_second: 10.0,
            data_wait_share: 0.0,
            cost: StepCost::default(),
        })
    }

    #[test]
    fn a_resumed_log_goes_on_at_its_step_even_after_a_cut_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut log = RecordLog::create(&path).unwrap();
        (1..=5).for_each(|step| log.append(&record(step)).unwrap());
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"kind\": \"st");
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().len(), 5);

        let mut log = RecordLog::resume(&path, 3).unwrap();
        log.append(&record(4)).unwrap();
        let steps: Vec<_> = read(&path).unwrap().iter().map(Record::step).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn losses_with_parts_are_objects_where_there_are_any() {
        let Record::Step(plain) = record(1) else { unreachable!() };
        let text = serde_json::to_string(&Record::Step(plain.clone())).unwrap();
        let begin = r#"{"kind":"step","step":1,"task":"locate","loss":0.5,"text_loss":null,"#;
        assert!(text.starts_with(begin), "{text}");
        assert!(!text.contains("mask") && !text.contains("detection"), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), Record::Step(plain.clone()));
        let mask_loss = Some(MaskMeasure { total: 2.5, focal: 0.0625, dice: 0.75, iou: 0.5 });
        let losses = LossRecord { mask_loss, ..plain.losses };
        let masked = Record::Step(StepRecord { losses, ..plain });
        let text = serde_json::to_string(&masked).unwrap();
        let parts = r#""mask_loss":{"total":2.5,"focal":0.0625,"dice":0.75,"iou":0.5}"#;
        assert!(text.contains(parts), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), masked);
    }

    #[test]
    fn means_are_weighted_and_pass_over_records_without_the_loss() {
        let of = |x: f64| LossRecord {
            loss: x,
            point_loss: Some(2.0 * x),
            mask_loss: Some(MaskMeasure::from_array([x, 2.0 * x, 3.0 * x, 4.0 * x])),
            detection_loss: Some(DetectionMeasure::from_array([x, 5.0 * x, 6.0 * x, 7.0 * x, 0.0])),
            ..LossRecord::default()
        };
        let (one, four) = (of(1.0), of(4.0));
        let without = LossRecord { loss: 3.0, ..LossRecord::default() };
        let mean = LossRecord::mean(&[(&one, 1.0), (&without, 5.0), (&four, 2.0)]);
        assert_eq!(mean, Some(LossRecord { loss: 3.0, ..of(3.0) }));
        assert_eq!(LossRecord::mean(&[(&without, 1.0)]), Some(without));
        assert_eq!(LossRecord::mean(&[]), None);
    }

    #[test]
    fn a_broken_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        fs::write(&path, "{}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl:1"), "{error}");
    }
}

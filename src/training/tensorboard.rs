//! Event files of TensorBoard: every loss and metric by step, under `tensorboard/` in the run directory.
//!
//! A file is a row of records, each with its length before it and a masked CRC-32C after both (TensorFlow's
//! `record_writer.h`). A record is an `Event` message of `event.proto`, with a `Summary` of named numbers.
//! Training, validation and evaluation are folders of their own, so that TensorBoard draws a loss of all of
//! them into one chart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::record::{self, Record, RecordSink};
use super::run_directory::RunDirectory;
use super::scalars::{STEP_NAMES, step_values};
use super::throughput::now;
use crate::error::{Error, Result};
use crate::metrics::score::Evaluation;

/// The version of event files, which their first event says.
const VERSION: &str = "brain.Event:2";
/// What TensorFlow adds to checksums, so that those of bytes that contain one are not special.
const MASK_DELTA: u32 = 0xA282_EAD8;

/// Numbers of the fields of `Event`.
const WALL_TIME: u8 = 1;
const STEP: u8 = 2;
const FILE_VERSION: u8 = 3;
const SUMMARY: u8 = 5;
const SESSION_LOG: u8 = 7;
/// `SessionLog.status`, and its value for a start: what TensorBoard has of these steps and later ones is
/// taken back.
const STATUS: u8 = 1;
const START: u64 = 1;
/// `Summary.value`, `Value.tag`, `Value.simple_value`.
const VALUE: u8 = 1;
const TAG: u8 = 1;
const SIMPLE_VALUE: u8 = 2;

/// A protobuf message that is being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// Wire types: 0 for integers, 1 for eight bytes, 2 for what has a length, 5 for four bytes.
    fn key(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(mut self, field: u8, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u8, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

/// The checksum of `bytes` in an event file: CRC-32C, turned right by 15 bits, plus a constant.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK_DELTA)
}

/// A record with its length and checksums.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let (of_length, of_message) = (masked_crc32c(&length), masked_crc32c(message));
    [&length[..], &of_length.to_le_bytes(), message, &of_message.to_le_bytes()].concat()
}

/// One event file.
#[derive(Debug)]
struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins the only event file of `folder`: others there, of before a run was resumed, go.
    fn begin(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_events = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("events.out.tfevents."));
            if is_events {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        // TensorBoard reads the files of a folder in the order of their names. Micro-seconds, so that the
        // name of a file that went is not used again.
        let micros = (now() * 1e6) as u64;
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.{rest:06}.pixelllm"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut events = Self { path, file };
        let time = || Message::default().double(WALL_TIME, now());
        events.write(time().bytes(FILE_VERSION, VERSION.as_bytes()))?;
        let start = Message::default().integer(STATUS, START);
        events.write(time().integer(STEP, 0).bytes(SESSION_LOG, &start.0))?;
        Ok(events)
    }

    fn write(&mut self, event: Message) -> Result<()> {
        self.file.write_all(&framed(&event.0)).map_err(Error::io("write", &self.path))
    }

    /// Numbers by their tags, of a step at a time.
    fn scalars(
        &mut self,
        step: usize,
        time: f64,
        values: impl Iterator<Item = (String, f64)>,
    ) -> Result<()> {
        let summary = values.fold(Message::default(), |summary, (tag, value)| {
            let value =
                Message::default().bytes(TAG, tag.as_bytes()).float(SIMPLE_VALUE, value as f32);
            summary.bytes(VALUE, &value.0)
        });
        let event = Message::default().double(WALL_TIME, time).integer(STEP, step as u64);
        self.write(event.bytes(SUMMARY, &summary.0))
    }
}

/// Writes what training and validation measure.
#[derive(Debug)]
pub struct TensorBoard {
    train: EventFile,
    validation: EventFile,
    /// When the last step was done.
    time: f64,
}

impl TensorBoard {
    /// Begins the event files of `run` with the records of its `metrics.jsonl`, so that both say the same
    /// from the first step on, and no step twice, however often the run was resumed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] where the one cannot be read or the others not written.
    pub fn begin(run: &RunDirectory) -> Result<Self> {
        let folder = run.tensorboard();
        let mut board = Self {
            train: EventFile::begin(&folder.join("train"))?,
            validation: EventFile::begin(&folder.join("validation"))?,
            time: now(),
        };
        record::read(&run.metrics())?.iter().try_for_each(|record| board.append(record))?;
        Ok(board)
    }
}

impl RecordSink for TensorBoard {
    fn append(&mut self, record: &Record) -> Result<()> {
        let (events, task, losses) = match record {
            Record::Step(step) => {
                self.time = step.cost.time.unwrap_or(self.time);
                (&mut self.train, step.task, &step.losses)
            }
            Record::Validation(check) => (&mut self.validation, check.task, &check.losses),
        };
        // Parts of a loss beside each other, below the task.
        let losses = losses.named().into_iter();
        let losses = losses
            .map(|(name, value)| (format!("{}/{}", task.name(), name.replace('.', "_")), value));
        let others = STEP_NAMES.into_iter().zip(step_values(record));
        let others = others.filter_map(|(name, value)| Some((format!("step/{name}"), value?)));
        events.scalars(record.step(), self.time, losses.chain(others))
    }
}

/// Writes the metrics of an evaluation after `step` steps of `run`, in place of those of an earlier one.
///
/// # Errors
/// [`Error::Io`] where they cannot be written.
pub fn write_evaluation(run: &RunDirectory, step: usize, evaluation: &Evaluation) -> Result<()> {
    let mut events = EventFile::begin(&run.tensorboard().join("evaluation"))?;
    let values = evaluation.iter().flat_map(|(split, tasks)| {
        tasks.iter().flat_map(move |(task, scores)| {
            scores
                .iter()
                .map(move |(metric, score)| (format!("{split}/{task}/{metric}"), score.value))
        })
    });
    events.scalars(step, now(), values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, appendix B.4: 32 zeros, 32 ones, and 0 to 31; and the usual check value.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c::crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c::crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
        // By hand: turned right by 15 bits that is 0x2507C60D; then the constant is added.
        assert_eq!(masked_crc32c(b"123456789"), 0xC78A_B0E5);
    }

    #[test]
    fn messages_have_the_bytes_of_protobuf() {
        // 300 is the example of protobuf's documentation of varints: 0xAC 0x02.
        let message = Message::default().integer(1, 150).integer(2, 300).bytes(2, b"testing");
        let expected = [&[0x08, 0x96, 0x01, 0x10, 0xAC, 0x02, 0x12, 0x07][..], b"testing"].concat();
        assert_eq!(message.0, expected);
        assert_eq!(Message::default().float(2, 1.0).0, [0x15, 0, 0, 0x80, 0x3F]);
        let double = Message::default().double(1, 1.0);
        assert_eq!(double.0, [0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]);
    }
}

//! Plain progress lines, for logs and terminals without a dashboard.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::record::{LossRecord, StepRecord, ValidationRecord};

/// How long to be silent between two lines about steps.
const INTERVAL: Duration = Duration::from_secs(5);

/// Prints to standard output.
#[derive(Debug)]
pub struct Console {
    max_steps: usize,
    first_step: usize,
    started: Instant,
    printed: Option<Instant>,
}

impl Console {
    /// For a run that goes on after `first_step` steps.
    pub fn new(first_step: usize, max_steps: usize) -> Self {
        Self { max_steps, first_step, started: Instant::now(), printed: None }
    }

    /// A line about a step, unless one was printed a moment ago.
    pub fn step(&mut self, record: &StepRecord) {
        let last = record.step == self.max_steps;
        if !last && self.printed.is_some_and(|printed| printed.elapsed() < INTERVAL) {
            return;
        }
        self.printed = Some(Instant::now());
        print_line(&self.line(record, self.started.elapsed(), resident_memory()));
    }

    /// A line about the validation split.
    pub fn validation(&self, record: &ValidationRecord) {
        print_line(&format!(
            "step {:>6} validation {:<8} loss {:.4}{}",
            record.step,
            record.task.name(),
            record.losses.loss,
            parts(&record.losses)
        ));
    }

    fn line(&self, record: &StepRecord, elapsed: Duration, memory: Option<usize>) -> String {
        let done = record.step.saturating_sub(self.first_step).max(1);
        let left = elapsed.mul_f64(self.max_steps.saturating_sub(record.step) as f64 / done as f64);
        let memory = memory.map_or(String::new(), |bytes| {
            format!(" mem {:.2} GiB", bytes as f64 / f64::from(1 << 30))
        });
        format!(
            "step {:>6}/{} {:<8} loss {:.4}{} |g| {:.2} lr {:.2e} {:.1} samples/s wait {:.0} %{memory} left {}",
            record.step,
            self.max_steps,
            record.task.name(),
            record.losses.loss,
            parts(&record.losses),
            record.gradient_norm,
            record.learning_rate,
            record.samples_per_second,
            record.data_wait_share * 100.0,
            clock(left),
        )
    }
}

/// Prints a line. A reader that has gone away (`| head`) is no reason to stop training.
fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The losses that there are, each with its name.
fn parts(losses: &LossRecord) -> String {
    let losses = [
        ("text", losses.text_loss),
        ("point", losses.point_loss),
        ("overlap", losses.overlap_loss),
        ("detection", losses.detection_loss.map(|loss| loss.total)),
        ("mask", losses.mask_loss.map(|loss| loss.total)),
    ];
    let part = |(name, loss): (&str, Option<f64>)| {
        loss.map_or(String::new(), |loss| format!(" {name} {loss:.4}"))
    };
    losses.map(part).concat()
}

/// `m:ss`, or `h:mm:ss`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Bytes that the process has in memory; `None` where the system does not say.
pub fn resident_memory() -> Option<usize> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sample::Task;
    use crate::training::mask_losses::MaskMeasure;

    #[test]
    fn a_line_says_what_a_user_looks_for() {
        let console = Console::new(100, 300);
        let losses = LossRecord {
            loss: 1.5,
            text_loss: Some(1.25),
            point_loss: Some(0.05),
            ..LossRecord::default()
        };
        let record = StepRecord {
            step: 200,
            task: Task::Narrate,
            losses,
            gradient_norm: 2.0,
            learning_rate: 1e-3,
            samples_per_second: 100.0,
            data_wait_share: 0.25,
            cost: Default::default(),
        };
        let line = console.line(&record, Duration::from_secs(90), Some(1 << 30));
        assert_eq!(
            line,
            "step    200/300 narrate  loss 1.5000 text 1.2500 point 0.0500 |g| 2.00 lr 1.00e-3 \
             100.0 samples/s wait 25 % mem 1.00 GiB left 1:30"
        );
        let losses = LossRecord { text_loss: None, overlap_loss: Some(0.5), ..losses };
        let locate = StepRecord { losses, ..record };
        let line = console.line(&locate, Duration::ZERO, None);
        assert!(!line.contains("text") && line.contains("point 0.0500 overlap 0.5000"), "{line}");
        let mask_loss = Some(MaskMeasure { total: 2.5, focal: 0.1, dice: 0.4, iou: 0.1 });
        let masked = StepRecord { losses: LossRecord { mask_loss, ..losses }, ..locate };
        let line = console.line(&masked, Duration::ZERO, None);
        assert!(line.contains("overlap 0.5000 mask 2.5000 |g|"), "{line}");
        assert_eq!(clock(Duration::from_secs(3 * 3600 + 125)), "3:02:05");
    }
}

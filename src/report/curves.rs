//! From the records of a run to curves that fit a page, however many steps it had.

use crate::data::sample::Task;
use crate::training::record::{LossRecord, Record, StepRecord, ValidationRecord};

/// A value at a step. A value that is not finite is a gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) step: f64,
    pub(super) value: f64,
}

/// Buckets of the light line; at most four samples and a gap remain of each.
const RAW_BUCKETS: usize = 160;
/// Buckets of the smoothed line, which has less to show.
const SMOOTH_BUCKETS: usize = 60;
/// Buckets of the validation dots.
const DOT_BUCKETS: usize = 40;
/// The smoothed line looks back about this share of the run …
const SMOOTHING_SHARE: f64 = 0.02;
/// … but no more than this many steps.
const LONGEST_SMOOTHING: f64 = 500.0;

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// What the line is about; `None` where the chart has one line only.
    pub(super) task: Option<Task>,
    /// Every step's value, thinned out.
    pub(super) raw: Vec<Sample>,
    /// The same, smoothed; empty where smoothing would hide what the curve is about.
    pub(super) smooth: Vec<Sample>,
    /// On the validation split.
    pub(super) validation: Vec<Sample>,
    /// Last smoothed value, else the last raw one.
    pub(super) last: Option<f64>,
    /// Last value on the validation split.
    pub(super) last_validation: Option<f64>,
    /// Values that were not finite.
    pub(super) gaps: usize,
}

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Whether its axis may be logarithmic; a learning rate that decays to 0 would be all decades.
    pub(super) may_be_logarithmic: bool,
    pub(super) curves: Vec<Curve>,
}

/// The charts of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Charts {
    /// Those that have something to show.
    pub(super) charts: Vec<Chart>,
    /// Records left out because a resumed run did their steps again.
    pub(super) superseded: usize,
}

/// Every chart of a run that has something to show.
pub(super) fn charts(records: &[Record]) -> Charts {
    let current = current(records);
    Charts { superseded: records.len() - current.len(), charts: charts_of(&current) }
}

/// The records that no later one takes back: a run that is resumed does the steps since its last
/// checkpoint again.
fn current(records: &[Record]) -> Vec<&Record> {
    let mut first_step = usize::MAX;
    let mut first_check = [usize::MAX; Task::ALL.len()];
    let mut current: Vec<_> = records
        .iter()
        .rev()
        .filter(|record| match record {
            Record::Step(step) => {
                let is_current = step.step < first_step;
                first_step = first_step.min(step.step);
                is_current
            }
            Record::Validation(check) => {
                let mut first_of_task =
                    Task::ALL.iter().zip(&mut first_check).filter(|(task, _)| **task == check.task);
                first_of_task.all(|(_, first)| {
                    let is_current = check.step < first_step.min(*first);
                    *first = check.step.min(*first);
                    is_current
                })
            }
        })
        .collect();
    current.reverse();
    current
}

fn charts_of(records: &[&Record]) -> Vec<Chart> {
    let steps: Vec<_> = records
        .iter()
        .filter_map(|r| if let Record::Step(step) = r { Some(step) } else { None })
        .collect();
    let checks: Vec<_> = records
        .iter()
        .filter_map(|r| if let Record::Validation(check) = r { Some(check) } else { None })
        .collect();
    let by_task = |title, value: fn(&LossRecord) -> Option<f64>| {
        let curves = Task::ALL.into_iter().map(|task| task_curve(task, &steps, &checks, value));
        Chart { title, may_be_logarithmic: true, curves: curves.filter(Curve::is_seen).collect() }
    };
    let overall = |title, value: fn(&StepRecord) -> f64, smoothed: bool| {
        let raw = steps.iter().map(|s| Sample { step: s.step as f64, value: value(s) }).collect();
        let curve = Curve::new(None, raw, Vec::new(), smoothed);
        let curves = Some(curve).filter(Curve::is_seen).into_iter().collect();
        Chart { title, may_be_logarithmic: smoothed, curves }
    };
    let charts = [
        by_task("Loss", |losses| Some(losses.loss)),
        by_task("Text loss", |losses| losses.text_loss),
        by_task("Point loss", |losses| losses.point_loss),
        by_task("Overlap loss", |losses| losses.overlap_loss),
        by_task("Detection loss", |losses| Some(losses.detection_loss?.total)),
        by_task("Mask loss", |losses| Some(losses.mask_loss?.total)),
        by_task("Mask focal loss", |losses| Some(losses.mask_loss?.focal)),
        by_task("Mask dice loss", |losses| Some(losses.mask_loss?.dice)),
        by_task("Mask IoU loss", |losses| Some(losses.mask_loss?.iou)),
        overall("Learning rate", |s| s.learning_rate, false),
        overall("Gradient norm", |s| s.gradient_norm, true),
        overall("Images per second", |s| s.samples_per_second, true),
        overall("Tokens per second", |s| s.cost.tokens_per_second.unwrap_or(f64::NAN), true),
    ];
    charts.into_iter().filter(|chart| !chart.curves.is_empty()).collect()
}

fn task_curve(
    task: Task,
    steps: &[&StepRecord],
    checks: &[&ValidationRecord],
    value: fn(&LossRecord) -> Option<f64>,
) -> Curve {
    let raw = steps.iter().filter(|s| s.task == task).filter_map(|s| {
        let value = value(&s.losses)?;
        Some(Sample { step: s.step as f64, value })
    });
    let validation = checks.iter().filter(|v| v.task == task).filter_map(|v| {
        let value = value(&v.losses)?;
        Some(Sample { step: v.step as f64, value })
    });
    Curve::new(Some(task), raw.collect(), validation.collect(), true)
}

impl Curve {
    fn new(task: Option<Task>, raw: Vec<Sample>, validation: Vec<Sample>, smoothed: bool) -> Self {
        let smooth = if smoothed { smooth(&raw) } else { Vec::new() };
        let last = |samples: &[Sample]| {
            samples.iter().rev().map(|s| s.value).find(|value| value.is_finite())
        };
        let gaps = raw.iter().chain(&validation).filter(|s| !s.value.is_finite()).count();
        Self {
            task,
            last: last(&smooth).or_else(|| last(&raw)),
            last_validation: last(&validation),
            gaps,
            raw: decimate(&raw, RAW_BUCKETS),
            smooth: decimate(&smooth, SMOOTH_BUCKETS),
            validation: decimate(&validation, DOT_BUCKETS),
        }
    }

    fn is_seen(&self) -> bool {
        !self.raw.is_empty() || !self.validation.is_empty()
    }
}

/// Exponential moving average that starts at the first value instead of at zero; a gap stays a gap
/// and does not enter the average.
fn smooth(samples: &[Sample]) -> Vec<Sample> {
    let span = (samples.len() as f64 * SMOOTHING_SHARE).clamp(1.0, LONGEST_SMOOTHING);
    // The usual decay of an average over `span` values.
    let share = 2.0 / (span + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    samples
        .iter()
        .map(|sample| {
            if !sample.value.is_finite() {
                return Sample { value: f64::NAN, ..*sample };
            }
            sum = (1.0 - share) * sum + share * sample.value;
            weight = (1.0 - share) * weight + share;
            Sample { value: sum / weight, ..*sample }
        })
        .collect()
}

/// At most four samples and a gap of each of `buckets` equal parts: its first, smallest, largest and
/// last, so that spikes and ends survive. Few samples are kept as they are.
fn decimate(samples: &[Sample], buckets: usize) -> Vec<Sample> {
    let per_bucket = samples.len().div_ceil(buckets.max(1)).max(1);
    if per_bucket <= 4 {
        return samples.to_vec();
    }
    samples.chunks(per_bucket).flat_map(keep_of_bucket).collect()
}

fn keep_of_bucket(bucket: &[Sample]) -> Vec<Sample> {
    let finite: Vec<_> = bucket.iter().filter(|s| s.value.is_finite()).copied().collect();
    let by_value = |a: &&Sample, b: &&Sample| a.value.total_cmp(&b.value);
    let smallest = finite.iter().min_by(by_value).copied();
    let largest = finite.iter().max_by(by_value).copied();
    let ends = [finite.first().copied(), finite.last().copied()];
    let gap = bucket.iter().find(|s| !s.value.is_finite()).copied();
    let mut kept: Vec<_> = [smallest, largest, gap].into_iter().chain(ends).flatten().collect();
    kept.sort_by(|a, b| a.step.total_cmp(&b.step));
    // By bits, so that a gap equals itself.
    kept.dedup_by_key(|s| (s.step.to_bits(), s.value.to_bits()));
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn samples(values: impl IntoIterator<Item = f64>) -> Vec<Sample> {
        let numbered = values.into_iter().enumerate();
        numbered.map(|(i, value)| Sample { step: i as f64, value }).collect()
    }

    fn step(step: usize, task: Task, loss: f64) -> Record {
        let text_loss = (task != Task::Locate).then_some(loss);
        let point_loss = Some(loss / 2.0);
        Record::Step(StepRecord {
            step,
            task,
            losses: LossRecord { loss, text_loss, point_loss, ..LossRecord::default() },
            gradient_norm: 1.0,
            learning_rate: 1e-3,
            samples_per_second: 100.0,
            data_wait_share: 0.0,
            cost: Default::default(),
        })
    }

    #[test]
    fn decimation_keeps_ends_and_extremes() {
        let mut all = samples((0..100_000).map(|i| (f64::from(i) / 5_000.0).sin()));
        all[54_321].value = 9.0;
        all[77_777].value = -9.0;
        let few = decimate(&all, 160);
        assert!(few.len() <= 640, "{}", few.len());
        assert_eq!(few.first(), all.first());
        assert_eq!(few.last(), all.last());
        assert!(few.contains(&all[54_321]) && few.contains(&all[77_777]));
        assert!(few.windows(2).all(|w| w[0].step < w[1].step));
    }

    #[test]
    fn few_samples_are_kept_as_they_are() {
        let all = samples([1.0, 2.0, 0.5]);
        assert_eq!(decimate(&all, 160), all);
        assert!(decimate(&[], 160).is_empty());
    }

    #[test]
    fn a_gap_survives_decimation_without_hiding_its_neighbours() {
        let mut all = samples((0..10_000).map(f64::from));
        for sample in &mut all[5_000..5_010] {
            sample.value = f64::NAN;
        }
        let few = decimate(&all, 100);
        assert!(few.iter().any(|s| s.value.is_nan()));
        assert!(few.len() <= 500);
        assert!(few.iter().any(|s| s.step == 4_999.0) && few.iter().any(|s| s.step == 5_099.0));
        let only_gaps = samples([f64::NAN; 1_000]);
        assert!(decimate(&only_gaps, 10).iter().all(|s| s.value.is_nan()));
    }

    #[test]
    fn smoothing_of_a_constant_is_the_constant_and_passes_over_gaps() {
        let mut all = samples([3.0; 500]);
        all[0].value = f64::INFINITY;
        all[250].value = f64::NAN;
        let smooth = smooth(&all);
        assert!(smooth[0].value.is_nan() && smooth[250].value.is_nan());
        assert!((smooth[1].value - 3.0).abs() < 1e-12 && (smooth[499].value - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_task_without_a_text_loss_has_no_text_curve() {
        let records = [step(1, Task::Narrate, 2.0), step(2, Task::Locate, f64::NAN)];
        let charts = charts(&records).charts;
        let titles: Vec<_> = charts.iter().map(|c| c.title).collect();
        assert_eq!(titles.first(), Some(&"Loss"));
        let text = charts.iter().find(|c| c.title == "Text loss").unwrap();
        assert_eq!(text.curves.iter().map(|c| c.task).collect::<Vec<_>>(), [Some(Task::Narrate)]);
        let loss = charts.first().unwrap();
        assert_eq!(loss.curves.iter().map(|c| c.gaps).sum::<usize>(), 1);
        assert_eq!(loss.curves.first().unwrap().last, Some(2.0));
    }

    #[test]
    fn no_records_make_no_charts() {
        assert!(charts(&[]).charts.is_empty());
    }

    #[test]
    fn steps_done_again_after_a_resume_count_once() {
        let check = |step| {
            let task = Task::Locate;
            let losses = LossRecord { loss: step as f64, ..LossRecord::default() };
            Record::Validation(ValidationRecord { step, task, losses })
        };
        let locate = |at, loss| step(at, Task::Locate, loss);
        // Steps 1 to 3, a crash, resumed after step 1.
        let records = [
            locate(1, 9.0),
            check(1),
            locate(2, 8.0),
            check(2),
            locate(3, 7.0),
            locate(2, 1.0),
            check(2),
            locate(3, 2.0),
        ];
        let charts = charts(&records);
        assert_eq!(charts.superseded, 3);
        let loss = charts.charts.first().unwrap().curves.first().unwrap();
        assert_eq!(loss.raw.iter().map(|s| s.value).collect::<Vec<_>>(), [9.0, 1.0, 2.0]);
        assert_eq!(loss.validation.iter().map(|s| s.step).collect::<Vec<_>>(), [1.0, 2.0]);
    }
}

//! The metrics of an evaluation, in one order for the page and the terminal.

use comfy_table::{CellAlignment, Table, presets};

use crate::data::sample::Task;
use crate::metrics::score::{Evaluation, Score, lower_is_better};
use crate::training::profile::Profile;

/// Whether the model beats the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    Equal,
}

impl Verdict {
    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equal => "equal",
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricRow<'a> {
    pub(super) split: &'a str,
    pub(super) task: &'a str,
    pub(super) metric: &'a str,
    pub(super) score: Score,
}

impl MetricRow<'_> {
    /// Errors and distances are better when low, everything else when high.
    pub(super) fn lower_is_better(&self) -> bool {
        lower_is_better(self.metric)
    }

    /// Value by baseline; `None` where there is no baseline or it is 0.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.score.baseline.filter(|b| *b != 0.0).map(|b| self.score.value / b)
    }

    /// `None` where the two cannot be compared.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let order = self.score.value.partial_cmp(&self.score.baseline?)?;
        let order = if self.lower_is_better() { order.reverse() } else { order };
        Some(match order {
            std::cmp::Ordering::Greater => Verdict::Better,
            std::cmp::Ordering::Less => Verdict::Worse,
            std::cmp::Ordering::Equal => Verdict::Equal,
        })
    }
}

/// Splits by name, tasks as everywhere, metrics by name.
pub(super) fn metric_rows(evaluation: &Evaluation) -> Vec<MetricRow<'_>> {
    let place = |task: &str| {
        Task::ALL.iter().position(|known| known.name() == task).unwrap_or(Task::ALL.len())
    };
    let mut rows = Vec::new();
    for (split, tasks) in evaluation {
        let mut tasks: Vec<_> = tasks.iter().collect();
        tasks.sort_by_key(|(task, _)| place(task));
        for (task, scores) in tasks {
            rows.extend(scores.iter().map(|(metric, score)| MetricRow {
                split,
                task,
                metric,
                score: *score,
            }));
        }
    }
    rows
}

/// A number of the table.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 1_000.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

/// A number that may be missing.
pub(super) fn number_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

/// How many times the baseline.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}×"))
}

/// Puts what is in the columns of these numbers to the right.
pub fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The table for a terminal.
pub fn evaluation_table(evaluation: &Evaluation) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(["split", "task", "metric", "value", "baseline", "ratio", "", "n"]);
    align_right(&mut table, [3, 4, 5, 7]);
    for row in metric_rows(evaluation) {
        table.add_row([
            row.split.to_owned(),
            row.task.to_owned(),
            row.metric.to_owned(),
            number(row.score.value),
            number_or_dash(row.score.baseline),
            times(row.ratio()),
            row.verdict().map_or("", Verdict::name).to_owned(),
            row.score.n.to_string(),
        ]);
    }
    table.to_string()
}

/// What the parts of a training step took, for a terminal.
pub fn profile_table(profile: &Profile) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(["stage", "ms per step", "share"]);
    align_right(&mut table, [1, 2]);
    let mut row = |name: &str, seconds: f64| {
        let share = seconds / profile.seconds.max(f64::MIN_POSITIVE);
        table.add_row([
            name.to_string(),
            format!("{:.2}", seconds * 1e3),
            format!("{:.1} %", share * 100.0),
        ]);
    };
    profile.stages.iter().for_each(|time| row(time.stage.name(), time.seconds));
    let staged: f64 = profile.stages.iter().map(|time| time.seconds).sum();
    row("other", (profile.seconds - staged).max(0.0));
    row("whole step", profile.seconds);
    format!("{} steps on {}:\n{table}", profile.steps, profile.device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::example;

    fn row(metric: &str, value: f64, baseline: Option<f64>) -> MetricRow<'_> {
        MetricRow { split: "test", task: "x", metric, score: Score { value, baseline, n: 1 } }
    }

    #[test]
    fn errors_are_better_when_low_and_the_rest_when_high() {
        for error in ["trace_error", "trace_error_vs_mean_box", "center_error", "point_l1"] {
            assert_eq!(row(error, 0.1, Some(0.2)).verdict(), Some(Verdict::Better), "{error}");
            assert_eq!(row(error, 0.3, Some(0.2)).verdict(), Some(Verdict::Worse), "{error}");
        }
        assert_eq!(row("token_f1", 0.3, Some(0.2)).verdict(), Some(Verdict::Better));
        assert_eq!(row("mean_iou", 0.1, Some(0.2)).verdict(), Some(Verdict::Worse));
        assert_eq!(row("mean_iou", 0.2, Some(0.2)).verdict(), Some(Verdict::Equal));
        assert_eq!(row("mean_iou", 0.2, None).verdict(), None);
        assert_eq!(row("mean_iou", f64::NAN, Some(0.2)).verdict(), None);
    }

    #[test]
    fn a_baseline_of_zero_has_a_verdict_but_no_ratio() {
        let row = row("precision_at_0.5", 0.3, Some(0.0));
        assert_eq!((row.ratio(), row.verdict()), (None, Some(Verdict::Better)));
        assert_eq!(times(row.ratio()), "–");
    }

    #[test]
    fn the_terminal_has_tasks_in_the_order_of_reports() {
        let table = evaluation_table(&example::evaluation());
        let at = |text: &str| table.find(text).unwrap();
        assert!(at("narrate") < at("describe") && at("describe") < at("locate"), "{table}");
        assert!(table.contains("0.58×") && table.contains("better"), "{table}");
    }

    #[test]
    fn an_empty_evaluation_has_a_header_only() {
        assert!(evaluation_table(&Evaluation::new()).contains("baseline"));
    }
}

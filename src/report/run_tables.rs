//! Runs beside each other, as tables for a terminal and for Markdown.

use comfy_table::{Table, presets};
use serde_json::Value;

use super::table::{align_right, number, number_or_dash};
use crate::data::sample::Task;
use crate::runs::RunSummary;
use crate::runs::differences::{Comparison, MetricRow};

/// The metrics that a list shows, by task: the first that a run has.
const MAIN: [(Task, &[&str]); 4] = [
    (Task::Narrate, &["trace_error", "cider"]),
    (Task::Describe, &["cider", "attribute_accuracy", "token_f1"]),
    (Task::Locate, &["precision_at_0.5", "mean_iou"]),
    (Task::Detect, &["map", "map_boxes"]),
];

/// The columns of a comparison: the names of the runs, and of each but the first its difference.
fn titles(comparison: &Comparison) -> impl Iterator<Item = String> + '_ {
    std::iter::once("metric".to_string()).chain(comparison.runs.iter().cloned())
}

/// A list of runs.
pub fn list(runs: &[RunSummary]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    let header =
        ["run", "state", "steps", "loss", "validation", "metrics", "last step (UTC)", "time"];
    table.set_header(header);
    align_right(&mut table, [2, 3, 7]);
    for run in runs {
        let wanted = run.max_steps.map_or("–".into(), |steps| steps.to_string());
        let validation =
            run.validation.iter().map(|(task, loss)| format!("{task} {}", number(*loss)));
        table.add_row([
            run.name.clone(),
            run.state.name().into(),
            format!("{}/{wanted}", run.step),
            number_or_dash(run.loss),
            validation.collect::<Vec<_>>().join("\n"),
            main_metrics(run).join("\n"),
            run.time.map_or("–".into(), date),
            run.seconds.map_or("–".into(), duration),
        ]);
    }
    table.to_string()
}

/// The main metrics of the first split that has them.
fn main_metrics(run: &RunSummary) -> Vec<String> {
    let of_task = |(task, names): (Task, &[&str])| {
        names.iter().find_map(|name| {
            // `split.task.metric`, where a metric may have points of its own.
            let wanted = format!(".{}.{name}", task.name());
            let (key, value) = run.metrics.iter().find(|(key, _)| {
                key.strip_suffix(wanted.as_str()).is_some_and(|split| !split.contains('.'))
            })?;
            Some(format!("{key} {}", number(*value)))
        })
    };
    MAIN.into_iter().filter_map(of_task).collect()
}

/// `2026-11-24 18:05`, in UTC.
fn date(seconds: f64) -> String {
    let days = (seconds / 86_400.0).floor();
    let minutes = ((seconds - days * 86_400.0) / 60.0) as u64;
    let [year, month, day] = civil(days as i64);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, whose pattern repeats every 400 years
/// of 146 097 days.
fn civil(days: i64) -> [i64; 3] {
    // Years that begin in March have their odd day at the end.
    const FROM_MARCH_OF_0_TO_1970: i64 = 719_468;
    let days = days + FROM_MARCH_OF_0_TO_1970;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on: 153 days in every five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    [era * 400 + year + next, month, day]
}

/// `1 h 05 min`, `3 min 20 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// What is said where nothing differs.
const SAME: &str = "The experiments are the same, but for their names.";

/// A comparison for a terminal.
pub fn comparison(comparison: &Comparison) -> String {
    let mut keys = Table::new();
    keys.load_preset(presets::UTF8_FULL_CONDENSED);
    keys.set_header(std::iter::once("key".to_string()).chain(comparison.runs.iter().cloned()));
    for (key, values) in &comparison.experiments {
        keys.add_row(std::iter::once(key.clone()).chain(values.iter().map(value)));
    }
    let mut metrics = Table::new();
    metrics.load_preset(presets::UTF8_FULL_CONDENSED);
    metrics.set_header(titles(comparison));
    align_right(&mut metrics, 1..comparison.runs.len() + 1);
    for row in &comparison.metrics {
        metrics.add_row(std::iter::once(title(row)).chain(cells(row)));
    }
    let keys = if comparison.experiments.is_empty() { SAME.into() } else { keys.to_string() };
    let metrics = match comparison.metrics.is_empty() {
        true => "None of the runs has been measured.".to_string(),
        false => metrics.to_string(),
    };
    format!("{keys}\n\n{metrics}")
}

/// A comparison as Markdown.
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let line = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|text| text.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = |alignment: &str| format!("|---|{}\n", alignment.repeat(comparison.runs.len()));
    let mut text = String::new();
    if comparison.experiments.is_empty() {
        text += &format!("{SAME}\n\n");
    } else {
        let header = std::iter::once("key".to_string()).chain(comparison.runs.iter().cloned());
        text += &line(header.collect());
        text += &rule("---|");
        for (key, values) in &comparison.experiments {
            let code = |text: String| format!("`{text}`");
            text +=
                &line(std::iter::once(code(key.clone())).chain(values.iter().map(value)).collect());
        }
        text += "\n";
    }
    text += &line(titles(comparison).collect());
    text += &rule("---:|");
    for row in &comparison.metrics {
        text += &line(std::iter::once(title(row)).chain(cells(row)).collect());
    }
    text
}

/// A value of an experiment, as TOML has it.
fn value(value: &Option<Value>) -> String {
    match value {
        None => "–".into(),
        Some(Value::Null) => "false".into(),
        Some(value) => value.to_string(),
    }
}

fn title(row: &MetricRow) -> String {
    format!("{} {}", row.name, if row.lower_is_better { "↓" } else { "↑" })
}

/// The values, each but the first with its difference and whether that is better.
fn cells(row: &MetricRow) -> impl Iterator<Item = String> + '_ {
    row.values.iter().zip(&row.differences).enumerate().map(|(index, (value, difference))| {
        let difference = difference.filter(|_| index > 0).map(|difference| {
            let mark = match difference {
                0.0 => "",
                change if (change < 0.0) == row.lower_is_better => " ▲",
                _ => " ▼",
            };
            format!(
                " ({}{}{mark})",
                if difference >= 0.0 { "+" } else { "−" },
                number(difference.abs())
            )
        });
        format!("{}{}", number_or_dash(*value), difference.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::runs::State;

    fn two() -> Comparison {
        let row = |name: &str, lower_is_better, values: [f64; 2]| MetricRow {
            name: name.into(),
            lower_is_better,
            values: values.map(Some).into(),
            differences: vec![Some(0.0), Some(values[1] - values[0])],
        };
        Comparison {
            runs: vec!["runs/a".into(), "runs/b|c".into()],
            experiments: BTreeMap::from([("seed".into(), vec![Some(json!(0)), Some(json!(1))])]),
            metrics: vec![
                row("test.locate.mean_iou", false, [0.5, 0.25]),
                row("validation.locate.loss", true, [2.0, 1.5]),
            ],
        }
    }

    #[test]
    fn days_have_their_dates() {
        assert_eq!(date(0.0), "1970-01-01 00:00");
        // Unix time's billionth second, and the leap day of a year that 400 divides.
        assert_eq!(date(1e9), "2001-09-09 01:46");
        assert_eq!(date(951_782_400.0), "2000-02-29 00:00");
        assert_eq!(date(1_795_543_500.0), "2026-11-24 18:05");
        assert_eq!(
            [duration(7.25), duration(125.0), duration(3900.0)],
            ["7.2 s", "2 min 05 s", "1 h 05 min"]
        );
    }

    #[test]
    fn a_comparison_has_differences_and_says_which_are_better() {
        let table = comparison(&two());
        for text in ["seed", "0.250 (−0.250 ▼)", "1.500 (−0.500 ▲)", "mean_iou ↑", "loss ↓"]
        {
            assert!(table.contains(text), "{text}: {table}");
        }
        let text = comparison_markdown(&two());
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 3 + 4, "{text}");
        assert!(lines.iter().all(|line| columns(line) == 4), "{text}");
        let same = Comparison { experiments: BTreeMap::new(), ..two() };
        assert!(comparison(&same).starts_with(SAME));
    }

    #[test]
    fn a_list_has_a_line_for_each_run_with_its_main_metrics() {
        let run = RunSummary {
            name: "runs/a".into(),
            state: State::Stopped,
            step: 30,
            max_steps: None,
            loss: Some(1.25),
            validation: BTreeMap::from([("locate".into(), 0.5)]),
            metrics: BTreeMap::from([
                ("test.locate.mean_iou".into(), 0.4),
                ("test.locate.precision_at_0.5".into(), 0.3),
            ]),
            time: Some(0.0),
            seconds: None,
        };
        let table = list(&[run]);
        for text in
            ["stopped", "30/–", "1.250", "locate 0.500", "precision_at_0.5 0.300", "1970-01-01"]
        {
            assert!(table.contains(text), "{text}: {table}");
        }
        assert!(!table.contains("mean_iou"), "{table}");
    }
}

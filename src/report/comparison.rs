//! The report of a sweep: its variants beside each other, as a page, as Markdown and as CSV.

use std::fs;
use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};

use super::table::{align_right, number, number_or_dash};
use crate::ablation::summary::{Difference, Row, Summary, Values};
use crate::error::{Error, Result};

mod curves;
mod page;

/// The files, in the sweep's folder.
const PAGE_FILE: &str = "report.html";
const MARKDOWN_FILE: &str = "report.md";
const CSV_FILE: &str = "report.csv";

/// Writes `report.html`, `report.md` and `report.csv` into `folder`; the path of the page.
///
/// # Errors
/// [`Error::Io`] where a file cannot be written.
pub fn write(summary: &Summary, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let save = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
        Ok(path)
    };
    save(MARKDOWN_FILE, markdown(summary))?;
    save(CSV_FILE, csv(summary))?;
    save(PAGE_FILE, page::page(summary).into_string())
}

/// What marks mean, below every table.
const LEGEND: &str = "Mean ± standard deviation over the seeds. ▲ better and ▼ worse than the first \
                      variant: every seed of it than every seed of the first, with at least three \
                      seeds each. No mark: the seeds overlap, or they are fewer.";

/// The mean, its deviation where there are several seeds, and the mark.
fn cell(row: &Row, index: usize) -> String {
    let Some(values) = row.values.get(index) else { return "–".into() };
    format!("{}{}", mean_and_deviation(values), mark(row.difference(index)))
}

fn mean_and_deviation(values: &Values) -> String {
    match (values.mean(), values.deviation()) {
        (Some(mean), Some(deviation)) => format!("{} ± {}", number(mean), number(deviation)),
        (Some(mean), None) => number(mean),
        _ => "–".into(),
    }
}

fn mark(difference: Difference) -> &'static str {
    match difference {
        Difference::Better => " ▲",
        Difference::Worse => " ▼",
        Difference::Unclear => "",
    }
}

/// `metric ↓`
fn title(row: &Row) -> String {
    format!("{} {}", row.name, if row.lower_is_better { "↓" } else { "↑" })
}

fn rows(summary: &Summary) -> impl Iterator<Item = &Row> {
    summary.metrics.iter().chain(&summary.costs)
}

/// The table for a terminal: a line for each metric, a column for each variant.
pub fn table(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    let fixed = ["", "baseline"].map(str::to_string);
    table.set_header(fixed.into_iter().chain(summary.variants.iter().cloned()));
    align_right(&mut table, 1..summary.variants.len() + 2);
    for row in rows(summary) {
        let baseline = number_or_dash(row.baseline);
        let cells = (0..summary.variants.len()).map(|index| cell(row, index));
        table.add_row([title(row), baseline].into_iter().chain(cells));
    }
    let missing = summary.missing.iter().map(|name| format!("\nmissing: {name}"));
    format!("{table}\n{LEGEND}{}", missing.collect::<String>())
}

/// The same as a page of Markdown.
fn markdown(summary: &Summary) -> String {
    let cells = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|text| text.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = format!("# {}\n\n", summary.name);
    if !summary.question.is_empty() {
        text += &format!("{}\n\n", summary.question);
    }
    text += &format!("```console\n$ {}\n```\n\n", summary.command);
    let header = ["metric", "baseline"].map(str::to_string).into_iter();
    text += &cells(header.chain(summary.variants.iter().cloned()).collect());
    text += &format!("|---|---|{}\n", "---|".repeat(summary.variants.len()));
    for row in rows(summary) {
        let baseline = number_or_dash(row.baseline);
        let variants = (0..summary.variants.len()).map(|index| cell(row, index));
        text += &cells([title(row), baseline].into_iter().chain(variants).collect());
    }
    let seeds: Vec<_> = summary.finished.iter().map(|seeds| seeds.len().to_string()).collect();
    text += &cells(["finished seeds".into(), String::new()].into_iter().chain(seeds).collect());
    text += &format!("\n{LEGEND}\n");
    for name in &summary.missing {
        text += &format!("\nMissing: {name}\n");
    }
    text
}

/// One line for each value: metric, variant, seed, value.
fn csv(summary: &Summary) -> String {
    let mut text = String::from("metric,variant,seed,value\n");
    for row in rows(summary) {
        for (variant, values) in summary.variants.iter().zip(&row.values) {
            for (seed, value) in &values.0 {
                text += &format!("{},{},{seed},{value}\n", field(&row.name), field(variant));
            }
        }
    }
    text
}

/// A field of CSV (RFC 4180).
fn field(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ablation::summary::Curve;

    pub(super) fn summary() -> Summary {
        let values = |values: &[f64]| Values((0..).zip(values.iter().copied()).collect());
        let falling = |from: f64| (1..5).map(|i| (i * 10, from / i as f64)).collect();
        Summary {
            name: "points".into(),
            question: "Do places help?".into(),
            command: "pixelllm ablate points.toml".into(),
            variants: vec!["per word".into(), "none, <b>\"x\"|".into()],
            finished: vec![vec![0, 1, 2], vec![0, 1, 2]],
            missing: vec!["none, seed 3: was killed".into()],
            metrics: vec![Row {
                name: "test.locate.mean_iou".into(),
                lower_is_better: false,
                baseline: Some(0.1),
                values: vec![values(&[0.4, 0.5, 0.6]), values(&[0.1, 0.2, 0.3])],
            }],
            costs: vec![Row {
                name: "minutes".into(),
                lower_is_better: true,
                baseline: None,
                values: vec![values(&[2.0, 2.0, 2.0]), Values(vec![(2, 1.0)])],
            }],
            curves: vec![
                Curve { validation: BTreeMap::from([("locate".into(), falling(1.0))]) },
                Curve { validation: BTreeMap::from([("locate".into(), falling(2.0))]) },
            ],
        }
    }

    #[test]
    fn the_table_has_means_deviations_and_marks() {
        let table = table(&summary());
        for text in ["0.500 ± 0.100", "0.200 ± 0.100 ▼", "mean_iou ↑", "minutes ↓", "was killed"]
        {
            assert!(table.contains(text), "{text}: {table}");
        }
    }

    #[test]
    fn markdown_keeps_its_columns_whatever_a_variant_is_called() {
        let text = markdown(&summary());
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines.iter().all(|line| columns(line) == 5), "{text}");
    }

    #[test]
    fn csv_has_a_line_for_each_value_with_its_seed() {
        let text = csv(&summary());
        assert!(text.contains("test.locate.mean_iou,per word,1,0.5\n"), "{text}");
        assert!(text.contains("test.locate.mean_iou,\"none, <b>\"\"x\"\"|\",2,0.3\n"), "{text}");
        // One of three is known.
        assert!(text.contains("minutes,\"none, <b>\"\"x\"\"|\",2,1\n"), "{text}");
        assert_eq!(text.lines().count(), 1 + 6 + 4);
    }

    #[test]
    fn three_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let page = write(&summary(), &folder.path().join("sweep")).unwrap();
        assert!(fs::read_to_string(page).unwrap().starts_with("<!DOCTYPE html>"));
        assert!(folder.path().join("sweep/report.md").exists());
        assert!(folder.path().join("sweep/report.csv").exists());
    }
}

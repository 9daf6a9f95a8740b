//! `report.html`: one file with its style, script and images inside.

use maud::{Markup, html};

use super::frame::frame;
use super::gallery::gallery;
use super::table::{MetricRow, Verdict, metric_rows, number, number_or_dash, times};
use super::{Report, chart, curves};
use crate::error::Result;
use crate::metrics::score::Evaluation;

/// The whole page.
pub(super) fn page(report: &Report) -> Result<Markup> {
    let content = html! {
        (heading(report))
        (metrics(&report.evaluation))
        (learning(report))
        (gallery(&report.gallery)?)
        (experiment(&report.experiment_toml))
    };
    Ok(frame(&report.title, content, Some(include_str!("page.js"))))
}

fn heading(report: &Report) -> Markup {
    html! {
        header {
            h1 { (report.title) }
            @if !report.command.is_empty() { pre.command { code { (report.command) } } }
            @if !report.facts.is_empty() {
                dl.facts {
                    @for (name, value) in &report.facts { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }
}

fn metrics(evaluation: &Evaluation) -> Markup {
    let rows = metric_rows(evaluation);
    html! {
        section {
            h2 { "On held-out images" }
            @if rows.is_empty() { p.quiet { "This run has not been evaluated." } }
            @else {
                div.wide { table {
                    thead { tr {
                        th scope="col" { "task" }
                        th scope="col" { "metric" }
                        th.number scope="col" { "value" }
                        th.number scope="col" { "baseline" }
                        th.number scope="col" { "ratio" }
                        th scope="col" { span.word-of-verdict { "verdict" } }
                        th.number.count scope="col" { "n" }
                    } }
                    @for rows in rows.chunk_by(|a, b| a.split == b.split) { (split(rows)) }
                } }
                p.quiet {
                    "The baseline is what a trivial answer reaches on the same images: the centre "
                    "point, the mean box, the most frequent caption. ↓ is better when lower, "
                    "↑ when higher."
                }
            }
        }
    }
}

fn split(rows: &[MetricRow<'_>]) -> Markup {
    let name = rows.first().map_or("", |row| row.split);
    html! {
        tbody {
            tr { th.split scope="rowgroup" colspan="7" { (name) } }
            @for rows in rows.chunk_by(|a, b| a.task == b.task) {
                @for (i, row) in rows.iter().enumerate() { (metric(row, i == 0)) }
            }
        }
    }
}

/// One line; the task is shown on its first line and read out on every one.
fn metric(row: &MetricRow<'_>, is_first: bool) -> Markup {
    html! {
        tr.first-of-task[is_first] {
            td { span.again[!is_first] { (row.task) } }
            td.metric { (breakable(row.metric)) "\u{a0}" span.quiet { @if row.lower_is_better() { "↓" } @else { "↑" } } }
            td.number { b { (number(row.score.value)) } }
            td.number { (number_or_dash(row.score.baseline)) }
            td.number { (times(row.ratio())) }
            td { @if let Some(verdict) = row.verdict() { (verdict_badge(verdict)) } }
            td.number.count { (row.score.n) }
        }
    }
}

/// A name that a narrow screen may break after an underscore.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive('_') { (part) @if part.ends_with('_') { wbr; } } }
}

fn verdict_badge(verdict: Verdict) -> Markup {
    html! {
        span class={ "verdict " (verdict.name()) } {
            span.word-of-verdict { (verdict.name()) }
        }
    }
}

fn learning(report: &Report) -> Markup {
    let curves::Charts { charts, superseded } = curves::charts(&report.records);
    html! {
        section {
            h2 { "Learning" }
            @if charts.is_empty() { p.quiet { "This run has no records of its steps." } }
            @else {
                p.quiet {
                    "Over the steps. Light: every step; bold: smoothed; dots: the validation split. "
                    "Losses are before their weights, but for the first."
                    @if superseded > 0 {
                        " Left out: " (superseded) " records of steps that a resumed run did again."
                    }
                }
                div.charts { @for (i, c) in charts.iter().enumerate() { (chart::chart(i, c)) } }
            }
        }
    }
}

fn experiment(toml: &str) -> Markup {
    html! {
        section {
            h2 { "Experiment" }
            details {
                summary { "The resolved experiment, as TOML" }
                pre { code { (toml) } }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::{example, palette};

    fn html(report: &Report) -> String {
        page(report).unwrap().into_string()
    }

    #[test]
    fn every_word_is_once_in_the_page_as_a_focusable_span_of_its_colour() {
        let mut report = example::report();
        report.gallery.truncate(1);
        let html = html(&report);
        let words = &report.gallery[0].narration.as_ref().unwrap().words;
        for (i, word) in words.iter().enumerate() {
            let span = format!(
                "<span class=\"word\" tabindex=\"0\" data-key=\"w{i}\" style=\"--c:{}\"",
                palette::word(i, words.len())
            );
            assert_eq!(html.matches(&span).count(), 1, "{span}");
            assert!(html.contains(&format!(">{}</span>", word.text)));
        }
        assert_eq!(html.matches("<span class=\"word\"").count(), words.len());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let html = html(&example::report()).replace("http://www.w3.org/2000/svg", "");
        for scheme in ["http://", "https://", "src=\"/", "@import", "url(h"] {
            assert!(!html.contains(scheme), "{scheme}");
        }
        assert!(html.contains("href=\"data:image/png;base64,"));
    }

    #[test]
    fn hostile_text_stays_text_wherever_it_is() {
        let evil = "</script><script>alert(\"1\")</script><img src='x' onerror=alert(1)>\"'&";
        let mut report = example::report();
        report.title = evil.into();
        report.command = evil.into();
        report.experiment_toml = evil.into();
        report.facts.push((evil.into(), evil.into()));
        let scores = report.evaluation.values().next().unwrap().clone();
        report.evaluation.insert(evil.into(), scores.clone());
        report.evaluation.get_mut("test").unwrap().insert(evil.into(), scores["locate"].clone());
        for item in &mut report.gallery {
            item.name = evil.into();
            item.split = evil.into();
            item.reference_narration = Some(evil.into());
            for word in item.narration.iter_mut().flat_map(|n| &mut n.words) {
                word.text = evil.into();
            }
            for described in &mut item.descriptions {
                described.description.caption = evil.into();
                described.reference = Some(evil.into());
            }
            for located in &mut item.locations {
                located.location.expression = evil.into();
            }
        }
        let html = html(&report);
        assert!(!html.contains("<img") && !html.contains("alert(\"1\")"));
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("</script").count(), 1);
        assert!(html.matches("&lt;/script&gt;").count() > 10);
    }

    #[test]
    fn a_report_of_nothing_says_so() {
        let nothing = Report {
            title: "nothing".into(),
            command: String::new(),
            experiment_toml: String::new(),
            records: Vec::new(),
            evaluation: Evaluation::new(),
            gallery: Vec::new(),
            facts: Vec::new(),
        };
        let html = html(&nothing);
        assert!(html.contains("has not been evaluated"));
        assert!(html.contains("no records of its steps"));
        assert!(html.contains("No held-out images"));
    }

    #[test]
    fn metrics_are_marked_better_or_worse() {
        let html = html(&example::report());
        assert!(
            html.contains("<span class=\"verdict better\"><span class=\"word-of-verdict\">better<")
        );
        assert!(
            html.contains("<span class=\"verdict worse\"><span class=\"word-of-verdict\">worse<")
        );
        assert!(html.contains("trace_<wbr>error\u{a0}<span class=\"quiet\">↓"));
        assert!(html.contains("mean_<wbr>iou\u{a0}<span class=\"quiet\">↑"));
    }
}

//! The page of a sweep.

use maud::{Markup, html};

use super::{LEGEND, cell, curves, title};
use crate::ablation::summary::{Difference, Row, Summary};
use crate::report::frame::frame;
use crate::report::table::number_or_dash;

/// The whole page.
pub(super) fn page(summary: &Summary) -> Markup {
    let content = html! {
        header {
            h1 { (summary.name) }
            @if !summary.question.is_empty() { p { (summary.question) } }
            pre.command { code { (summary.command) } }
        }
        (section("On held-out images", &summary.metrics, summary))
        (section("Cost", &summary.costs, summary))
        @for name in &summary.missing { p { "Missing: " (name) } }
        section {
            h2 { "Learning" }
            p.quiet { "Losses on the validation split over the steps, mean over the seeds." }
            (curves::charts(summary))
        }
    };
    frame(&summary.name, content, None)
}

fn section(name: &str, rows: &[Row], summary: &Summary) -> Markup {
    html! {
        section {
            h2 { (name) }
            @if rows.is_empty() { p.quiet { "No run is finished." } }
            @else {
                div.wide { table {
                    thead { tr {
                        th scope="col" { "metric" }
                        th.number scope="col" { "baseline" }
                        @for variant in &summary.variants { th.number scope="col" { (variant) } }
                    } }
                    tbody { @for row in rows { (line(row)) } }
                } }
                p.quiet { (LEGEND) }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    html! {
        tr {
            th.metric scope="row" { (title(row)) }
            td.number { (number_or_dash(row.baseline)) }
            @for index in 0..row.values.len() {
                @let difference = row.difference(index);
                td.number.better[difference == Difference::Better].worse[difference == Difference::Worse] {
                    (cell(row, index))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::comparison::tests::summary;

    #[test]
    fn the_page_marks_differences_and_escapes_names() {
        let html = page(&summary()).into_string();
        assert!(html.contains("<td class=\"number worse\">0.200 ± 0.100 ▼<"), "{html}");
        assert!(html.contains("none, &lt;b&gt;&quot;x&quot;|") && !html.contains("<b>\"x\""));
        assert!(html.contains("Missing: none, seed 3: was killed"));
        assert!(html.contains("<svg"));
    }

    #[test]
    fn a_sweep_of_which_nothing_is_finished_says_so() {
        let nothing = Summary { metrics: vec![], costs: vec![], curves: vec![], ..summary() };
        assert!(page(&nothing).into_string().contains("No run is finished."));
    }
}

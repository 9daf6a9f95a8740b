//! What annotations are like: a table for the terminal, and a page with a histogram of each quantity.

use comfy_table::{Table, presets};
use maud::{Markup, html};

use super::axis::short;
use super::frame::frame;
use super::table::align_right;
use crate::data::statistics::{Distribution, Statistics};

/// Shares of the quantiles that are shown: smallest, median, 95 %, largest.
const SHARES: [f64; 4] = [0.0, 0.5, 0.95, 1.0];

/// Headings of the columns, the quantity's apart.
const COLUMNS: [&str; 6] = ["count", "mean", "min", "median", "95 %", "max"];

/// Size of a histogram, in pixels.
const CHART: (f64, f64) = (360.0, 96.0);

/// One line per quantity.
pub fn statistics_table(statistics: &Statistics) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("quantity").chain(COLUMNS));
    align_right(&mut table, 1..=COLUMNS.len());
    for distribution in &statistics.distributions {
        let name = distribution.quantity.to_string();
        table.add_row(std::iter::once(name).chain(numbers(distribution)));
    }
    table.to_string()
}

fn numbers(distribution: &Distribution) -> Vec<String> {
    let quantiles = SHARES.map(|share| decimal(distribution.quantile(share)));
    let first = [distribution.count().to_string(), decimal(distribution.mean())];
    first.into_iter().chain(quantiles).collect()
}

/// Whole numbers whole, others with two decimals.
fn decimal(value: f64) -> String {
    let decimals = format!("{value:.2}");
    decimals.strip_suffix(".00").map_or(decimals.clone(), String::from)
}

/// The page.
pub fn statistics_page(title: &str, all: &[Statistics]) -> String {
    let content = html! {
        header { h1 { (title) } }
        @for statistics in all { (section(statistics)) }
    };
    frame(title, content, None).into_string()
}

fn section(statistics: &Statistics) -> Markup {
    html! {
        section {
            h2 { (statistics.name) }
            p.quiet {
                (statistics.task.name()) ": " (statistics.num_texts) " texts about "
                (statistics.num_images) " images"
            }
            @if !statistics.skipped.is_empty() { pre { (statistics.skipped) } }
            div.wide { table {
                thead { tr {
                    th scope="col" { "quantity" }
                    @for column in COLUMNS { th.number scope="col" { (column) } }
                    th scope="col" { "" }
                } }
                tbody { @for distribution in &statistics.distributions { tr.first-of-task {
                    td { (distribution.quantity) }
                    @for number in numbers(distribution) { td.number { (number) } }
                    td { (histogram(distribution)) }
                } } }
            } }
        }
    }
}

fn histogram(distribution: &Distribution) -> Markup {
    let bins = distribution.histogram();
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    let (width, height) = CHART;
    let bar = width / bins.len().max(1) as f64;
    let room = height - 16.0;
    let low = bins.first().map_or(0.0, |bin| bin.from);
    let high = bins.last().map_or(0.0, |bin| bin.to);
    html! {
        svg viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) role="img"
            aria-label={ "Histogram of " (distribution.quantity) } {
            @for (index, bin) in bins.iter().enumerate() {
                @let length = room * bin.count as f64 / most;
                rect x=(format!("{:.1}", bar * index as f64)) y=(format!("{:.1}", room - length))
                    width=(format!("{:.1}", (bar - 1.0).max(0.5))) height=(format!("{length:.1}"))
                    fill="var(--accent)" {
                    title { (short(bin.from)) " to " (short(bin.to)) ": " (bin.count) }
                }
            }
            text x="0" y=(height - 3.0) font-size="11" fill="var(--quiet)" { (short(low)) }
            text x=(width) y=(height - 3.0) font-size="11" fill="var(--quiet)"
                text-anchor="end" { (short(high)) }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::formats::Skipped;
    use crate::data::sample::Task;

    fn statistics() -> Statistics {
        let words = Distribution::new("words per text", [1.0, 2.0, 2.0, 12.5]).unwrap();
        Statistics {
            name: "<narratives>".into(),
            task: Task::Narrate,
            num_images: 3,
            num_texts: 4,
            skipped: Skipped::default(),
            distributions: vec![words],
        }
    }

    #[test]
    fn the_table_has_a_line_per_quantity() {
        let table = statistics_table(&statistics());
        let line = table.lines().find(|line| line.contains("words per text")).unwrap();
        let cells: Vec<_> = line.split('┆').map(|cell| cell.trim_matches(['│', ' '])).collect();
        assert_eq!(cells, ["words per text", "4", "4.38", "1", "2", "12.50", "12.50"]);
    }

    #[test]
    fn the_page_escapes_names_and_has_a_bar_per_bin() {
        let statistics = statistics();
        let page = statistics_page("Data", std::slice::from_ref(&statistics));
        assert!(page.contains("&lt;narratives&gt;") && !page.contains("<narratives>"));
        let bars = statistics.distributions[0].histogram().len();
        assert_eq!(page.matches("<rect ").count(), bars);
        assert!(page.contains("4 texts about 3 images"));
    }
}

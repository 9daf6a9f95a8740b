//! A chart as inline SVG: every step in a light line, smoothed in a bold one, validation in dots.

use std::fmt::Write;

use maud::{Markup, html};

use super::curves::{Chart, Curve, Sample};
use super::palette;
use super::plot::{Figure, Plot};

/// A chart with its title above and its last values below. `index` is its number in the page.
pub(super) fn chart(index: usize, chart: &Chart) -> Markup {
    let figure = Figure {
        index,
        title: chart.title,
        label: &summary(chart),
        may_be_logarithmic: chart.may_be_logarithmic,
    };
    let lines = |plot: &Plot| {
        html! {
            @for curve in &chart.curves { (raw_line(curve, plot)) }
            @for curve in &chart.curves { (smooth_line_and_dots(curve, plot)) }
        }
    };
    let gaps: usize = chart.curves.iter().map(|c| c.gaps).sum();
    let below = html! {
        (legend(chart))
        @if gaps > 0 { p.quiet { "Not finite, left out: " (gaps) "." } }
    };
    figure.draw(all(chart), lines, below)
}

fn all(chart: &Chart) -> impl Iterator<Item = Sample> + Clone + '_ {
    chart.curves.iter().flat_map(|c| c.raw.iter().chain(&c.smooth).chain(&c.validation).copied())
}

fn raw_line(curve: &Curve, plot: &Plot) -> Markup {
    let class = if curve.smooth.is_empty() { "smooth" } else { "raw" };
    html! { path class=(class) stroke=[stroke(curve)] d=(plot.line(&curve.raw)) {} }
}

fn smooth_line_and_dots(curve: &Curve, plot: &Plot) -> Markup {
    let dots = plot.dots(&curve.validation);
    html! {
        path.smooth stroke=[stroke(curve)] d=(plot.line(&curve.smooth)) {}
        // Dots are lines of no length with round ends; the ring is a smaller dot on a larger one.
        @if !dots.is_empty() {
            path.dot stroke=[stroke(curve)] d=(dots) {}
            path.dot.hole d=(dots) {}
        }
    }
}

/// A task's colour; a line without a task has the colour of text, which follows the theme.
fn stroke(curve: &Curve) -> Option<String> {
    curve.task.map(|task| palette::task(task).to_string())
}

fn legend(chart: &Chart) -> Markup {
    html! {
        ul.legend {
            @for curve in &chart.curves {
                li {
                    @if let Some(task) = curve.task {
                        i style={ "background:" (palette::task(task)) } {}
                        (task.name()) " "
                    }
                    @else { "at the end " }
                    @if let Some(last) = curve.last { b { (significant(last)) } }
                    @if let Some(last) = curve.last_validation {
                        " · validation " b { (significant(last)) }
                    }
                }
            }
        }
    }
}

/// The chart in a sentence, for those who cannot see it.
fn summary(chart: &Chart) -> String {
    let mut text = format!("{} over the steps.", chart.title);
    for curve in &chart.curves {
        if let Some(last) = curve.last {
            let name = curve.task.map_or("At the end", |t| t.name());
            // Writing into a string cannot fail.
            let _ = write!(text, " {name}: {}.", significant(last));
        }
    }
    text
}

/// Three significant digits.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 1e-3 || value == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::curves::charts;
    use crate::report::example;

    #[test]
    fn charts_of_a_hundred_thousand_steps_are_small() {
        let records = example::records(100_000);
        let markup: String = charts(&records)
            .charts
            .iter()
            .enumerate()
            .map(|(i, c)| chart(i, c).into_string())
            .collect();
        assert!(markup.len() < 200_000, "{} bytes", markup.len());
        assert!(markup.len() > 20_000, "{} bytes", markup.len());
    }

    #[test]
    fn values_that_are_not_finite_are_counted_below_the_chart() {
        let mut records = example::records(50);
        for record in &mut records {
            if let crate::training::record::Record::Step(step) = record {
                step.losses.loss = f64::NAN;
            }
        }
        let charts = charts(&records).charts;
        let loss: String = charts.iter().take(1).map(|c| chart(0, c).into_string()).collect();
        assert!(loss.contains("Not finite, left out: 50."), "{loss}");
        assert!(!loss.contains("NaN"), "{loss}");
    }
}

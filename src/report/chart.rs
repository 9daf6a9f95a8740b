//! A chart as inline SVG: every step in a light line, smoothed in a bold one, validation in dots.

use std::fmt::Write;

use maud::{Markup, html};

use super::axis::{Axis, short};
use super::canvas::tenth;
use super::curves::{Chart, Curve, Sample};
use super::palette;

/// Size of the drawing, in units of about a pixel.
const WIDTH: f32 = 400.0;
const HEIGHT: f32 = 220.0;
/// Room for the names of ticks.
const LEFT: f32 = 40.0;
const BOTTOM: f32 = 20.0;
/// Room for half a name, half a line.
const RIGHT: f32 = 18.0;
const TOP: f32 = 8.0;

/// A chart with its title above and its last values below. `index` is its number in the page.
pub(super) fn chart(index: usize, chart: &Chart) -> Markup {
    let steps = all(chart).map(|s| s.step).fold(1.0, f64::max);
    let x = Axis::straight(0.0, steps);
    let y = Axis::around(all(chart).map(|s| s.value))
        .map(|y| if chart.may_be_logarithmic { y } else { y.straightened() });
    let gaps: usize = chart.curves.iter().map(|c| c.gaps).sum();
    html! {
        figure.chart {
            figcaption {
                (chart.title)
                @if y.is_some_and(|y| y.is_logarithmic()) { " " small { "logarithmic" } }
            }
            @if let Some(y) = y { (plot(index, chart, x, y)) }
            @else { p.quiet { "Not one value of this curve is finite." } }
            (legend(chart))
            @if gaps > 0 { p.quiet { "Not finite, left out: " (gaps) "." } }
        }
    }
}

fn all(chart: &Chart) -> impl Iterator<Item = Sample> + '_ {
    chart.curves.iter().flat_map(|c| c.raw.iter().chain(&c.smooth).chain(&c.validation).copied())
}

fn plot(index: usize, chart: &Chart, x: Axis, y: Axis) -> Markup {
    let place = Placement { x, y };
    let clip = format!("chart-{index}");
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(summary(chart)) {
            clipPath id=(clip) {
                rect x=(LEFT) y="0" width=(WIDTH - LEFT) height=(HEIGHT - BOTTOM) {}
            }
            (grid(&place))
            g clip-path={ "url(#" (clip) ")" } {
                @for curve in &chart.curves { (raw_line(curve, &place)) }
                @for curve in &chart.curves { (smooth_line_and_dots(curve, &place)) }
            }
        }
    }
}

fn grid(place: &Placement) -> Markup {
    html! {
        g.grid {
            @for tick in place.y.ticks() {
                line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(place.y_of(tick)) y2=(place.y_of(tick)) {}
                text x=(LEFT - 6.0) y=(place.y_of(tick) + 3.5) text-anchor="end" { (short(tick)) }
            }
            @for tick in place.x.ticks() {
                text x=(place.x_of(tick)) y=(HEIGHT - 4.0) text-anchor="middle" { (short(tick)) }
            }
        }
    }
}

fn raw_line(curve: &Curve, place: &Placement) -> Markup {
    let class = if curve.smooth.is_empty() { "smooth" } else { "raw" };
    html! { path class=(class) stroke=[stroke(curve)] d=(place.line(&curve.raw)) {} }
}

fn smooth_line_and_dots(curve: &Curve, place: &Placement) -> Markup {
    let dots = place.dots(&curve.validation);
    html! {
        path.smooth stroke=[stroke(curve)] d=(place.line(&curve.smooth)) {}
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

/// Where steps and values are in the drawing.
struct Placement {
    x: Axis,
    y: Axis,
}

impl Placement {
    fn x_of(&self, step: f64) -> f32 {
        tenth(LEFT + self.x.share(step) as f32 * (WIDTH - LEFT - RIGHT))
    }

    fn y_of(&self, value: f64) -> f32 {
        // Far outside is as good as further outside, and shorter to write.
        let share = self.y.share(value).clamp(-0.5, 1.5) as f32;
        tenth(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP))
    }

    /// Path data of a line that is interrupted at gaps.
    fn line(&self, samples: &[Sample]) -> String {
        let mut path = String::new();
        for run in samples.split(|s| !s.value.is_finite()) {
            for (i, sample) in run.iter().enumerate() {
                let letter = if i == 0 { 'M' } else { 'L' };
                let (x, y) = (self.x_of(sample.step), self.y_of(sample.value));
                // Writing into a string cannot fail.
                let _ = write!(path, "{letter}{x} {y}");
            }
            if run.len() == 1 {
                // A value between two gaps is a dot.
                path.push_str("h0");
            }
        }
        path
    }

    fn dots(&self, samples: &[Sample]) -> String {
        let seen = samples.iter().filter(|s| s.value.is_finite());
        seen.map(|s| format!("M{} {}h0", self.x_of(s.step), self.y_of(s.value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::curves::charts;
    use crate::report::example;

    #[test]
    fn a_gap_interrupts_the_line() {
        let place = Placement { x: Axis::straight(0.0, 4.0), y: Axis::straight(0.0, 1.0) };
        let values = [0.0, 1.0, f64::NAN, 0.5, f64::NAN];
        let samples: Vec<_> = (0..)
            .zip(values)
            .map(|(step, value)| Sample { step: f64::from(step), value })
            .collect();
        assert_eq!(place.line(&samples), "M40 200L125.5 8M296.5 104h0");
    }

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

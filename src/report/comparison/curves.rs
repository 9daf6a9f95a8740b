//! Validation losses of all variants of a sweep in one chart for each task.

use std::collections::BTreeSet;
use std::fmt::Write;

use maud::{Markup, html};

use crate::ablation::summary::Summary;
use crate::report::axis::{Axis, short};
use crate::report::canvas::tenth;
use crate::report::palette;

/// Size of a drawing, and the room around it for the names of ticks, in units of about a pixel.
const WIDTH: f32 = 400.0;
const HEIGHT: f32 = 220.0;
const LEFT: f32 = 40.0;
const BOTTOM: f32 = 20.0;
const RIGHT: f32 = 18.0;
const TOP: f32 = 8.0;

/// A chart for each task that any variant has.
pub(super) fn charts(summary: &Summary) -> Markup {
    let tasks: BTreeSet<&str> = summary
        .curves
        .iter()
        .flat_map(|curve| curve.validation.keys().map(String::as_str))
        .collect();
    html! {
        @if tasks.is_empty() { p.quiet { "No run has looked at the validation split yet." } }
        div.charts { @for task in tasks { (chart(summary, task)) } }
    }
}

fn chart(summary: &Summary, task: &str) -> Markup {
    let lines: Vec<&[(usize, f64)]> = summary
        .curves
        .iter()
        .map(|curve| curve.validation.get(task).map(Vec::as_slice).unwrap_or_default())
        .collect();
    let points = || lines.iter().flat_map(|line| line.iter());
    let x = Axis::straight(0.0, points().map(|(step, _)| *step as f64).fold(1.0, f64::max));
    let y = Axis::around(points().map(|(_, loss)| *loss));
    html! {
        figure.chart {
            figcaption { (task) @if y.is_some_and(|y| y.is_logarithmic()) { " " small { "logarithmic" } } }
            @if let Some(y) = y { (plot(task, &lines, x, y)) }
            @else { p.quiet { "Not one value of this curve is finite." } }
            ul.legend {
                @for (index, (name, line)) in summary.variants.iter().zip(&lines).enumerate() {
                    li {
                        i style={ "background:" (palette::word(index, lines.len())) } {}
                        (name)
                        @if let Some((_, last)) = line.last() { " " b { (format!("{last:.3}")) } }
                    }
                }
            }
        }
    }
}

fn plot(task: &str, lines: &[&[(usize, f64)]], x: Axis, y: Axis) -> Markup {
    let x_of = |step: f64| tenth(LEFT + x.share(step) as f32 * (WIDTH - LEFT - RIGHT));
    let y_of = |loss: f64| {
        let share = y.share(loss).clamp(-0.5, 1.5) as f32;
        tenth(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP))
    };
    let path = |line: &[(usize, f64)]| {
        let mut path = String::new();
        let mut letter = 'M';
        for (step, loss) in line {
            // A loss that is not finite interrupts the line.
            if !loss.is_finite() {
                letter = 'M';
                continue;
            }
            // Writing into a string cannot fail.
            let _ = write!(path, "{letter}{} {}", x_of(*step as f64), y_of(*loss));
            letter = 'L';
        }
        path
    };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
            aria-label={ "Loss of " (task) " on the validation split over the steps" } {
            g.grid {
                @for tick in y.ticks() {
                    line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y_of(tick)) y2=(y_of(tick)) {}
                    text x=(LEFT - 6.0) y=(y_of(tick) + 3.5) text-anchor="end" { (short(tick)) }
                }
                @for tick in x.ticks() {
                    text x=(x_of(tick)) y=(HEIGHT - 4.0) text-anchor="middle" { (short(tick)) }
                }
            }
            @for (index, line) in lines.iter().enumerate() {
                path.smooth stroke=(palette::word(index, lines.len())) d=(path(line)) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::comparison::tests::summary;

    #[test]
    fn each_variant_has_a_line_and_a_gap_interrupts_it() {
        let mut summary = summary();
        for curve in &mut summary.curves {
            if let Some(point) = curve.validation.values_mut().next().and_then(|l| l.get_mut(1)) {
                point.1 = f64::NAN;
            }
        }
        let html = charts(&summary).into_string();
        assert_eq!(html.matches("<path class=\"smooth\"").count(), 2);
        assert!(!html.contains("NaN"), "{html}");
        let lines: Vec<_> = html.split(" d=\"").skip(1).collect();
        assert!(
            lines
                .iter()
                .all(|line| line.split('"').next().is_some_and(|d| d.matches('M').count() == 2))
        );
    }
}

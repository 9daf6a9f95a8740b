//! Validation losses of all variants of a sweep in one chart for each task.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::ablation::summary::Summary;
use crate::report::curves::Sample;
use crate::report::palette;
use crate::report::plot::{Figure, Plot};

/// A chart for each task that any variant has.
pub(super) fn charts(summary: &Summary) -> Markup {
    let tasks: BTreeSet<&str> = summary
        .curves
        .iter()
        .flat_map(|curve| curve.validation.keys().map(String::as_str))
        .collect();
    html! {
        @if tasks.is_empty() { p.quiet { "No run has looked at the validation split yet." } }
        div.charts {
            @for (index, task) in tasks.into_iter().enumerate() { (chart(index, summary, task)) }
        }
    }
}

/// The losses of a task, a line for each variant.
fn chart(index: usize, summary: &Summary, task: &str) -> Markup {
    let lines: Vec<Vec<Sample>> = summary
        .curves
        .iter()
        .map(|curve| {
            let losses = curve.validation.get(task).into_iter().flatten();
            losses.map(|&(step, value)| Sample { step: step as f64, value }).collect()
        })
        .collect();
    let color = |variant: usize| palette::word(variant, lines.len());
    let figure = Figure {
        index,
        title: task,
        label: &format!("Loss of {task} on the validation split over the steps"),
        may_be_logarithmic: true,
    };
    let paths = |plot: &Plot| {
        html! {
            @for (variant, line) in lines.iter().enumerate() {
                path.smooth stroke=(color(variant)) d=(plot.line(line)) {}
            }
        }
    };
    let legend = html! {
        ul.legend {
            @for (variant, (name, line)) in summary.variants.iter().zip(&lines).enumerate() {
                li {
                    i style={ "background:" (color(variant)) } {}
                    (name)
                    @if let Some(last) = line.last() { " " b { (format!("{:.3}", last.value)) } }
                }
            }
        }
    };
    figure.draw(lines.iter().flatten().copied(), paths, legend)
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

//! Loss curves of several runs over one another: a page, or one drawing as SVG or PNG.

use std::collections::BTreeSet;
use std::sync::Arc;

use maud::{Markup, PreEscaped, html};
use resvg::{tiny_skia, usvg};

use super::curves::{Curve, Sample, charts};
use super::frame::frame;
use super::palette::{self, Color};
use super::plot::{Figure, Plot};
use super::text::{FONT_FAMILY, FONTS, text_width};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::training::record::Record;

/// A run and what its steps measured.
#[derive(Debug, Clone, Copy)]
pub struct NamedRecords<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its records.
    pub records: &'a [Record],
}

/// Size of a chart in a drawing that stands alone, with its title, and the room between two, in pixels.
const CHART: [f32; 2] = [480.0, 300.0];
const GAP: f32 = 24.0;
/// Height of a chart's title, and of a line of the legend.
const TITLE: f32 = 24.0;
const LEGEND_LINE: f32 = 22.0;
const FONT_SIZE: f32 = 13.0;
/// How much larger than its SVG a PNG is, so that it is sharp on paper.
const PNG_SCALE: f32 = 2.0;

/// What pages say with their style sheet: a drawing has its own.
const STYLE: &str = "text { font-size: 13px; fill: #1d2025; } .title { font-weight: bold; } \
                     path { fill: none; stroke-linecap: round; stroke-linejoin: round; } \
                     .smooth { stroke-width: 2; } .dot { stroke-width: 7; } .grid line { stroke: #e2e3e6; } \
                     .grid text { fill: #646b76; font-size: 11px; }";

/// A chart of one loss of one task, a curve for each run that has it.
struct Compared {
    title: String,
    may_be_logarithmic: bool,
    /// For each run.
    curves: Vec<Option<Curve>>,
}

/// Every chart in which a run has something to show, in the order of a run's report. Where `wanted` is not
/// empty, only those with these titles, such as `Text loss`.
fn compared(runs: &[NamedRecords<'_>], wanted: &[String]) -> Vec<Compared> {
    let of_runs: Vec<_> = runs.iter().map(|run| charts(run.records).charts).collect();
    let mut titles: Vec<&'static str> = Vec::new();
    for chart in of_runs.iter().flatten() {
        let is_loss = chart.title.to_lowercase().ends_with("loss");
        let is_wanted = match wanted.is_empty() {
            true => is_loss,
            false => wanted.iter().any(|title| title.eq_ignore_ascii_case(chart.title)),
        };
        if is_wanted && !titles.contains(&chart.title) {
            titles.push(chart.title);
        }
    }
    let mut found = Vec::new();
    for title in titles {
        let of_title: Vec<_> =
            of_runs.iter().map(|charts| charts.iter().find(|chart| chart.title == title)).collect();
        let tasks: BTreeSet<Option<Task>> =
            of_title.iter().flatten().flat_map(|chart| &chart.curves).map(|c| c.task).collect();
        for task in tasks {
            let curve = |chart: &Option<&super::curves::Chart>| {
                chart.and_then(|chart| chart.curves.iter().find(|c| c.task == task).cloned())
            };
            found.push(Compared {
                title: task.map_or(title.to_string(), |task| format!("{title}, {}", task.name())),
                may_be_logarithmic: of_title.iter().flatten().all(|c| c.may_be_logarithmic),
                curves: of_title.iter().map(curve).collect(),
            });
        }
    }
    found
}

impl Compared {
    fn samples(&self) -> impl Iterator<Item = Sample> + Clone + '_ {
        let curves = self.curves.iter().flatten();
        curves.flat_map(|curve| line(curve).iter().chain(&curve.validation).copied())
    }

    /// Lines of training, dots of validation.
    fn paths(&self, plot: &Plot) -> Markup {
        let count = self.curves.len();
        html! {
            @for (run, curve) in self.curves.iter().enumerate() {
                @if let Some(curve) = curve {
                    // A task may be in the validation split alone.
                    @if !line(curve).is_empty() {
                        path.smooth stroke=(color(run, count)) d=(plot.line(line(curve))) {}
                    }
                    @let dots = plot.dots(&curve.validation);
                    @if !dots.is_empty() { path.dot stroke=(color(run, count)) d=(dots) {} }
                }
            }
        }
    }
}

/// What is drawn of a curve: smoothed where it can be.
fn line(curve: &Curve) -> &[Sample] {
    if curve.smooth.is_empty() { &curve.raw } else { &curve.smooth }
}

fn color(run: usize, count: usize) -> Color {
    palette::word(run, count)
}

/// Says that there is nothing to draw.
fn nothing(wanted: &[String]) -> Error {
    let what = if wanted.is_empty() { "losses".into() } else { wanted.join(", ") };
    Error::Usage {
        problem: format!("none of the runs has {what} to draw"),
        help:
            "Titles are those of the charts in a run's report, such as \"Loss\" or \"Text loss\"."
                .into(),
    }
}

/// A page with a chart for each loss and task.
///
/// # Errors
/// [`Error::Usage`] where there is nothing to draw.
pub fn page(runs: &[NamedRecords<'_>], wanted: &[String]) -> Result<String> {
    let charts = compared(runs, wanted);
    if charts.is_empty() {
        return Err(nothing(wanted));
    }
    let content = html! {
        header {
            h1 { "Runs beside each other" }
            p.quiet { "Lines are losses of training, smoothed; dots those of the validation split." }
        }
        div.charts {
            @for (index, chart) in charts.iter().enumerate() { (figure(index, chart, runs)) }
        }
    };
    Ok(frame("Runs beside each other", content, None).into_string())
}

fn figure(index: usize, chart: &Compared, runs: &[NamedRecords<'_>]) -> Markup {
    let label = format!("{} of {} runs over the steps", chart.title, runs.len());
    let figure = Figure {
        index,
        title: &chart.title,
        label: &label,
        may_be_logarithmic: chart.may_be_logarithmic,
    };
    let legend = html! {
        ul.legend {
            @for (run, (named, curve)) in runs.iter().zip(&chart.curves).enumerate() {
                @if let Some(curve) = curve {
                    li {
                        i style={ "background:" (color(run, runs.len())) } {}
                        (named.name)
                        @if let Some(last) = curve.last { " " b { (format!("{last:.3}")) } }
                    }
                }
            }
        }
    };
    figure.draw(chart.samples(), |plot| chart.paths(plot), legend)
}

/// One drawing of all charts, as SVG that needs no style of a page.
///
/// # Errors
/// [`Error::Usage`] where there is nothing to draw.
pub fn svg(runs: &[NamedRecords<'_>], wanted: &[String]) -> Result<String> {
    let charts = compared(runs, wanted);
    if charts.is_empty() {
        return Err(nothing(wanted));
    }
    let columns = if charts.len() == 1 { 1 } else { 2 };
    let across = |count: usize| count as f32 * (CHART[0] + GAP) + GAP;
    let longest = runs.iter().map(|run| text_width(run.name, FONT_SIZE)).fold(0.0, f32::max);
    let width = across(columns).max(longest + 3.0 * GAP);
    let top = GAP + runs.len() as f32 * LEGEND_LINE;
    let height = top + charts.len().div_ceil(columns) as f32 * (CHART[1] + GAP) + GAP;
    let drawing = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ "0 0 " (width) " " (height) } font-family=(FONT_FAMILY) {
            style { (PreEscaped(STYLE)) }
            rect width="100%" height="100%" fill="#ffffff" {}
            @for (run, named) in runs.iter().enumerate() {
                @let y = GAP + run as f32 * LEGEND_LINE;
                circle cx=(GAP + 5.0) cy=(y - 4.0) r="5" fill=(color(run, runs.len())) {}
                text x=(GAP + 18.0) y=(y) { (named.name) }
            }
            @for (index, chart) in charts.iter().enumerate() {
                @let x = GAP + (index % columns) as f32 * (CHART[0] + GAP);
                @let y = top + (index / columns) as f32 * (CHART[1] + GAP);
                text.title x=(x) y=(y + 14.0) { (chart.title) }
                (standalone(index, chart, [x, y + TITLE]))
            }
        }
    };
    Ok(drawing.into_string())
}

fn standalone(index: usize, chart: &Compared, [x, y]: [f32; 2]) -> Markup {
    let figure = Figure {
        index,
        title: &chart.title,
        label: &chart.title,
        may_be_logarithmic: chart.may_be_logarithmic,
    };
    let place = [x, y, CHART[0], CHART[1] - TITLE];
    figure.at(place, chart.samples(), |plot| chart.paths(plot))
}

/// The same as a PNG file.
///
/// # Errors
/// [`Error::Usage`] where there is nothing to draw, [`Error::Compute`] where it cannot be drawn.
pub fn png(runs: &[NamedRecords<'_>], wanted: &[String]) -> Result<Vec<u8>> {
    let cannot = |cause: String| Error::Compute {
        problem: format!("the curves could not be drawn: {cause}"),
        help: "Write them as .svg or .html instead.".into(),
    };
    let options = usvg::Options { fontdb: Arc::clone(&FONTS), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&svg(runs, wanted)?, &options)
        .map_err(|error| cannot(error.to_string()))?;
    let size = tree.size();
    let side = |side: f32| (side * PNG_SCALE).ceil() as u32;
    let mut pixels = tiny_skia::Pixmap::new(side(size.width()), side(size.height()))
        .ok_or_else(|| cannot("it is too large".into()))?;
    let scale = tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| cannot(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_loss_and_task_has_a_chart_with_a_line_for_each_run() {
        let (one, other) = (example::records(300), example::records(200));
        let runs = [
            NamedRecords { name: "a", records: &one },
            NamedRecords { name: "b & <c>", records: &other },
        ];
        let drawing = svg(&runs, &[]).unwrap();
        // Loss of four tasks, text loss of three, point loss of three, of each of which detect has dots only.
        assert_eq!(drawing.matches("class=\"title\"").count(), 10);
        assert_eq!(drawing.matches("<path class=\"smooth\"").count(), 2 * (10 - 3));
        assert!(drawing.contains("b &amp; &lt;c&gt;") && !drawing.contains("NaN"));
        let text = svg(&runs, &["text loss".into()]).unwrap();
        assert_eq!(text.matches("class=\"title\"").count(), 3);
        assert!(page(&runs, &[]).unwrap().contains("Point loss, locate"));
        let error = svg(&runs, &["No loss".into()]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_drawing_becomes_pixels_of_every_run() {
        let one = example::records(100);
        let runs =
            [NamedRecords { name: "a", records: &one }, NamedRecords { name: "b", records: &one }];
        let bytes = png(&runs, &["Loss".into()]).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        let has = |color: Color| picture.pixels().any(|pixel| *pixel == color.rgb());
        assert!(has(color(0, 2)) && has(color(1, 2)), "{:?}", picture.dimensions());
    }
}

//! The drawing that charts of a run and of a sweep share: a figure with axes, and the paths of lines and
//! dots in it, as inline SVG.

use std::fmt::Write;

use maud::{Markup, html};

use super::axis::{Axis, short};
use super::canvas::tenth;
use super::curves::Sample;

/// Size of the drawing, in units of about a pixel.
const WIDTH: f32 = 400.0;
const HEIGHT: f32 = 220.0;
/// Room for the names of ticks.
const LEFT: f32 = 40.0;
const BOTTOM: f32 = 20.0;
/// Room for half a name, half a line.
const RIGHT: f32 = 18.0;
const TOP: f32 = 8.0;

/// A chart, but for what is drawn in it.
pub(super) struct Figure<'a> {
    /// Its number in the page.
    pub(super) index: usize,
    /// What stands above it.
    pub(super) title: &'a str,
    /// The chart in a sentence, for those who cannot see it.
    pub(super) label: &'a str,
    /// Whether the axis of values may be logarithmic.
    pub(super) may_be_logarithmic: bool,
}

impl Figure<'_> {
    /// The chart with room for `samples`: `lines` is drawn in it, `below` stands below it.
    pub(super) fn draw(
        &self,
        samples: impl Iterator<Item = Sample> + Clone,
        lines: impl FnOnce(&Plot) -> Markup,
        below: Markup,
    ) -> Markup {
        let plot = self.plot(samples);
        html! {
            figure.chart {
                figcaption {
                    (self.title)
                    @if plot.as_ref().is_some_and(|plot| plot.y.is_logarithmic()) {
                        " " small { "logarithmic" }
                    }
                }
                @if let Some(plot) = plot { (self.svg(&plot, None, lines)) }
                @else { p.quiet { "Not one value of this curve is finite." } }
                (below)
            }
        }
    }

    /// The chart alone at a place of a drawing: left, top, width and height.
    pub(super) fn at(
        &self,
        place: [f32; 4],
        samples: impl Iterator<Item = Sample> + Clone,
        lines: impl FnOnce(&Plot) -> Markup,
    ) -> Markup {
        self.plot(samples).map_or(html! {}, |plot| self.svg(&plot, Some(place), lines))
    }

    /// The axes; `None` where no value is finite.
    fn plot(&self, samples: impl Iterator<Item = Sample> + Clone) -> Option<Plot> {
        let x = Axis::straight(0.0, samples.clone().map(|s| s.step).fold(1.0, f64::max));
        let y = Axis::around(samples.map(|s| s.value))
            .map(|y| if self.may_be_logarithmic { y } else { y.straightened() });
        Some(Plot { x, y: y? })
    }

    fn svg(
        &self,
        plot: &Plot,
        place: Option<[f32; 4]>,
        lines: impl FnOnce(&Plot) -> Markup,
    ) -> Markup {
        let [x, y, width, height] = [0, 1, 2, 3].map(|index| place.map(|place| place[index]));
        let clip = format!("chart-{}", self.index);
        html! {
            svg x=[x] y=[y] width=[width] height=[height] viewBox={ "0 0 " (WIDTH) " " (HEIGHT) }
                role="img" aria-label=(self.label) {
                clipPath id=(clip) {
                    rect x=(LEFT) y="0" width=(WIDTH - LEFT) height=(HEIGHT - BOTTOM) {}
                }
                (plot.grid())
                g clip-path={ "url(#" (clip) ")" } { (lines(plot)) }
            }
        }
    }
}

/// Where steps and values are in the drawing.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
}

impl Plot {
    fn grid(&self) -> Markup {
        html! {
            g.grid {
                @for tick in self.y.ticks() {
                    line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(self.y_of(tick)) y2=(self.y_of(tick)) {}
                    text x=(LEFT - 6.0) y=(self.y_of(tick) + 3.5) text-anchor="end" { (short(tick)) }
                }
                @for tick in self.x.ticks() {
                    text x=(self.x_of(tick)) y=(HEIGHT - 4.0) text-anchor="middle" { (short(tick)) }
                }
            }
        }
    }

    fn x_of(&self, step: f64) -> f32 {
        tenth(LEFT + self.x.share(step) as f32 * (WIDTH - LEFT - RIGHT))
    }

    fn y_of(&self, value: f64) -> f32 {
        // Far outside is as good as further outside, and shorter to write.
        let share = self.y.share(value).clamp(-0.5, 1.5) as f32;
        tenth(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP))
    }

    /// Path data of a line that is interrupted at gaps.
    pub(super) fn line(&self, samples: &[Sample]) -> String {
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

    /// Path data of a dot at each sample: a line of no length.
    pub(super) fn dots(&self, samples: &[Sample]) -> String {
        let seen = samples.iter().filter(|s| s.value.is_finite());
        seen.map(|s| format!("M{} {}h0", self.x_of(s.step), self.y_of(s.value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_interrupts_the_line() {
        let plot = Plot { x: Axis::straight(0.0, 4.0), y: Axis::straight(0.0, 1.0) };
        let values = [0.0, 1.0, f64::NAN, 0.5, f64::NAN];
        let samples: Vec<_> = (0..)
            .zip(values)
            .map(|(step, value)| Sample { step: f64::from(step), value })
            .collect();
        assert_eq!(plot.line(&samples), "M40 200L125.5 8M296.5 104h0");
    }
}

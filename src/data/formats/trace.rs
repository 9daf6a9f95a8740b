//! Where a mouse was while something was said (`spec/data.md` §2.2): strokes and the times of an
//! utterance → its centre and its box.
//!
//! Coordinates are normalised to the image and may lie outside `[0, 1]`; times are seconds.

use serde::Deserialize;

/// Moments of an utterance at which the trace is looked up.
pub const NUM_SAMPLES: usize = 16;

/// Moments closer than this are one moment, in seconds. Recorded traces tick in milliseconds; a
/// smaller step is a repeated timestamp, and its slope would be meaningless.
const SAME_MOMENT: f64 = 1e-6;

/// An utterance shorter than this has the plain mean of its samples as centre, in seconds.
const SHORT_UTTERANCE: f64 = 1e-5;

/// Where the mouse was, and when.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct TracePoint {
    /// To the right, normalised to the image.
    pub x: f64,
    /// Downwards, normalised to the image.
    pub y: f64,
    /// Seconds since the recording began.
    pub t: f64,
}

/// A trace as a function of time: linear between its moments and beyond them.
#[derive(Debug, Clone)]
pub struct Trace {
    /// At least two, times strictly increasing.
    moments: Vec<TracePoint>,
}

/// Where the mouse was during an utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct UtteranceTrace {
    /// Equally spaced in time, both ends included: `[x, y]` each.
    pub samples: Vec<[f64; 2]>,
    /// Average over time, `[x, y]`.
    pub center: [f64; 2],
    /// Box of the samples, `[x0, y0, x1, y1]`, not clipped.
    pub bounds: [f64; 4],
}

impl Trace {
    /// From the strokes of a narrative. Points of the same moment are averaged, so that no slope is
    /// infinite. `None` where fewer than two moments are left, or a number is not finite.
    pub fn new(strokes: &[Vec<TracePoint>]) -> Option<Self> {
        let mut points: Vec<TracePoint> = strokes.iter().flatten().copied().collect();
        if points.iter().any(|p| !(p.x.is_finite() && p.y.is_finite() && p.t.is_finite())) {
            return None;
        }
        points.sort_by(|a, b| a.t.total_cmp(&b.t));
        let same = |a: &TracePoint, b: &TracePoint| b.t - a.t < SAME_MOMENT;
        let moments: Vec<_> = points.chunk_by(same).map(mean).collect();
        (moments.len() > 1).then_some(Self { moments })
    }

    /// Where the mouse was at time `t`, `[x, y]`; extrapolated from the nearest two moments outside
    /// the recording.
    pub fn at(&self, t: f64) -> [f64; 2] {
        let after = self.moments.partition_point(|moment| moment.t < t);
        let after = after.clamp(1, self.moments.len() - 1);
        let (a, b) = (self.moments[after - 1], self.moments[after]);
        let along = (t - a.t) / (b.t - a.t);
        [a.x + along * (b.x - a.x), a.y + along * (b.y - a.y)]
    }

    /// Where the mouse was from `start` to `end`.
    pub fn during(&self, start: f64, end: f64) -> UtteranceTrace {
        self.sample(start, end, NUM_SAMPLES)
    }

    /// As [`Self::during`], looked up at `num_samples` moments; at least 2.
    pub fn sample(&self, start: f64, end: f64, num_samples: usize) -> UtteranceTrace {
        let last = num_samples.max(2) - 1;
        let step = (end - start) / last as f64;
        let samples: Vec<_> = (0..=last).map(|k| self.at(start + step * k as f64)).collect();
        let mut bounds = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for &[x, y] in &samples {
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
        }
        let center = [0, 1].map(|axis| {
            let values: Vec<f64> = samples.iter().map(|point| point[axis]).collect();
            let is_short = end - start < SHORT_UTTERANCE;
            if is_short { plain_mean(&values) } else { trapezoid_mean(&values) }
        });
        UtteranceTrace { samples, center, bounds }
    }
}

impl UtteranceTrace {
    /// Whether the centre lies right of and below the image's top-left corner: the reference uses no
    /// other utterances (`spec/data.md` §2.4, step 2).
    pub fn is_located(&self) -> bool {
        self.center.iter().all(|&coordinate| coordinate > 1e-5)
    }
}

/// The average of points, time included. `points` is not empty.
fn mean(points: &[TracePoint]) -> TracePoint {
    let average =
        |of: fn(&TracePoint) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    TracePoint { x: average(|p| p.x), y: average(|p| p.y), t: average(|p| p.t) }
}

fn plain_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Average over time of a function that is linear between equally spaced samples, of which there are
/// at least two.
fn trapezoid_mean(values: &[f64]) -> f64 {
    let spans = values.windows(2).map(|span| (span[0] + span[1]) / 2.0);
    spans.sum::<f64>() / (values.len() - 1) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn trace(points: &[[f64; 3]]) -> Option<Trace> {
        let points = points.iter().map(|&[x, y, t]| TracePoint { x, y, t }).collect();
        Trace::new(&[points])
    }

    fn assert_near(found: [f64; 2], expected: [f64; 2]) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn a_trace_is_linear_between_its_moments_and_beyond() {
        let trace = trace(&[[0.0, 0.0, 1.0], [0.5, 0.1, 2.0], [0.5, 0.3, 4.0]]).unwrap();
        assert_near(trace.at(1.5), [0.25, 0.05]);
        assert_near(trace.at(2.0), [0.5, 0.1]);
        assert_near(trace.at(0.0), [-0.5, -0.1]);
        assert_near(trace.at(6.0), [0.5, 0.5]);
    }

    #[test]
    fn strokes_are_sorted_by_time() {
        let late = vec![TracePoint { x: 1.0, y: 1.0, t: 1.0 }];
        let early = vec![TracePoint { x: 0.0, y: 0.0, t: 0.0 }];
        assert_near(Trace::new(&[late, early]).unwrap().at(0.25), [0.25, 0.25]);
    }

    #[test]
    fn repeated_timestamps_are_averaged_and_leave_slopes_finite() {
        let trace = trace(&[[0.0, 0.0, 0.0], [0.4, 0.4, 1.0], [0.6, 0.2, 1.0]]).unwrap();
        assert_near(trace.at(1.0), [0.5, 0.3]);
        assert_near(trace.at(2.0), [1.0, 0.6]);
    }

    #[test]
    fn fewer_than_two_moments_are_no_trace() {
        assert!(trace(&[]).is_none());
        assert!(trace(&[[0.1, 0.1, 0.0]]).is_none());
        assert!(trace(&[[0.1, 0.1, 0.5], [0.2, 0.2, 0.5]]).is_none());
        assert!(trace(&[[0.1, 0.1, 0.0], [0.2, f64::NAN, 0.5]]).is_none());
    }

    #[test]
    fn the_centre_is_the_average_over_time() {
        // x rises from 0 to 1 and falls to 0.5: the corner lies on a sample (the 10th of 15 steps).
        let trace = trace(&[[0.0, 0.2, 0.0], [1.0, 0.2, 1.0], [0.5, 0.2, 1.5]]).unwrap();
        let utterance = trace.during(0.0, 1.5);
        assert_near(utterance.center, [(0.5 + 0.5 * 0.75) / 1.5, 0.2]);
        assert_near(utterance.samples[10], [1.0, 0.2]);
        assert_eq!(utterance.bounds, [0.0, 0.2, 1.0, 0.2]);
    }

    #[test]
    fn an_utterance_of_no_duration_is_a_point() {
        let trace = trace(&[[0.0, 0.0, 0.0], [1.0, 0.5, 1.0]]).unwrap();
        let utterance = trace.during(0.5, 0.5);
        assert_near(utterance.center, [0.5, 0.25]);
        assert_eq!(utterance.bounds, [0.5, 0.25, 0.5, 0.25]);
        assert!(utterance.is_located());
        assert!(!trace.during(-1.0, -0.5).is_located());
    }
}

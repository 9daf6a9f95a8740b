//! The mouse of somebody who speaks: it circles what is spoken of, late and unsteadily, travels
//! between objects, and now and then is not recorded.

use std::f64::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::narrative::{Focus, Utterance};
use super::view::View;

/// When an utterance is said, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) start: f64,
    pub(super) end: f64,
}

/// A recorded position: normalised to the image (a little outside now and then), and seconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct TracePoint {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) t: f64,
}

/// The hand follows what it aims at with this time constant, in seconds; together with the speaker's
/// own lag the mouse is 0.1 to 0.4 s late, as in recorded narratives.
const HAND: f64 = 0.1;

/// When each utterance is said: two to three words a second, with pauses after sentences.
pub(super) fn speak(utterances: &[Utterance], rng: &mut ChaCha8Rng) -> Vec<Interval> {
    let rate = rng.random_range(2.0..3.0);
    let mut now = rng.random_range(0.3..1.0);
    let mut intervals = Vec::with_capacity(utterances.len());
    for utterance in utterances {
        let words = utterance.text.split(' ').filter(|word| *word != ".").count();
        let duration = words as f64 / rate * rng.random_range(0.85..1.15);
        intervals.push(Interval { start: round(now, 2), end: round(now + duration, 2) });
        let ends_sentence = utterance.text.ends_with('.');
        now += duration;
        now +=
            if ends_sentence { rng.random_range(0.25..0.7) } else { rng.random_range(0.02..0.12) };
    }
    intervals
}

/// The mouse while the utterances are said, in strokes.
pub(super) fn trace(
    view: &View,
    utterances: &[Utterance],
    intervals: &[Interval],
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<TracePoint>> {
    let legs = legs(view, utterances, intervals, rng);
    let (Some(first), Some(last)) = (intervals.first(), intervals.last()) else {
        return Vec::new();
    };
    let pauses = pauses(utterances, intervals, rng);
    let mut now = first.start - rng.random_range(0.05..0.2);
    let (mut x, mut y) = legs.first().map_or((0.5, 0.5), |leg| leg.aim(now));
    let mut jitter = (0.0, 0.0);
    let mut strokes = vec![Vec::new()];
    while now < last.end + 0.3 {
        let aim = legs.iter().rfind(|leg| leg.start <= now).or(legs.first());
        let (to_x, to_y) = aim.map_or((x, y), |leg| leg.aim(now));
        let step = rng.random_range(0.034..0.048);
        let follow = 1.0 - libm::exp(-step / HAND);
        x += (to_x - x) * follow;
        y += (to_y - y) * follow;
        let mut shake = |was: f64| 0.7 * was + rng.random_range(-0.004..0.004);
        jitter = (shake(jitter.0), shake(jitter.1));
        let point =
            TracePoint { x: round(x + jitter.0, 4), y: round(y + jitter.1, 4), t: round(now, 3) };
        let recorded = !pauses.iter().any(|pause| pause.start <= now && now < pause.end);
        match strokes.last_mut() {
            Some(stroke) if recorded => stroke.push(point),
            Some(stroke) if !stroke.is_empty() => strokes.push(Vec::new()),
            _ => {}
        }
        now += step;
    }
    strokes.retain(|stroke| !stroke.is_empty());
    strokes
}

/// Rounded to so many decimals; never −0.
fn round(value: f64, decimals: u32) -> f64 {
    let scale = f64::from(10_u32.pow(decimals));
    (value * scale).round() / scale + 0.0
}

/// Where a hand aims from a time on: an ellipse about a centre, or a zigzag in it.
#[derive(Debug, Clone, Copy)]
struct Leg {
    start: f64,
    center: (f64, f64),
    radii: (f64, f64),
    /// Radians a second.
    speed: f64,
    /// How much faster the up and down is than the left and right: 1 is an ellipse.
    zigzag: f64,
    phase: f64,
}

impl Leg {
    fn aim(&self, now: f64) -> (f64, f64) {
        let angle = self.phase + self.speed * (now - self.start);
        let (dx, dy) = (libm::cos(angle), libm::sin(angle * self.zigzag));
        (self.center.0 + self.radii.0 * dx, self.center.1 + self.radii.1 * dy)
    }
}

/// What the hand aims at, in order of time.
fn legs(
    view: &View,
    utterances: &[Utterance],
    intervals: &[Interval],
    rng: &mut ChaCha8Rng,
) -> Vec<Leg> {
    let lag = rng.random_range(0.05..0.25);
    let zigzag = if rng.random_bool(0.3) { rng.random_range(1.6..2.6) } else { 1.0 };
    let mut legs: Vec<Leg> = Vec::with_capacity(utterances.len());
    let mut before = Focus::Nowhere;
    for (utterance, interval) in utterances.iter().zip(intervals) {
        if utterance.focus == before && !legs.is_empty() {
            continue;
        }
        before = utterance.focus;
        let start = interval.start + lag;
        let leg = match utterance.focus {
            Focus::On(subject) => {
                let bounds = view.subjects[subject].bounds;
                let size = rng.random_range(0.8..1.15);
                // A hand that follows a circle cuts its corners: at a turn a second by about a tenth.
                let radius = |extent: f32, of: f32| f64::from(extent / of) / 2.0 * size * 1.1;
                Leg {
                    start,
                    center: place(view, subject),
                    radii: (
                        radius(bounds.width(), view.width),
                        radius(bounds.height(), view.height),
                    ),
                    speed: either_way(TAU / rng.random_range(0.9..1.5), rng),
                    zigzag,
                    phase: rng.random_range(-PI..PI),
                }
            }
            Focus::Towards(subject) => {
                // Now and then some wandering; mostly people look ahead and go to what comes next.
                let wander = wander(start, rng);
                let mut arrive = start;
                if rng.random_bool(0.3) {
                    legs.push(wander);
                    arrive += (interval.end - interval.start) * rng.random_range(0.3..0.7);
                }
                Leg { center: place(view, subject), start: arrive, radii: (0.05, 0.05), ..wander }
            }
            Focus::Nowhere => wander(start, rng),
            Focus::Everywhere => Leg {
                center: (0.5, 0.5),
                radii: (rng.random_range(0.3..0.46), rng.random_range(0.3..0.46)),
                speed: either_way(TAU / rng.random_range(1.5..2.5), rng),
                ..wander(start, rng)
            },
        };
        legs.push(leg);
    }
    legs
}

fn place(view: &View, subject: usize) -> (f64, f64) {
    let place = view.place(subject);
    (f64::from(place.x), f64::from(place.y))
}

/// Slow circles somewhere.
fn wander(start: f64, rng: &mut ChaCha8Rng) -> Leg {
    Leg {
        start,
        center: (rng.random_range(0.25..0.75), rng.random_range(0.25..0.75)),
        radii: (rng.random_range(0.05..0.2), rng.random_range(0.05..0.2)),
        speed: either_way(TAU / rng.random_range(1.5..3.0), rng),
        zigzag: 1.0,
        phase: rng.random_range(-PI..PI),
    }
}

fn either_way(speed: f64, rng: &mut ChaCha8Rng) -> f64 {
    if rng.random_bool(0.5) { speed } else { -speed }
}

/// Times without recording: after some of the sentences.
fn pauses(utterances: &[Utterance], intervals: &[Interval], rng: &mut ChaCha8Rng) -> Vec<Interval> {
    let spoken = utterances.iter().zip(intervals);
    let ends: Vec<_> = spoken.filter(|(u, _)| u.text.ends_with('.')).map(|(_, i)| i.end).collect();
    let mut pauses = Vec::new();
    for end in ends {
        if rng.random_bool(0.35) {
            let start = end + rng.random_range(0.0..0.15);
            pauses.push(Interval { start, end: start + rng.random_range(0.15..0.6) });
        }
    }
    pauses
}

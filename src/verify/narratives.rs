//! Localized Narratives: places of utterances, and of the tokens of captions.

use std::path::Path;

use serde::Deserialize;

use super::compare::{Comparison, Tolerance};
use super::json;
use crate::data::alignment::Alignment;
use crate::data::formats::trace::{Trace, TracePoint, UtteranceTrace};
use crate::data::sample::LocatedSpan;
use crate::data::token_points::{grid, in_pixels};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// Coordinates normalised to the image, in 64 bits.
const NORMALISED: Tolerance = Tolerance::Close { absolute: 1e-9, relative: 1e-9 };
/// Cells of a box down and across, for `grid3_points`.
const GRID: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    num_samples_per_trace: usize,
    max_text_tokens: usize,
    pad: i64,
    bos: i64,
    eos: i64,
    narratives: Vec<Narrative>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Narrative {
    #[serde(rename = "caption")]
    _caption: String,
    timed_caption: Vec<TimedUtterance>,
    traces: Vec<Vec<TracePoint>>,
    image_hw: [f32; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimedUtterance {
    utterance: String,
    start_time: f64,
    end_time: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    utterances: Vec<ExpectedUtterance>,
    /// Per token, `[x, y]` in pixels each.
    corner_points: Vec<[[f64; 2]; 2]>,
    centers: Vec<[f64; 2]>,
    grid3_points: Vec<[[f64; 2]; GRID * GRID]>,
    text_tokens: Vec<i64>,
    /// 1 per row that is not padding. Rows are not padded here, so that there is nothing to compare.
    #[allow(dead_code)]
    labels: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedUtterance {
    integral_x: f64,
    integral_y: f64,
    min_x: f64,
    min_y: f64,
    max_x: f64,
    max_y: f64,
    sampled_x: Vec<f64>,
    sampled_y: Vec<f64>,
}

/// Every expected value of the folder.
pub(super) fn all(folder: &Path) -> Result<Vec<Comparison>> {
    let inputs: Inputs = json::read(folder, "inputs.json")?;
    let expected: Vec<Expected> = json::read(folder, "expected.json")?;
    let problem = |problem: String| {
        Error::format(folder, problem, "Is it a whole folder of expected values?")
    };
    if inputs.narratives.len() != expected.len() {
        let counts = (inputs.narratives.len(), expected.len());
        return Err(problem(format!("{} narratives, {} expected", counts.0, counts.1)));
    }
    let mut comparisons = Vec::new();
    for (index, (narrative, expected)) in inputs.narratives.iter().zip(&expected).enumerate() {
        let trace = Trace::new(&narrative.traces)
            .ok_or_else(|| problem(format!("narrative {index} has no trace")))?;
        if expected.text_tokens.len() > inputs.max_text_tokens {
            return Err(problem(format!("narrative {index} has too many tokens")));
        }
        let utterances: Vec<UtteranceTrace> = narrative
            .timed_caption
            .iter()
            .map(|u| trace.sample(u.start_time, u.end_time, inputs.num_samples_per_trace))
            .collect();
        let case = format!("narrative{index}");
        comparisons.extend(geometry(&case, &utterances, &expected.utterances));
        comparisons.extend(tokens(&case, &inputs, narrative, &utterances, expected));
    }
    Ok(comparisons)
}

/// Integrals, extremes and samples of the utterances of a narrative.
fn geometry(
    case: &str,
    found: &[UtteranceTrace],
    expected: &[ExpectedUtterance],
) -> Vec<Comparison> {
    let compare = |what: &str, found: Vec<f64>, expected: Vec<f64>| {
        Comparison::numbers(&format!("{case}.{what}"), &found, &expected, NORMALISED)
    };
    let axis = |found: &UtteranceTrace, axis: usize| -> Vec<f64> {
        found.samples.iter().map(|point| point[axis]).collect()
    };
    vec![
        compare(
            "integral",
            found.iter().flat_map(|one| one.center).collect(),
            expected.iter().flat_map(|one| [one.integral_x, one.integral_y]).collect(),
        ),
        compare(
            "min_max",
            found.iter().flat_map(|one| one.bounds).collect(),
            expected.iter().flat_map(|one| [one.min_x, one.min_y, one.max_x, one.max_y]).collect(),
        ),
        compare(
            "sampled_x",
            found.iter().flat_map(|one| axis(one, 0)).collect(),
            expected.iter().flat_map(|one| one.sampled_x.clone()).collect(),
        ),
        compare(
            "sampled_y",
            found.iter().flat_map(|one| axis(one, 1)).collect(),
            expected.iter().flat_map(|one| one.sampled_y.clone()).collect(),
        ),
    ]
}

/// Points of the tokens of a narrative.
fn tokens(
    case: &str,
    inputs: &Inputs,
    narrative: &Narrative,
    utterances: &[UtteranceTrace],
    expected: &Expected,
) -> Vec<Comparison> {
    let is_special = |token: &i64| [inputs.pad, inputs.bos, inputs.eos].contains(token);
    let offset = |token: &i64| (!is_special(token)).then_some(0..0);
    let offsets: Vec<_> = expected.text_tokens.iter().map(offset).collect();
    let [height, width] = narrative.image_hw;
    // What `of` says about an utterance, per token.
    let places = |of: fn(&UtteranceTrace) -> [f64; 4]| -> Vec<BoundingBox> {
        let said = narrative.timed_caption.iter().zip(utterances);
        let used =
            said.filter(|(said, during)| !said.utterance.trim().is_empty() && during.is_located());
        let located = used.map(|(_, during)| {
            let [x0, y0, x1, y1] = of(during).map(|v| v as f32);
            LocatedSpan::new(None, BoundingBox::new(x0, y0, x1, y1))
        });
        let aligned = Alignment::Rank.align(&located.collect::<Vec<_>>(), &offsets);
        aligned.into_iter().map(|place| in_pixels(place, width, height)).collect()
    };
    let boxes = places(|during| during.bounds);
    let centers = places(|during| {
        let [x, y] = during.center;
        [x, y, x, y]
    });
    let corners = boxes.iter().flat_map(|b| b.to_array()).map(f64::from).collect();
    let centers = centers.iter().flat_map(|b| [b.x0, b.y0]).map(f64::from).collect();
    let points = boxes.iter().flat_map(|&b| grid(b, GRID)).flat_map(|p| [p.x, p.y]);
    let points = points.map(f64::from).collect();
    let compare = |what: &str, found: Vec<f64>, expected: Vec<f64>, tolerance: Tolerance| {
        Comparison::numbers(&format!("{case}.{what}"), &found, &expected, tolerance)
    };
    let flat = |points: &[[f64; 2]]| points.concat();
    vec![
        compare(
            "corner_points",
            corners,
            flat(expected.corner_points.as_flattened()),
            Tolerance::Exact,
        ),
        compare("centers", centers, flat(&expected.centers), Tolerance::Exact),
        compare(
            "grid3_points",
            points,
            flat(expected.grid3_points.as_flattened()),
            Tolerance::FEATURES,
        ),
    ]
}

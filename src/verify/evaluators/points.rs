//! `point_*`: the distance of predicted points of words.

use std::path::Path;

use serde::Deserialize;

use super::super::compare::Comparison;
use super::super::json;
use super::METRIC;
use crate::data::formats::results::{TokenPoints, Truth, words};
use crate::error::{Error, Result};
use crate::metrics::point::{ImagesWithoutPlaces, PointErrors};

type Example = super::Example<Prediction, Target>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prediction {
    /// Per text and token.
    point_coords: Vec<Vec<TokenPoints>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// Per text and token.
    points: Vec<Vec<TokenPoints>>,
    text_tokens: Vec<Vec<i64>>,
    /// Takes the place of tokens that are not 0.
    token_padding_mask: Option<Vec<Vec<Truth>>>,
    /// `[height, width]`
    size: [f32; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    per_example: Vec<f64>,
    point_l1: f64,
}

pub(super) fn compare(folder: &Path) -> Result<Vec<Comparison>> {
    let examples: Vec<Example> = json::read(folder, "point_inputs.json")?;
    let expected: Expected = json::read(folder, "point_expected.json")?;
    let mut errors = PointErrors::new(ImagesWithoutPlaces::WithoutError);
    for example in &examples {
        let Example { prediction, target } = example;
        let is_word = target.token_padding_mask.as_deref();
        let words = words(&prediction.point_coords, &target.points, &target.text_tokens, is_word);
        let words = words.map_err(|problem| {
            Error::format(folder, problem, "Is it a whole folder of expected values?")
        })?;
        let [height, width] = target.size;
        errors.add_image(words.iter().flatten(), width, height);
    }
    let mean: Vec<f64> = errors.mean().into_iter().collect();
    Ok(vec![
        Comparison::numbers("point.per_example", &errors.per_image, &expected.per_example, METRIC),
        Comparison::numbers("point.point_l1", &mean, &[expected.point_l1], METRIC),
    ])
}

//! `point_*`: the distance of predicted points of words.

use std::path::Path;

use serde::Deserialize;

use super::super::compare::Comparison;
use super::super::json;
use super::METRIC;
use crate::error::{Error, Result};
use crate::geometry::Point;
use crate::metrics::point::{ImagesWithoutPlaces, PointErrors, WordPoints};

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

/// One point per token may be written without a list around it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenPoints {
    One([f32; 2]),
    Many(Vec<[f32; 2]>),
}

impl TokenPoints {
    fn points(&self) -> Vec<Point> {
        let all = match self {
            Self::One(point) => std::slice::from_ref(point),
            Self::Many(points) => points,
        };
        all.iter().map(|&[x, y]| Point { x, y }).collect()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Truth {
    Is(bool),
    Number(f64),
}

impl Truth {
    fn holds(&self) -> bool {
        match *self {
            Self::Is(truth) => truth,
            Self::Number(number) => number > 0.0,
        }
    }
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
        let words = words(example).ok_or_else(|| {
            let help = "Is it a whole folder of expected values?";
            Error::format(folder, "predicted and reference points differ in number", help)
        })?;
        let [height, width] = example.target.size;
        errors.add_image(&words, width, height);
    }
    let mean: Vec<f64> = errors.mean().into_iter().collect();
    Ok(vec![
        Comparison::numbers("point.per_example", &errors.per_image, &expected.per_example, METRIC),
        Comparison::numbers("point.point_l1", &mean, &[expected.point_l1], METRIC),
    ])
}

/// The words of all texts of an image; `None` where the lists have different lengths.
fn words(Example { prediction, target }: &Example) -> Option<Vec<WordPoints>> {
    let mut words = Vec::new();
    for (text, reference) in target.points.iter().enumerate() {
        let predicted = prediction.point_coords.get(text)?;
        let is_word: Vec<bool> = match &target.token_padding_mask {
            Some(mask) => mask.get(text)?.iter().map(Truth::holds).collect(),
            None => target.text_tokens.get(text)?.iter().map(|&token| token > 0).collect(),
        };
        if predicted.len() != reference.len() || is_word.len() != reference.len() {
            return None;
        }
        let tokens = predicted.iter().zip(reference).zip(is_word);
        words.extend(tokens.map(|((predicted, reference), is_word)| WordPoints {
            predicted: predicted.points(),
            reference: reference.points(),
            is_word,
        }));
    }
    Some(words)
}

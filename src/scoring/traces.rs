//! Places of the words of narratives. A file is a list with an entry per image: `image_id` (without it, the
//! position in the list); in references `size` (`[height, width]` in pixels), `points` and `text_tokens`
//! (0 is padding); in predictions `point_coords`. Points are `[x, y]` in pixels, a list per text, token
//! and point. An entry may also have both, below `target` and `prediction`.
//!
//! For word-grounding recall a reference has `masks`, run-length encodings, and `word_masks`, the number of
//! the mask that a token names, or null, per text and token.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::files::{self, Id, common_ids, problem};
use super::{Options, Scored};
use crate::error::Result;
use crate::geometry::mask::{CocoMask, Mask};
use crate::geometry::{BoundingBox, Point};
use crate::metrics::bootstrap;
use crate::metrics::mean;
use crate::metrics::point::{ImagesWithoutPlaces, PointErrors, WordPoints};

#[derive(Deserialize)]
struct Target {
    size: [f32; 2],
    points: Vec<Vec<TokenPoints>>,
    text_tokens: Vec<Vec<i64>>,
    token_padding_mask: Option<Vec<Vec<Truth>>>,
    #[serde(default)]
    masks: Vec<CocoMask>,
    #[serde(default)]
    word_masks: Vec<Vec<Option<usize>>>,
}

#[derive(Deserialize)]
struct Prediction {
    point_coords: Vec<Vec<TokenPoints>>,
}

/// Whether a token counts.
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

/// One point may be written without a list around it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenPoints {
    One([Option<f32>; 2]),
    Many(Vec<[Option<f32>; 2]>),
}

impl TokenPoints {
    fn points(&self) -> std::result::Result<Vec<Point>, String> {
        let all = match self {
            Self::One(point) => std::slice::from_ref(point),
            Self::Many(points) => points,
        };
        let point = |point: &[Option<f32>; 2]| match *point {
            [Some(x), Some(y)] => Ok(Point { x, y }),
            _ => Err("a coordinate of a point is not a number".to_string()),
        };
        all.iter().map(point).collect()
    }
}

/// Scores of an image; none where it has no word with a place.
#[derive(Clone, Copy)]
struct ImageScores {
    point_l1: f64,
    box_iou: f64,
    /// Words whose point is in their object, and words with an object.
    grounded: [usize; 2],
}

/// Scores the places of `predictions`.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the image.
pub fn score(references: &Path, predictions: &Path, options: Options) -> Result<Scored> {
    let targets: BTreeMap<Id, Target> = entries(references, "target")?;
    let predicted: BTreeMap<Id, Prediction> = entries(predictions, "prediction")?;
    let mut notes = Vec::new();
    let ids = common_ids(
        (references, &targets),
        (predictions, &predicted),
        "image",
        options,
        &mut notes,
    )?;
    let mut found = Vec::new();
    for id in ids {
        let scores = of_image(&targets[&id], &predicted[&id]);
        let scores = scores.map_err(|text| problem(predictions, format!("image {id}: {text}")))?;
        match scores {
            Some(scores) => found.push((id, scores)),
            None => notes.push(format!("image {id} has no word with a place and does not count")),
        }
    }
    let all: Vec<usize> = (0..found.len()).collect();
    let intervals =
        bootstrap::intervals(found.len(), options.num_resamples, options.seed, |drawn| {
            named(&found, drawn).into_iter().map(|(_, value)| value).collect()
        });
    let mut scored = Scored::new(named(&found, &all), &intervals);
    scored.num_samples = found.len();
    scored.notes = notes;
    let at =
        |at: usize| named(&found, &[at]).into_iter().map(|(n, v)| (n.to_string(), v)).collect();
    scored.per_sample = all.iter().map(|&index| (found[index].0.clone(), at(index))).collect();
    Ok(scored)
}

/// The entries of a file by their id, each as it is or below `key`.
fn entries<T: DeserializeOwned>(path: &Path, key: &str) -> Result<BTreeMap<Id, T>> {
    let list: Vec<Value> = files::read(path, "entries of images")?;
    let mut entries = BTreeMap::new();
    for (position, mut entry) in list.into_iter().enumerate() {
        let wrong = |text: String| problem(path, format!("entry {position}: {text}"));
        let id = match entry.get("image_id") {
            Some(id) => serde_json::from_value(id.clone()).map_err(|e| wrong(e.to_string()))?,
            None => Id::Number(i64::try_from(position).unwrap_or(i64::MAX)),
        };
        let content = entry.get_mut(key).map(Value::take).unwrap_or(entry);
        let content = serde_json::from_value(content)
            .map_err(|error| problem(path, format!("image {id}: {error}")))?;
        if entries.insert(id.clone(), content).is_some() {
            return Err(problem(path, format!("image {id} is there twice")));
        }
    }
    Ok(entries)
}

/// Mean over the words of an image.
fn of_image(
    target: &Target,
    prediction: &Prediction,
) -> std::result::Result<Option<ImageScores>, String> {
    let masks: std::result::Result<Vec<Mask>, _> =
        target.masks.iter().map(Mask::try_from).collect();
    let masks = masks?;
    let [height, width] = target.size;
    if masks.iter().any(|m| m.width() as f32 != width || m.height() as f32 != height) {
        return Err("a mask has another size than the image".to_string());
    }
    let mut words = Vec::new();
    let (mut ious, mut grounded) = (Vec::new(), [0, 0]);
    let differ = || "predicted and reference points differ in number".to_string();
    for (text, reference) in target.points.iter().enumerate() {
        let predicted = prediction.point_coords.get(text).ok_or_else(differ)?;
        if predicted.len() != reference.len() {
            return Err(differ());
        }
        for (token, (predicted, reference)) in predicted.iter().zip(reference).enumerate() {
            let (predicted, reference) = (predicted.points()?, reference.points()?);
            let given = target.token_padding_mask.as_ref();
            let is_word = match given {
                Some(mask) => mask.get(text).and_then(|row| row.get(token)).map(Truth::holds),
                None => target.text_tokens.get(text).and_then(|row| row.get(token)).map(|&v| v > 0),
            };
            let word = WordPoints { predicted, reference, is_word: is_word.ok_or_else(differ)? };
            if word.has_place() {
                ious.extend(
                    around(&word.predicted).zip(around(&word.reference)).map(|(a, b)| a.iou(b)),
                );
                let named = target.word_masks.get(text).and_then(|row| row.get(token)).copied();
                if let Some(number) = named.flatten() {
                    let mask = masks.get(number).ok_or(format!("there is no mask {number}"))?;
                    grounded[1] += 1;
                    let center = around(&word.predicted).map(BoundingBox::center);
                    grounded[0] += usize::from(center.is_some_and(|at| mask.contains(at)));
                }
            }
            words.push(word);
        }
    }
    let mut errors = PointErrors::new(ImagesWithoutPlaces::LeftOut);
    errors.add_image(&words, width, height);
    let box_iou = mean(ious.into_iter().map(f64::from));
    let scores = errors.mean().zip(box_iou);
    Ok(scores.map(|(point_l1, box_iou)| ImageScores { point_l1, box_iou, grounded }))
}

/// The smallest box around points; `None` around none.
fn around(points: &[Point]) -> Option<BoundingBox> {
    let boxes = points.iter().map(|&point| BoundingBox::around(point, point));
    boxes.reduce(|a, b| {
        let (least, most) = (f32::min, f32::max);
        BoundingBox::new(least(a.x0, b.x0), least(a.y0, b.y0), most(a.x1, b.x1), most(a.y1, b.y1))
    })
}

/// Scores of the images at these positions: means over images, recall over words.
fn named(found: &[(Id, ImageScores)], positions: &[usize]) -> Vec<(&'static str, f64)> {
    let of = |of: fn(&ImageScores) -> f64| mean(positions.iter().map(|&at| of(&found[at].1)));
    let mut scores = Vec::new();
    scores.extend(of(|one| one.point_l1).map(|value| ("point_l1", value)));
    scores.extend(of(|one| one.box_iou).map(|value| ("word_box_iou", value)));
    let sum =
        |column: usize| -> usize { positions.iter().map(|&at| found[at].1.grounded[column]).sum() };
    if found.iter().any(|(_, one)| one.grounded[1] > 0) {
        let recall = sum(0) as f64 / sum(1).max(1) as f64;
        scores.push(("word_grounding_recall", recall));
    }
    scores
}

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

use super::files::{self, common_ids, problem};
use super::{Options, Scored};
use crate::data::formats::Id;
use crate::data::formats::results::{TokenPoints, Truth, words};
use crate::error::Result;
use crate::geometry::mask::{CocoMask, Mask};
use crate::metrics::point::WordPoints;
use crate::metrics::word_places::{self, WordPlaceSet, WordPlaces};

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
    let mut found: BTreeMap<Id, WordPlaces> = BTreeMap::new();
    for id in ids {
        let wrong = |path: &Path, text: String| problem(path, format!("image {id}: {text}"));
        let target = &targets[&id];
        let masks = target.masks().map_err(|text| wrong(references, text))?;
        let is_word = target.token_padding_mask.as_deref();
        let points = &predicted[&id].point_coords;
        let texts = words(points, &target.points, &target.text_tokens, is_word)
            .map_err(|text| wrong(predictions, text))?;
        let words = target.named(texts, &masks).map_err(|text| wrong(references, text))?;
        let [height, width] = target.size;
        match WordPlaces::of_image(&words, width, height) {
            Some(places) => {
                found.insert(id, places);
            }
            None => notes.push(format!("image {id} has no word with a place and does not count")),
        }
    }
    let scores = word_places::scores;
    let of_image = |image: &WordPlaces| scores(&[image]).into_iter().collect();
    let mut scored = Scored::of_set(&WordPlaceSet::from(found), options, scores, of_image);
    scored.notes = notes;
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

impl Target {
    /// The objects of the image.
    fn masks(&self) -> std::result::Result<Vec<Mask>, String> {
        let [height, width] = self.size;
        let mask = |coco: &CocoMask| {
            let mask = Mask::try_from(coco)?;
            let is_whole = mask.width() as f32 == width && mask.height() as f32 == height;
            is_whole.then_some(mask).ok_or("a mask has another size than the image".to_string())
        };
        self.masks.iter().map(mask).collect()
    }

    /// All words of the texts, those with a place with the object that they name, if any.
    fn named<'a>(
        &self,
        texts: Vec<Vec<WordPoints>>,
        masks: &'a [Mask],
    ) -> std::result::Result<Vec<(WordPoints, Option<&'a Mask>)>, String> {
        let mut named = Vec::new();
        for (text, words) in texts.into_iter().enumerate() {
            for (token, word) in words.into_iter().enumerate() {
                let number = self.word_masks.get(text).and_then(|row| row.get(token)).copied();
                let number = number.flatten().filter(|_| word.has_place());
                let mask = number
                    .map(|number| masks.get(number).ok_or(format!("there is no mask {number}")))
                    .transpose()?;
                named.push((word, mask));
            }
        }
        Ok(named)
    }
}

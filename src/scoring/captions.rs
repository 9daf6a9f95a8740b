//! Captions in the COCO format: annotations with an `image_id` and a `caption` each, and a list of the same
//! for the predictions.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use super::files::{self, Id, common_ids, problem};
use super::{Options, Scored};
use crate::error::Result;
use crate::metrics::caption_set::CaptionSet;
use crate::metrics::coco::Captions;
use crate::metrics::meteor::Meteor;

/// Other fields of the format say nothing about captions.
#[derive(Deserialize)]
struct Annotations {
    #[serde(default)]
    images: Vec<Image>,
    annotations: Vec<Caption>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
}

#[derive(Deserialize)]
struct Caption {
    image_id: Id,
    caption: String,
}

/// Scores the captions of `predictions`.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the image.
pub fn score(
    references: &Path,
    predictions: &Path,
    meteor: &Meteor,
    options: Options,
) -> Result<Scored> {
    let annotations: Annotations = files::read(references, "annotations of captions")?;
    let results: Vec<Caption> = files::read(predictions, "captions")?;
    let mut texts: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    for Caption { image_id, caption } in annotations.annotations {
        texts.entry(image_id).or_default().push(caption);
    }
    let mut notes = Vec::new();
    let bare: Vec<_> =
        annotations.images.iter().filter(|one| !texts.contains_key(&one.id)).collect();
    if let Some(Image { id }) = bare.first() {
        if !options.allow_missing {
            return Err(problem(references, format!("image {id} has no caption")));
        }
        notes.push(format!("{} images without captions are left out, such as {id}", bare.len()));
    }
    let mut candidates: BTreeMap<Id, String> = BTreeMap::new();
    for Caption { image_id, caption } in results {
        if let Some(before) = candidates.insert(image_id.clone(), caption) {
            let text = format!("image {image_id} has two captions, the first {before:?}");
            return Err(problem(predictions, text));
        }
    }
    let ids =
        common_ids((references, &texts), (predictions, &candidates), "image", options, &mut notes)?;
    let ids: Vec<Id> = ids.into_iter().collect();
    let tokenized: Vec<Captions> =
        ids.par_iter().map(|id| Captions::all_of(&candidates[id], &texts[id])).collect();
    let mut set = CaptionSet::default();
    for (id, captions) in ids.into_iter().zip(tokenized) {
        set.add(id, captions).map_err(|id| problem(predictions, format!("image {id} twice")))?;
    }
    let found = set.scores(meteor);
    let intervals = found.intervals(options.num_resamples, options.seed);
    let names = found.names.iter().map(|name| (*name).to_string());
    let mut scored = Scored::new(names.zip(found.corpus.iter().copied()), &intervals);
    scored.num_samples = set.len();
    scored.notes = notes;
    let named = |scores: &[f64]| {
        found.names.iter().map(|name| (*name).to_string()).zip(scores.iter().copied()).collect()
    };
    scored.per_sample =
        found.per_image.iter().map(|(id, scores)| (id.clone(), named(scores))).collect();
    Ok(scored)
}

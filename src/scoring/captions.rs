//! Captions in the COCO format: annotations with an `image_id` and a `caption` each, and a list of the same
//! for the predictions.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::files::{self, common_ids, problem};
use super::{OpenMeteor, Options, Scored};
use crate::data::formats::Id;
use crate::data::formats::results::{Annotations, Caption, Image};
use crate::error::Result;
use crate::metrics::caption_set::CaptionSet;
use crate::metrics::coco::Captions;

/// Scores the captions of `predictions`, with the METEOR that `meteor` opens.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the image.
pub fn score(
    references: &Path,
    predictions: &Path,
    meteor: OpenMeteor<'_>,
    options: Options,
) -> Result<Scored> {
    let (meteor, captions) = rayon::join(meteor, || read(references, predictions, options));
    let (meteor, (set, notes)) = (meteor?, captions?);
    let found = set.scores(&meteor);
    let intervals = found.intervals(options.num_resamples, options.seed);
    let names = found.names.iter().copied();
    let mut scored = Scored::new(set.len(), names.zip(found.corpus.iter().copied()), &intervals);
    scored.notes = notes;
    let named = |scores: &[f64]| {
        found.names.iter().map(|name| (*name).to_string()).zip(scores.iter().copied()).collect()
    };
    scored.per_sample =
        found.per_image.iter().map(|(id, scores)| (id.clone(), named(scores))).collect();
    Ok(scored)
}

/// The captions of both files, tokenised, and notes of what was left out.
fn read(
    references: &Path,
    predictions: &Path,
    options: Options,
) -> Result<(CaptionSet<Id>, Vec<String>)> {
    let annotations: Annotations<Caption> = files::read(references, "annotations of captions")?;
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
    let tokenized = ids.into_par_iter().map(|id| {
        let captions = Captions::all_of(&candidates[&id], &texts[&id]);
        (id, captions)
    });
    Ok((CaptionSet::from(tokenized.collect::<BTreeMap<_, _>>()), notes))
}

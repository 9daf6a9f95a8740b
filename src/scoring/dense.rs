//! Dense captions: annotations of regions in the COCO format with a `caption` each, and a list of
//! detections with `image_id`, `bbox` (`[x, y, width, height]` in pixels), `score` and `caption`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::files::{self, Id, finite, problem};
use super::{Options, Scored};
use crate::error::Result;
use crate::metrics::bootstrap;
use crate::metrics::dense_captions::{DenseCaptions, Detection, EmptyCaptions, Region, merge};
use crate::metrics::meteor::Meteor;

#[derive(Deserialize)]
struct Annotations {
    #[serde(default)]
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    bbox: [Option<f32>; 4],
    caption: String,
}

#[derive(Deserialize)]
struct Prediction {
    image_id: Id,
    bbox: [Option<f32>; 4],
    score: Option<f32>,
    caption: String,
}

/// Scores the detections of `predictions`. An image without detections has found nothing; it is no error.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the image.
pub fn score(
    references: &Path,
    predictions: &Path,
    meteor: &Meteor,
    options: Options,
) -> Result<Scored> {
    let annotations: Annotations = files::read(references, "annotations of regions")?;
    let results: Vec<Prediction> = files::read(predictions, "detections with captions")?;
    let mut regions: BTreeMap<Id, Vec<([f32; 4], String)>> =
        annotations.images.into_iter().map(|image| (image.id, Vec::new())).collect();
    for Annotation { image_id, bbox, caption } in annotations.annotations {
        let bounds = finite(bbox)
            .map_err(|text| problem(references, format!("a region of image {image_id}: {text}")))?;
        regions.entry(image_id).or_default().push((bounds, caption));
    }
    let mut detections: BTreeMap<&Id, Vec<Detection>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for Prediction { image_id, bbox, score, caption } in &results {
        let wrong = |text: String| problem(predictions, format!("image {image_id}: {text}"));
        let bounds = finite(*bbox).map_err(|text| wrong(format!("a detection: {text}")))?;
        let score = score.filter(|score| score.is_finite());
        let score = score.ok_or_else(|| wrong("a score that is not a finite number".into()))?;
        match regions.get_key_value(image_id) {
            Some((id, _)) => detections.entry(id).or_default().push(Detection {
                bounds,
                score,
                caption: caption.clone(),
            }),
            None if options.allow_missing => unknown.push(image_id),
            None => {
                let text = format!("image {image_id} has detections and is not annotated");
                return Err(problem(references, text));
            }
        }
    }
    let images: Vec<(Id, DenseCaptions)> = regions
        .iter()
        .map(|(id, regions)| {
            let merged: Vec<Region> = merge(regions);
            let mut captions = DenseCaptions::new(EmptyCaptions::AnyCaption);
            captions.add_image(&merged, detections.get(id).map_or(&[], Vec::as_slice));
            captions.rate(&|said, texts| meteor.score(said, texts));
            (id.clone(), captions)
        })
        .collect();
    let mut scored = whole(&images, meteor, options);
    if let Some(first) = unknown.first() {
        let number = unknown.len();
        let text = "detections in images that are not annotated are left out, such as";
        scored.notes.push(format!("{number} {text} {first}"));
    }
    Ok(scored)
}

fn whole(images: &[(Id, DenseCaptions)], meteor: &Meteor, options: Options) -> Scored {
    let text_score = meteor.name().to_lowercase();
    let of = |positions: &[usize]| {
        let mut all = DenseCaptions::new(EmptyCaptions::AnyCaption);
        positions.iter().for_each(|&at| all.merge(images[at].1.clone()));
        all.rated_scores(Some(&text_score))
    };
    let scores = of(&(0..images.len()).collect::<Vec<_>>());
    let intervals =
        bootstrap::intervals(images.len(), options.num_resamples, options.seed, |drawn| {
            let found = of(drawn);
            scores.keys().map(|name| found.get(name).copied().unwrap_or(0.0)).collect()
        });
    let mut scored =
        Scored::new(scores.iter().map(|(name, score)| (name.clone(), *score)), &intervals);
    scored.num_samples = images.len();
    scored.per_sample = images
        .iter()
        .map(|(id, captions)| (id.clone(), captions.rated_scores(Some(&text_score))))
        .collect();
    scored
}

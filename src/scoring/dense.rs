//! Dense captions: annotations of regions in the COCO format with a `caption` each, and a list of
//! detections with `image_id`, `bbox` (`[x, y, width, height]` in pixels), `score` and `caption`.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::files::{self, problem};
use super::{OpenMeteor, Options, Scored};
use crate::data::formats::Id;
use crate::data::formats::results::{AnnotatedRegion, Annotations, FoundRegion};
use crate::error::Result;
use crate::metrics::dense_captions::{DenseCaptions, Detection, EmptyCaptions, merge};
use crate::metrics::sample_set::SampleSet;

/// Scores the detections of `predictions`, with the METEOR that `meteor` opens. An image without detections has found nothing; it is no error.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the image.
pub fn score(
    references: &Path,
    predictions: &Path,
    meteor: OpenMeteor<'_>,
    options: Options,
) -> Result<Scored> {
    let read = || {
        let annotations: Annotations<AnnotatedRegion> =
            files::read(references, "annotations of regions")?;
        let results: Vec<FoundRegion> = files::read(predictions, "detections with captions")?;
        Ok((annotations, results))
    };
    let (meteor, files) = rayon::join(meteor, read);
    let (meteor, (annotations, results)) = (meteor?, files?);
    let mut regions: BTreeMap<Id, Vec<([f32; 4], String)>> =
        annotations.images.into_iter().map(|image| (image.id, Vec::new())).collect();
    for AnnotatedRegion { image_id, bbox, caption } in annotations.annotations {
        let bounds = bbox
            .numbers()
            .map_err(|text| problem(references, format!("a region of image {image_id}: {text}")))?;
        regions.entry(image_id).or_default().push((bounds, caption));
    }
    let mut detections: BTreeMap<&Id, Vec<Detection>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for found in &results {
        let image_id = &found.image_id;
        let detection = found
            .detection()
            .map_err(|text| problem(predictions, format!("image {image_id}: {text}")))?;
        if regions.contains_key(image_id) {
            detections.entry(image_id).or_default().push(detection);
        } else if options.allow_missing {
            unknown.push(image_id);
        } else {
            let text = format!("image {image_id} has detections and is not annotated");
            return Err(problem(references, text));
        }
    }
    let rated = regions.par_iter().map(|(id, regions)| {
        let mut captions = DenseCaptions::new(EmptyCaptions::AnyCaption);
        captions.add_image(&merge(regions), detections.get(id).map_or(&[], Vec::as_slice));
        captions.rate(&|said, texts| meteor.score(said, texts));
        (id.clone(), captions)
    });
    let images = SampleSet::from(rated.collect::<BTreeMap<_, _>>());
    let text_score = meteor.name().to_lowercase();
    let scores = |images: &[&DenseCaptions]| {
        let mut all = DenseCaptions::new(EmptyCaptions::AnyCaption);
        images.iter().for_each(|&image| all.merge(image.clone()));
        all.rated_scores(Some(&text_score)).into_iter().collect()
    };
    let of_image = |image: &DenseCaptions| image.rated_scores(Some(&text_score));
    let mut scored = Scored::of_set(&images, options, scores, of_image);
    if let Some(first) = unknown.first() {
        let number = unknown.len();
        let text = "detections in images that are not annotated are left out, such as";
        scored.notes.push(format!("{number} {text} {first}"));
    }
    Ok(scored)
}

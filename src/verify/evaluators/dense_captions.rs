//! `densecap_*`: regions found and said.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::compare::{Comparison, Tolerance};
use super::super::json;
use super::{METRIC, numbers, texts};
use crate::error::{Error, Result};
use crate::metrics::dense_captions::{DenseCaptions, Detection, EmptyCaptions, Region, merge};
use crate::metrics::meteor::Meteor;

#[derive(Deserialize)]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    /// `[x, y, width, height]`
    bbox: [f32; 4],
    caption: String,
}

#[derive(Deserialize)]
struct Prediction {
    image_id: i64,
    bbox: [f32; 4],
    score: f32,
    caption: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergedRegion {
    bbox: [f32; 4],
    captions: Vec<String>,
}

/// Scores by settings; regions by image.
#[derive(Deserialize)]
struct Expected {
    merged_gt: Option<BTreeMap<String, Vec<MergedRegion>>>,
    #[serde(flatten)]
    scores: BTreeMap<String, BTreeMap<String, f64>>,
}

pub(super) fn compare(folder: &Path, meteor: Option<&Meteor>) -> Result<Vec<Comparison>> {
    let predictions: Vec<Prediction> = json::read(folder, "densecap_predictions.json")?;
    let mut comparisons = Vec::new();
    for case in ["densecap", "densecap_empty"] {
        let annotations = json::read(folder, &format!("{case}_annotations.json"))?;
        let expected: Expected = json::read(folder, &format!("{case}_expected.json"))?;
        let merged = merged(&annotations);
        if let Some(expected) = &expected.merged_gt {
            comparisons.extend(regions(case, &merged, expected));
        }
        for (settings, scores) in &expected.scores {
            let empty = empty_captions(settings).ok_or_else(|| {
                let problem = format!("`{settings}` are no settings of dense captions");
                Error::format(folder, problem, "They are `meteor=<0|1>,ignore_empty=<0|1>`.")
            })?;
            let mut captions = DenseCaptions::new(empty);
            for (image, regions) in &merged {
                let detections: Vec<_> = detections(*image, &predictions).collect();
                captions.add_image(regions, &detections);
            }
            let found = match meteor {
                Some(meteor) => captions.scores(Some(&|said, texts| meteor.score(said, texts))),
                None => captions.scores(None),
            };
            comparisons.extend(scores.iter().map(|(metric, &expected)| {
                let output = format!("{case}.{settings}.{metric}");
                match found.get(metric) {
                    Some(&found) => Comparison::numbers(&output, &[found], &[expected], METRIC),
                    None => Comparison::not_implemented(&output),
                }
            }));
        }
    }
    Ok(comparisons)
}

fn empty_captions(settings: &str) -> Option<EmptyCaptions> {
    match settings {
        "meteor=0,ignore_empty=1" | "meteor=1,ignore_empty=1" => Some(EmptyCaptions::AnyCaption),
        "meteor=0,ignore_empty=0" | "meteor=1,ignore_empty=0" => Some(EmptyCaptions::NotCounted),
        _ => None,
    }
}

fn merged(annotations: &Annotations) -> Vec<(i64, Vec<Region>)> {
    let of_image = |image: &Image| {
        let regions = annotations.annotations.iter().filter(|one| one.image_id == image.id);
        let regions: Vec<_> = regions.map(|one| (one.bbox, one.caption.clone())).collect();
        (image.id, merge(&regions))
    };
    annotations.images.iter().map(of_image).collect()
}

fn detections(image: i64, predictions: &[Prediction]) -> impl Iterator<Item = Detection> {
    let found = predictions.iter().filter(move |prediction| prediction.image_id == image);
    found.map(|prediction| Detection {
        bounds: prediction.bbox,
        score: prediction.score,
        caption: prediction.caption.clone(),
    })
}

/// The merged regions of all images, boxes and captions.
fn regions(
    case: &str,
    found: &[(i64, Vec<Region>)],
    expected: &BTreeMap<String, Vec<MergedRegion>>,
) -> Vec<Comparison> {
    let expected: Vec<&MergedRegion> =
        found.iter().filter_map(|(image, _)| expected.get(&image.to_string())).flatten().collect();
    let found: Vec<&Region> = found.iter().flat_map(|(_, regions)| regions).collect();
    let boxes = numbers(found.iter().map(|region| region.bounds));
    let expected_boxes = numbers(expected.iter().map(|region| region.bbox));
    // One text per region; no caption has a line break.
    let captions: Vec<_> = found.iter().map(|region| region.captions.join("\n")).collect();
    let expected_captions: Vec<_> =
        expected.iter().map(|region| region.captions.join("\n")).collect();
    vec![
        Comparison::numbers(
            &format!("{case}.merged_gt.bbox"),
            &boxes,
            &expected_boxes,
            Tolerance::PIXELS,
        ),
        texts(&format!("{case}.merged_gt.captions"), &captions, &expected_captions),
    ]
}

//! `densecap_*`: regions found and said.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::compare::{Comparison, Tolerance};
use super::super::json;
use super::{METRIC, numbers, texts};
use crate::data::formats::Id;
use crate::data::formats::results::{AnnotatedRegion, Annotations, FoundRegion, Image};
use crate::error::{Error, Result};
use crate::metrics::dense_captions::{DenseCaptions, Detection, EmptyCaptions, Region, merge};
use crate::metrics::meteor::Meteor;

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
    let problem = |problem: String| {
        Error::format(folder, problem, "Is it a whole folder of expected values?")
    };
    let predictions: Vec<FoundRegion> = json::read(folder, "densecap_predictions.json")?;
    let mut comparisons = Vec::new();
    for case in ["densecap", "densecap_empty"] {
        let annotations = json::read(folder, &format!("{case}_annotations.json"))?;
        let expected: Expected = json::read(folder, &format!("{case}_expected.json"))?;
        let merged = merged(&annotations).map_err(problem)?;
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
                let detections = detections(image, &predictions).map_err(problem)?;
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

/// The merged regions of every image, in the order of the file.
fn merged(
    annotations: &Annotations<AnnotatedRegion>,
) -> std::result::Result<Vec<(Id, Vec<Region>)>, String> {
    let of_image = |Image { id }: &Image| {
        let regions = annotations.annotations.iter().filter(|one| one.image_id == *id);
        let regions = regions.map(|one| Ok((one.bbox.numbers()?, one.caption.clone())));
        let regions: Vec<_> = regions.collect::<std::result::Result<_, String>>()?;
        Ok((id.clone(), merge(&regions)))
    };
    annotations.images.iter().map(of_image).collect()
}

fn detections(
    image: &Id,
    predictions: &[FoundRegion],
) -> std::result::Result<Vec<Detection>, String> {
    let found = predictions.iter().filter(|prediction| prediction.image_id == *image);
    found.map(FoundRegion::detection).collect()
}

/// The merged regions of all images, boxes and captions.
fn regions(
    case: &str,
    found: &[(Id, Vec<Region>)],
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

//! Expressions: annotations in the COCO format with an `id` each, `image_id`, `bbox` (`[x, y, width, height]`
//! in pixels) and, for masks, `segmentation`; predictions are a list of `id`, `bbox` and, for masks,
//! `segmentation` as a run-length encoding of the image's size.

use std::collections::BTreeMap;
use std::path::Path;

use hotcoco::types::Segmentation;
use serde::Deserialize;

use super::files::{self, Id, common_ids, finite, problem};
use super::{Options, Scored};
use crate::data::formats::decode_mask;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::geometry::mask::{CocoMask, Mask};
use crate::metrics::bootstrap;
use crate::metrics::mean;
use crate::metrics::referring::{iou, precision_at};
use crate::metrics::referring_masks::{MaskOverlap, MaskScores};

/// IoU that a found region exceeds.
const THRESHOLDS: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.9];

#[derive(Deserialize)]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
    height: u32,
    width: u32,
}

#[derive(Deserialize)]
struct Annotation {
    id: Id,
    image_id: Id,
    bbox: [Option<f32>; 4],
    segmentation: Option<Segmentation>,
}

#[derive(Deserialize)]
struct Prediction {
    id: Id,
    bbox: [Option<f32>; 4],
    segmentation: Option<CocoMask>,
}

/// An expression's overlaps.
#[derive(Clone, Copy)]
struct Found {
    iou: f64,
    mask: Option<MaskOverlap>,
}

/// Scores the boxes of `predictions`, and their masks where every prediction has one.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the
/// expression.
pub fn score(references: &Path, predictions: &Path, options: Options) -> Result<Scored> {
    let annotations: Annotations = files::read(references, "annotations of expressions")?;
    let results: Vec<Prediction> = files::read(predictions, "located expressions")?;
    let images: BTreeMap<&Id, &Image> =
        annotations.images.iter().map(|one| (&one.id, one)).collect();
    let mut expected: BTreeMap<Id, &Annotation> = BTreeMap::new();
    for annotation in &annotations.annotations {
        if expected.insert(annotation.id.clone(), annotation).is_some() {
            let text = format!("expression {} is annotated twice", annotation.id);
            return Err(problem(references, text));
        }
    }
    let mut predicted: BTreeMap<Id, &Prediction> = BTreeMap::new();
    for prediction in &results {
        if predicted.insert(prediction.id.clone(), prediction).is_some() {
            let text = format!("expression {} has two predictions", prediction.id);
            return Err(problem(predictions, text));
        }
    }
    let mut notes = Vec::new();
    let ids = common_ids(
        (references, &expected),
        (predictions, &predicted),
        "expression",
        options,
        &mut notes,
    )?;
    let has_masks = predicted.values().any(|one| one.segmentation.is_some());
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let (annotation, prediction) = (expected[&id], predicted[&id]);
        let bounds = |bbox| finite(bbox).map(|[x, y, w, h]| BoundingBox::from_xywh(x, y, w, h));
        let wrong = |path: &Path, text: String| problem(path, format!("expression {id}: {text}"));
        let region = bounds(annotation.bbox).map_err(|text| wrong(references, text))?;
        let located = bounds(prediction.bbox).map_err(|text| wrong(predictions, text))?;
        let mut mask = None;
        if has_masks {
            let image = images.get(&annotation.image_id).ok_or_else(|| {
                wrong(references, format!("its image {} is not there", annotation.image_id))
            })?;
            let reference = reference_mask(annotation, image);
            let reference = reference.map_err(|text| wrong(references, text))?;
            let shown =
                predicted_mask(prediction, image).map_err(|text| wrong(predictions, text))?;
            let overlap = MaskOverlap::of(&shown, &reference, region);
            mask = Some(overlap.map_err(|text| wrong(predictions, text))?);
        }
        found.push((id, Found { iou: iou(located, region), mask }));
    }
    let mut scored = whole(&found, options);
    scored.notes = notes;
    Ok(scored)
}

fn reference_mask(annotation: &Annotation, image: &Image) -> std::result::Result<Mask, String> {
    let segmentation = annotation.segmentation.as_ref();
    let segmentation = segmentation.ok_or("it has no mask, the predictions have")?;
    decode_mask(segmentation, image.width, image.height)
}

/// A predicted mask may be empty.
fn predicted_mask(prediction: &Prediction, image: &Image) -> std::result::Result<Mask, String> {
    let coco = prediction.segmentation.as_ref();
    let coco = coco.ok_or("it has no mask, other predictions have")?;
    let [height, width] = coco.size;
    if [height, width] != [image.height, image.width] {
        let (w, h) = (image.width, image.height);
        return Err(format!("its mask is of {width} × {height} pixels, the image of {w} × {h}"));
    }
    Mask::try_from(coco)
}

fn whole(found: &[(Id, Found)], options: Options) -> Scored {
    let all: Vec<usize> = (0..found.len()).collect();
    let scores = named(found, &all);
    let intervals =
        bootstrap::intervals(found.len(), options.num_resamples, options.seed, |drawn| {
            named(found, drawn).into_iter().map(|(_, value)| value).collect()
        });
    let mut scored = Scored::new(scores, &intervals);
    scored.num_samples = found.len();
    scored.per_sample = found
        .iter()
        .map(|(id, found)| {
            let mut scores = BTreeMap::from([("box_iou".to_string(), found.iou)]);
            scores.extend(found.mask.map(|mask| ("mask_iou".to_string(), mask.iou())));
            scores.extend(found.mask.map(|mask| ("mask_box_iou".to_string(), mask.box_iou)));
            (id.clone(), scores)
        })
        .collect();
    scored
}

/// Scores of the expressions at these positions; none of none.
fn named(found: &[(Id, Found)], positions: &[usize]) -> Vec<(String, f64)> {
    let ious: Vec<f64> = positions.iter().map(|&at| found[at].1.iou).collect();
    let masks: Vec<MaskOverlap> = positions.iter().filter_map(|&at| found[at].1.mask).collect();
    let mut scores = Vec::new();
    let mut precisions = |kind: &str, ious: &[f64]| {
        for threshold in THRESHOLDS {
            let precision = precision_at(ious, threshold);
            scores.extend(precision.map(|value| (format!("{kind}_P@{threshold}"), value)));
        }
    };
    precisions("box", &ious);
    let of_masks: Vec<f64> = masks.iter().map(MaskOverlap::iou).collect();
    precisions("mask", &of_masks);
    scores.extend(mean(ious.iter().copied()).map(|mean| ("box_mean_iou".to_string(), mean)));
    if let Some(of) = MaskScores::of(&masks) {
        scores.push(("mask_cIoU".into(), of.cumulative_iou));
        scores.push(("mask_gIoU".into(), of.mean_iou));
        scores.push(("mask_box_P@0.5".into(), of.box_precision_at_50));
    }
    scores
}

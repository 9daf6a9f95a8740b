//! `refcoco_*`: expressions located by boxes and masks.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::compare::{Comparison, Tolerance};
use super::super::json;
use super::{METRIC, in_original, numbers, texts};
use crate::data::formats::Id;
use crate::data::formats::results::Expressions;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::geometry::mask::{CocoMask, Mask};
use crate::metrics::referring::{ReferringScores, iou};
use crate::metrics::referring_masks::{CoarseLogits, MaskOverlap, MaskScores};

type Example = super::Example<Prediction, Target>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prediction {
    detection_boxes: Vec<[f32; 4]>,
    /// Logits, `rows × columns` per expression.
    detection_masks: Vec<Vec<Vec<f32>>>,
}

/// Sizes are `[height, width]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    size: [u32; 2],
    padded_size: [u32; 2],
    orig_size: [u32; 2],
    #[serde(rename = "image/id")]
    image_id: i64,
    refexp_ids: Vec<i64>,
    captions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    metrics: BTreeMap<String, f64>,
    predictions: Vec<Located>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Located {
    id: i64,
    image_id: i64,
    bbox: [f32; 4],
    refexp: String,
    segmentation: CocoMask,
}

pub(super) fn compare(folder: &Path) -> Result<Vec<Comparison>> {
    let problem = |problem: String| {
        Error::format(folder, problem, "Is it a whole folder of expected values?")
    };
    let annotations: Expressions = json::read(folder, "refcoco_annotations.json")?;
    let examples: Vec<Example> = json::read(folder, "refcoco_inputs.json")?;
    let expected: Expected = json::read(folder, "refcoco_expected.json")?;
    let found = predictions(&examples).map_err(problem)?;
    let mut comparisons = located(&found, &expected.predictions);
    let scores = scores(&found, &annotations).map_err(problem)?;
    comparisons.extend(expected.metrics.iter().map(|(metric, &expected)| {
        let output = format!("refcoco.metrics.{metric}");
        match scores.get(metric.as_str()) {
            Some(&found) => Comparison::numbers(&output, &[found], &[expected], METRIC),
            None => Comparison::not_implemented(&output),
        }
    }));
    Ok(comparisons)
}

/// An expression's box and mask in pixels of the original image, by the expression. Rows with an
/// expression below 1 are padding; of several for one expression the last counts.
fn predictions(examples: &[Example]) -> std::result::Result<BTreeMap<i64, Found>, String> {
    let mut found = BTreeMap::new();
    for Example { prediction, target } in examples {
        let rows = target.refexp_ids.iter().enumerate().filter(|&(_, &id)| id > 0);
        for (row, &id) in rows {
            let missing = || format!("expression {id} has no prediction");
            let corners = *prediction.detection_boxes.get(row).ok_or_else(missing)?;
            let logits = prediction.detection_masks.get(row).ok_or_else(missing)?;
            let [canvas, content] =
                [target.padded_size, target.size].map(|s| s.map(|v| v as usize));
            let coarse = CoarseLogits {
                logits: &logits.concat(),
                rows: logits.len(),
                columns: logits.first().map_or(0, Vec::len),
            };
            let mask = coarse.on_image(canvas, content, target.orig_size)?;
            let [size, original] = [target.size, target.orig_size].map(|s| s.map(|v| v as f32));
            let bounds = in_original(corners, size, original);
            let caption = target.captions.get(row).ok_or_else(missing)?.clone();
            found.insert(id, Found { image: target.image_id, bounds, mask, caption });
        }
    }
    Ok(found)
}

struct Found {
    image: i64,
    bounds: BoundingBox,
    mask: Mask,
    caption: String,
}

/// Boxes, masks and texts in pixels of the original image.
fn located(found: &BTreeMap<i64, Found>, expected: &[Located]) -> Vec<Comparison> {
    let mut expected: Vec<_> = expected.iter().collect();
    expected.sort_by_key(|one| one.id);
    let integers = |values: Vec<i64>| values.into_iter().map(|id| id as f64).collect::<Vec<_>>();
    let found_ids = integers(found.iter().flat_map(|(&id, one)| [id, one.image]).collect());
    let expected_ids = integers(expected.iter().flat_map(|one| [one.id, one.image_id]).collect());
    let boxes = numbers(found.values().map(|one| one.bounds.to_xywh()));
    let expected_boxes = numbers(expected.iter().map(|one| one.bbox));
    let captions: Vec<_> = found.values().map(|one| one.caption.as_str()).collect();
    let expected_captions: Vec<_> = expected.iter().map(|one| one.refexp.as_str()).collect();
    let masks: Vec<CocoMask> = found.values().map(|one| one.mask.to_coco()).collect();
    let wrong = masks.iter().zip(&expected).filter(|(a, b)| **a != b.segmentation).count();
    let problem = if masks.len() != expected.len() {
        Some(format!("{} masks, not {}", masks.len(), expected.len()))
    } else {
        (wrong > 0).then(|| format!("{wrong} of {} masks", masks.len()))
    };
    vec![
        Comparison::numbers("refcoco.predictions.id", &found_ids, &expected_ids, Tolerance::Exact),
        Comparison::numbers("refcoco.predictions.bbox", &boxes, &expected_boxes, Tolerance::PIXELS),
        texts("refcoco.predictions.refexp", &captions, &expected_captions),
        Comparison::of_truth("refcoco.predictions.segmentation", problem),
    ]
}

/// Scores by the reference's names.
fn scores(
    found: &BTreeMap<i64, Found>,
    annotations: &Expressions,
) -> std::result::Result<BTreeMap<&'static str, f64>, String> {
    let (mut ious, mut overlaps) = (Vec::new(), Vec::new());
    for (id, Found { bounds, mask, .. }) in found {
        let missing = || format!("expression {id} is not annotated");
        let annotation = annotations.annotations.iter().find(|one| one.id == Id::Number(*id));
        let annotation = annotation.ok_or_else(missing)?;
        let image = annotations.images.iter().find(|image| image.id == annotation.image_id);
        let image = image.ok_or_else(missing)?;
        let reference = annotation.mask(image)?;
        let reference = reference.ok_or_else(|| format!("expression {id} has no mask"))?;
        let region = annotation.bbox.bounds()?;
        ious.push(iou(*bounds, region));
        overlaps.push(MaskOverlap::of(mask, &reference, region)?);
    }
    let boxes = ReferringScores::of(&ious).map(|s| ("box_Precision@1", s.precision_at_50));
    let masks = MaskScores::of(&overlaps).map(|scores| {
        [
            ("seg_cIoU", scores.cumulative_iou),
            ("seg_gIoU", scores.mean_iou),
            ("seg_AP", scores.precision_at_50),
            ("seg_box_Precision@1", scores.box_precision_at_50),
        ]
    });
    Ok(boxes.into_iter().chain(masks.into_iter().flatten()).collect())
}

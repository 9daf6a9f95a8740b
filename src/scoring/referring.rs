//! Expressions: annotations in the COCO format with an `id` each, `image_id`, `bbox` (`[x, y, width, height]`
//! in pixels) and, for masks, `segmentation`; predictions are a list of `id`, `bbox` and, for masks,
//! `segmentation` as a run-length encoding of the image's size.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, common_ids, problem};
use super::{Options, Scored};
use crate::data::formats::Id;
use crate::data::formats::results::{
    AnnotatedExpression, Expressions, LocatedExpression, SizedImage,
};
use crate::error::Result;
use crate::geometry::mask::Mask;
use crate::metrics::located_expressions::{ExpressionOverlap, ExpressionSet, scores};
use crate::metrics::referring::iou;
use crate::metrics::referring_masks::MaskOverlap;

/// Scores the boxes of `predictions`, and their masks where every prediction has one.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format), with the id of the
/// expression.
pub fn score(references: &Path, predictions: &Path, options: Options) -> Result<Scored> {
    let annotations: Expressions = files::read(references, "annotations of expressions")?;
    let results: Vec<LocatedExpression> = files::read(predictions, "located expressions")?;
    let images: BTreeMap<&Id, &SizedImage> =
        annotations.images.iter().map(|one| (&one.id, one)).collect();
    let mut expected: BTreeMap<Id, &AnnotatedExpression> = BTreeMap::new();
    for annotation in &annotations.annotations {
        if expected.insert(annotation.id.clone(), annotation).is_some() {
            let text = format!("expression {} is annotated twice", annotation.id);
            return Err(problem(references, text));
        }
    }
    let mut predicted: BTreeMap<Id, &LocatedExpression> = BTreeMap::new();
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
    let mut found = BTreeMap::new();
    for id in ids {
        let (annotation, prediction) = (expected[&id], predicted[&id]);
        let wrong = |path: &Path, text: String| problem(path, format!("expression {id}: {text}"));
        let region = annotation.bbox.bounds().map_err(|text| wrong(references, text))?;
        let located = prediction.bbox.bounds().map_err(|text| wrong(predictions, text))?;
        let mut mask = None;
        if has_masks {
            let image = images.get(&annotation.image_id).ok_or_else(|| {
                wrong(references, format!("its image {} is not there", annotation.image_id))
            })?;
            let reference = annotation.mask(image).and_then(|mask| {
                mask.ok_or_else(|| "it has no mask, the predictions have".to_string())
            });
            let reference = reference.map_err(|text| wrong(references, text))?;
            let shown =
                predicted_mask(prediction, image).map_err(|text| wrong(predictions, text))?;
            let overlap = MaskOverlap::of(&shown, &reference, region);
            mask = Some(overlap.map_err(|text| wrong(predictions, text))?);
        }
        found.insert(id, ExpressionOverlap { box_iou: iou(located, region), mask });
    }
    let of_one = ExpressionOverlap::scores;
    let mut scored = Scored::of_set(&ExpressionSet::from(found), options, scores, of_one);
    scored.notes = notes;
    Ok(scored)
}

/// A predicted mask may be empty.
fn predicted_mask(
    prediction: &LocatedExpression,
    image: &SizedImage,
) -> std::result::Result<Mask, String> {
    let coco = prediction.segmentation.as_ref();
    let coco = coco.ok_or("it has no mask, other predictions have")?;
    let [height, width] = coco.size;
    if [height, width] != [image.height, image.width] {
        let (w, h) = (image.width, image.height);
        return Err(format!("its mask is of {width} × {height} pixels, the image of {w} × {h}"));
    }
    Mask::try_from(coco)
}

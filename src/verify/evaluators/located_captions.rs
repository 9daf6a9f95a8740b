//! `loca_*`: which captions of places are compared with which references.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::compare::{Comparison, Tolerance};
use super::super::json;
use super::{METRIC, in_original, numbers, texts};
use crate::error::Result;
use crate::metrics::bleu::bleu;
use crate::metrics::cider::cider;
use crate::metrics::coco::Captions;
use crate::metrics::located_captions::{CaptionedPlace, LocatedCaption, Merging, pair};
use crate::metrics::merging::Overlap;
use crate::metrics::meteor::Meteor;
use crate::metrics::rouge::rouge_l;

type Example = super::Example<Prediction, Target>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prediction {
    captions: Vec<String>,
    detection_boxes: Vec<[f32; 4]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    captions: Vec<String>,
    boxes: Vec<[f32; 4]>,
    /// `[height, width]` of the network's image, without padding.
    size: [f32; 2],
    orig_size: [f32; 2],
    #[serde(rename = "image/id")]
    image_id: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    no_merge: Case,
    merge_reference: Case,
    merge_xywh_iou: Case,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    metrics: BTreeMap<String, Metric>,
    predictions: Vec<Entry>,
    annotations: Vec<Entry>,
}

/// BLEU is a list: of words, pairs of words, and so on.
#[derive(Deserialize)]
#[serde(untagged)]
enum Metric {
    One(f64),
    Several(Vec<f64>),
}

/// `image_id` is written only without merging.
#[derive(Deserialize)]
struct Entry {
    id: usize,
    image_id: Option<i64>,
    bbox: [f32; 4],
    caption: Option<String>,
    captions: Option<Vec<String>>,
}

pub(super) fn compare(folder: &Path, meteor: Option<&Meteor>) -> Result<Vec<Comparison>> {
    let examples: Vec<Example> = json::read(folder, "loca_inputs.json")?;
    let expected: Expected = json::read(folder, "loca_expected.json")?;
    let reference = Overlap::SizesAsCorners;
    let cases = [
        ("loca.no_merge", Merging::None, &expected.no_merge),
        ("loca.merge_reference", Merging::Clusters(reference), &expected.merge_reference),
        ("loca.merge_xywh_iou", Merging::Clusters(Overlap::Iou), &expected.merge_xywh_iou),
    ];
    let mut comparisons = Vec::new();
    for (case, merging, expected) in cases {
        // Places are merged by their annotations; so are the captions about them.
        let predicted: fn(&Example) -> &Vec<[f32; 4]> = match merging {
            Merging::None => |one| &one.prediction.detection_boxes,
            Merging::Clusters(_) => |one| &one.target.boxes,
        };
        let predicted = pair(&places(&examples, predicted), merging);
        let annotated = pair(&places(&examples, |one| &one.target.boxes), merging);
        let images: Vec<i64> = examples
            .iter()
            .flat_map(|one| std::iter::repeat_n(one.target.image_id, rows(one).count()))
            .collect();
        for (list, found, expected) in [
            ("predictions", &predicted, &expected.predictions),
            ("annotations", &annotated, &expected.annotations),
        ] {
            comparisons.extend(entries(&format!("{case}.{list}"), list, found, expected, &images));
        }
        comparisons.extend(metrics(case, &predicted, &expected.metrics, meteor));
    }
    Ok(comparisons)
}

/// Measures of the captions, of all places as one set.
fn metrics(
    case: &str,
    pairs: &[LocatedCaption],
    expected: &BTreeMap<String, Metric>,
    meteor: Option<&Meteor>,
) -> Vec<Comparison> {
    let set: Vec<_> =
        pairs.iter().filter_map(|one| Captions::of(&one.caption, &one.references)).collect();
    let measure = |(metric, expected): (&String, &Metric)| {
        let output = format!("{case}.metrics.{metric}");
        let found = match metric.as_str() {
            "BLEU-4" => bleu(&set).map(|score| score.corpus).to_vec(),
            "ROUGE_L" => vec![rouge_l(&set).corpus],
            "CIDEr" => vec![cider(&set).corpus],
            "Meteor" => match meteor {
                Some(meteor) => vec![meteor.score_set(&set).corpus],
                None => return Comparison::not_implemented(&output),
            },
            _ => return Comparison::not_implemented(&output),
        };
        let expected = match expected {
            Metric::One(value) => std::slice::from_ref(value),
            Metric::Several(values) => values,
        };
        Comparison::numbers(&output, &found, expected, METRIC)
    };
    expected.iter().map(measure).collect()
}

/// The rows that are not padding.
fn rows(example: &Example) -> impl Iterator<Item = usize> {
    let boxes = example.target.boxes.iter().enumerate();
    boxes.filter(|(_, bounds)| bounds.iter().any(|&v| v > 0.0)).map(|(row, _)| row)
}

/// The places of all images with their two captions; boxes as `of` picks them.
fn places(examples: &[Example], of: fn(&Example) -> &Vec<[f32; 4]>) -> Vec<Vec<CaptionedPlace>> {
    let place = |example: &Example, row: usize| {
        let Target { captions, size, orig_size, .. } = &example.target;
        Some(CaptionedPlace {
            bounds: in_original(*of(example).get(row)?, *size, *orig_size).to_xywh(),
            caption: example.prediction.captions.get(row)?.clone(),
            reference: captions.get(row)?.clone(),
        })
    };
    let of_image =
        |example: &Example| rows(example).filter_map(|row| place(example, row)).collect();
    examples.iter().map(of_image).collect()
}

fn entries(
    output: &str,
    list: &str,
    found: &[LocatedCaption],
    expected: &[Entry],
    images: &[i64],
) -> Vec<Comparison> {
    let ids = |ids: Vec<usize>| ids.into_iter().map(|id| id as f64).collect::<Vec<_>>();
    let found_ids = ids(found.iter().map(|one| one.id).collect());
    let expected_ids = ids(expected.iter().map(|one| one.id).collect());
    let found_boxes = numbers(found.iter().map(|one| one.bounds));
    let expected_boxes = numbers(expected.iter().map(|one| one.bbox));
    let said = |one: &LocatedCaption| match list {
        "predictions" => one.caption.clone(),
        _ => one.references.join("\n"),
    };
    let found_texts: Vec<_> = found.iter().map(said).collect();
    let expected_texts: Vec<_> = expected
        .iter()
        .map(|one| match (&one.caption, &one.captions) {
            (Some(caption), _) => caption.clone(),
            (None, Some(captions)) => captions.join("\n"),
            (None, None) => String::new(),
        })
        .collect();
    let wrong_image = expected.iter().find(|one| {
        one.image_id.is_some_and(|image| images.get(one.id).is_none_or(|&found| found != image))
    });
    let problem = wrong_image.map(|one| format!("{} is of another image", one.id));
    vec![
        Comparison::numbers(&format!("{output}.id"), &found_ids, &expected_ids, Tolerance::Exact),
        Comparison::numbers(
            &format!("{output}.bbox"),
            &found_boxes,
            &expected_boxes,
            Tolerance::PIXELS,
        ),
        texts(&format!("{output}.caption"), &found_texts, &expected_texts),
        Comparison::of_truth(&format!("{output}.image_id"), problem),
    ]
}

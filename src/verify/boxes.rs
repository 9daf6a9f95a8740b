//! Boxes: overlap, coding, matching, suppression, and the features under them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::heads::boxes::box_coding::{BoxCoding, MAX_LOG_RATIO};
use crate::model::heads::boxes::matching::{Label, Match, best_matches, captions};
use crate::model::heads::boxes::nms::{Selection, suppress, suppress_by_class};
use crate::model::heads::boxes::roi_align::{Grid, Region, assign, roi_align as pool};

/// The numbers of a tensor.
pub(super) fn numbers<const D: usize>(values: Tensor<D>) -> Vec<f32> {
    values.into_data().iter::<f32>().collect()
}

fn whole_numbers<const D: usize>(values: Tensor<D, Int>) -> Vec<usize> {
    values.into_data().iter::<i64>().map(|value| value.max(0) as usize).collect()
}

/// `[N, 4]` as boxes.
fn boxes_of(values: Tensor<2>) -> Vec<BoundingBox> {
    let values = numbers(values);
    values.chunks_exact(4).map(|one| BoundingBox::new(one[0], one[1], one[2], one[3])).collect()
}

/// `[B, N, 4]` as boxes.
pub(super) fn boxes_by_image(values: Tensor<3>) -> Vec<Vec<BoundingBox>> {
    let [batch, _, _] = values.dims();
    (0..batch).map(|image| boxes_of(values.clone().narrow(0, image, 1).squeeze_dim(0))).collect()
}

fn rows_of(boxes: &[BoundingBox]) -> Vec<f32> {
    boxes.iter().flat_map(|one| one.to_array()).collect()
}

/// Boxes as `[B, N, 4]`.
pub(super) fn tensor_of(boxes: &[Vec<BoundingBox>], device: &Device) -> Tensor<3> {
    let shape = [boxes.len(), boxes.first().map_or(0, Vec::len), 4];
    let values: Vec<f32> = boxes.iter().flat_map(|boxes| rows_of(boxes)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Numbers as `[N]`.
fn line(values: Vec<f32>, device: &Device) -> Tensor<1> {
    Tensor::from_data(values.as_slice(), device)
}

fn integers(values: impl Iterator<Item = i64>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.collect();
    Tensor::from_data(values.as_slice(), device)
}

/// Settings of the reference's functions of boxes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoxSettings {
    weights: [f32; 4],
    label_thresholds: Vec<Vec<f32>>,
    assign_values: AssignValues,
    match_gt_thresh: f32,
    bbox_xform_clip: f32,
}

/// The numbers that stand for labels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
struct AssignValues {
    ignore: i64,
    negative: i64,
    positive: i64,
}

/// Overlap, coding, clipping, labels and captions of boxes.
pub(super) fn box_ops(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: BoxSettings = vectors.config()?;
    vectors.require("bbox_xform_clip", &settings.bbox_xform_clip, &MAX_LOG_RATIO)?;
    let input = |name: &str| -> Result<Vec<Vec<BoundingBox>>> {
        Ok(boxes_by_image(vectors.input(name, device)?))
    };
    let (boxes, anchors) = (input("boxes")?, input("anchors")?);
    let weighted = BoxCoding { weights: settings.weights };
    let plain = BoxCoding { weights: [1.0; 4] };
    let encode = |coding: BoxCoding| {
        let deltas = boxes.iter().flatten().zip(anchors.iter().flatten());
        let deltas: Vec<f32> =
            deltas.flat_map(|(one, anchor)| coding.encode(*one, *anchor)).collect();
        line(deltas, device).reshape([boxes.len() as i32, -1, 4]) as Tensor<3>
    };
    // As boxes, only because a box is four numbers.
    let deltas = input("deltas")?;
    let decoded: Vec<Vec<BoundingBox>> = deltas
        .iter()
        .zip(&anchors)
        .map(|(deltas, anchors)| {
            let decode = |(deltas, anchor): (&BoundingBox, &BoundingBox)| {
                weighted.decode(deltas.to_array(), *anchor)
            };
            deltas.iter().zip(anchors).map(decode).collect()
        })
        .collect();
    let mut produced = vec![
        Produced::float("encode", encode(weighted), Tolerance::FEATURES),
        Produced::float("encode_noweights", encode(plain), Tolerance::FEATURES),
        Produced::float("decode", tensor_of(&decoded, device), Tolerance::PIXELS),
        Produced::float("clip", clip(vectors, &boxes, device)?, Tolerance::PIXELS),
    ];
    produced.extend(overlaps_and_labels(vectors, &settings, device)?);
    produced.extend(caption_matches(vectors, &settings, device)?);
    Ok(produced)
}

/// The reference cuts the first and third coordinate at the first of the two sizes that it is given.
fn clip(vectors: &Vectors, boxes: &[Vec<BoundingBox>], device: &Device) -> Result<Tensor<3>> {
    let sizes = numbers(vectors.input::<2>("image_shape_hw", device)?);
    let clipped: Vec<Vec<BoundingBox>> = boxes
        .iter()
        .zip(sizes.chunks_exact(2))
        .map(|(boxes, size)| {
            boxes.iter().map(|one| one.translate(-5.0, -5.0).clip(size[0], size[1])).collect()
        })
        .collect();
    Ok(tensor_of(&clipped, device))
}

fn overlaps_and_labels(
    vectors: &Vectors,
    settings: &BoxSettings,
    device: &Device,
) -> Result<Vec<Produced>> {
    let annotated = boxes_of(vectors.input("boxes_a", device)?);
    let boxes = boxes_of(vectors.input("boxes_b", device)?);
    let overlaps = annotated.iter().flat_map(|a| boxes.iter().map(|b| a.iou(*b)));
    let overlaps = line(overlaps.collect(), device).reshape([annotated.len(), boxes.len()]);
    let mut produced = vec![Produced::float("pairwise_iou", overlaps, Tolerance::FEATURES)];
    let matches = best_matches(&boxes, &annotated);
    let value = |label| match label {
        Label::Ignored => settings.assign_values.ignore,
        Label::Negative => settings.assign_values.negative,
        Label::Positive => settings.assign_values.positive,
    };
    for thresholds in &settings.label_thresholds {
        let (Some(&least), Some(&greatest)) = (thresholds.first(), thresholds.last()) else {
            return Err(vectors.problem("a list of thresholds is empty", "Give one or two."));
        };
        let count = thresholds.len();
        vectors.require("more than two thresholds", &(count > 2), &false)?;
        let labels = matches.iter().map(|found: &Match| value(found.label(least, greatest)));
        let name = format!("assign_{count}");
        produced.push(Produced::integers(name, integers(labels, device)));
        let indices = integers(matches.iter().map(|found| found.index as i64), device);
        produced.push(Produced::integers(format!("match_idx_{count}"), indices));
    }
    Ok(produced)
}

fn caption_matches(
    vectors: &Vectors,
    settings: &BoxSettings,
    device: &Device,
) -> Result<Vec<Produced>> {
    let proposals = boxes_by_image(vectors.input("proposals", device)?);
    let annotated = boxes_by_image(vectors.input("gt_boxes", device)?);
    let classes = whole_numbers(vectors.integers::<2>("gt_classes", device)?);
    let rows = annotated.first().map_or(1, Vec::len).max(1);
    let matched: Vec<_> = proposals
        .iter()
        .zip(&annotated)
        .zip(classes.chunks_exact(rows))
        .flat_map(|((boxes, annotated), classes)| {
            let found = captions(boxes, annotated, settings.match_gt_thresh);
            let class = |row: &Match, matched| if matched { classes[row.index] } else { 0 };
            found.into_iter().map(move |(row, matched)| (row.index, class(&row, matched)))
        })
        .collect();
    let by_image =
        |values: Tensor<1, Int>| -> Tensor<2, Int> { values.reshape([proposals.len() as i32, -1]) };
    let indices = integers(matched.iter().map(|(index, _)| *index as i64), device);
    let classes = integers(matched.iter().map(|(_, class)| *class as i64), device);
    Ok(vec![
        Produced::integers("match_gt.idx", by_image(indices)),
        Produced::integers("match_gt.classes", by_image(classes)),
    ])
}

/// Settings of the reference's suppression.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuppressionSettings {
    output_size: usize,
    iou_threshold: f32,
    agnostic_iou: f32,
    det: DetectionSettings,
}

/// Settings of the reference's last step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectionSettings {
    nms_threshold: f32,
    score_threshold: f32,
    post_nms_num_detections: usize,
    box_weights: [f32; 4],
    class_box_regression: bool,
}

/// Suppression with and without classes, and the last step of detection.
pub(super) fn nms(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: SuppressionSettings = vectors.config()?;
    vectors.require("class_box_regression", &settings.det.class_box_regression, &false)?;
    let boxes = boxes_of(vectors.input("boxes", device)?);
    let scores = numbers(vectors.input::<1>("scores", device)?);
    let classes = whole_numbers(vectors.integers::<1>("classes", device)?);
    let size = settings.output_size;
    let last = boxes.len().saturating_sub(1);
    // Slots that nothing survived for hold the last candidate with a score of 0.
    let fill = |kept: &[usize], size| -> Vec<usize> {
        let mut kept = kept.to_vec();
        kept.resize(size, last);
        kept
    };
    let chosen_boxes = |indices: &[usize]| -> Vec<BoundingBox> {
        indices.iter().map(|&index| boxes[index]).collect()
    };
    let chosen_scores = |kept: &[usize], size| {
        let mut scores: Vec<f32> = kept.iter().map(|&index| scores[index]).collect();
        scores.resize(size, 0.0);
        line(scores, device)
    };
    let table = |boxes: &[BoundingBox]| line(rows_of(boxes), device).reshape([boxes.len(), 4]);
    let pixels = Tolerance::PIXELS;

    let kept = suppress(&boxes, settings.agnostic_iou, boxes.len());
    let filled = fill(&kept, boxes.len());
    let mut produced = vec![
        Produced::float("agnostic02_boxes", table(&chosen_boxes(&filled)), pixels),
        Produced::float(
            "agnostic02_scores",
            chosen_scores(&kept, boxes.len()),
            Tolerance::FEATURES,
        ),
    ];
    let kept = suppress_by_class(&boxes, &classes, settings.iou_threshold, size);
    let filled = fill(&kept, size);
    let chosen_classes = integers(filled.iter().map(|&index| classes[index] as i64), device);
    produced.extend([
        Produced::float("batched_boxes", table(&chosen_boxes(&filled)), pixels),
        Produced::float("batched_scores", chosen_scores(&kept, size), Tolerance::FEATURES),
        Produced::integers("batched_classes", chosen_classes),
    ]);
    let kept = suppress(&boxes, settings.iou_threshold, size);
    let indices = integers(fill(&kept, size).into_iter().map(|index| index as i64), device);
    let mut survivors = chosen_boxes(&kept);
    survivors.resize(size, BoundingBox::new(0.0, 0.0, 0.0, 0.0));
    produced.extend([
        Produced::float("padded_boxes", tensor_of(&[survivors], device), pixels),
        Produced::float(
            "padded_scores",
            chosen_scores(&kept, size).unsqueeze::<2>(),
            Tolerance::FEATURES,
        ),
        Produced::integers("padded_idx", indices.unsqueeze::<2>()),
    ]);
    produced.extend(detections(vectors, &settings.det, device)?);
    Ok(produced)
}

fn detections(
    vectors: &Vectors,
    settings: &DetectionSettings,
    device: &Device,
) -> Result<Vec<Produced>> {
    let anchors = boxes_by_image(vectors.input("anchors_yxyx", device)?);
    let deltas = boxes_by_image(vectors.input("box_outputs", device)?);
    let probabilities = vectors.input::<3>("class_probs", device)?;
    let [_, rows, num_classes] = probabilities.dims();
    let probabilities = numbers(probabilities);
    let probabilities: Vec<Vec<f32>> =
        probabilities.chunks_exact(num_classes).map(<[f32]>::to_vec).collect();
    let sizes = numbers(vectors.input::<2>("image_shape_hw", device)?);
    let coding = BoxCoding { weights: settings.box_weights };
    let selection = Selection {
        score_threshold: settings.score_threshold,
        max_overlap: settings.nms_threshold,
        count: settings.post_nms_num_detections,
    };
    let of_image = |image: usize| {
        // Here y comes first, as does the height.
        let decode = |(deltas, anchor): (&BoundingBox, &BoundingBox)| {
            let decoded = coding.decode(deltas.to_array(), *anchor);
            decoded.clip(sizes[2 * image], sizes[2 * image + 1])
        };
        let boxes: Vec<_> = deltas[image].iter().zip(&anchors[image]).map(decode).collect();
        selection.select(&boxes, &probabilities[image * rows..(image + 1) * rows])
    };
    let found: Vec<_> = (0..anchors.len()).map(of_image).collect();
    Ok(super::box_decoder::detection_outputs("det", &found, device))
}

/// Settings of the reference's RoIAlign.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoiAlignSettings {
    strides: Vec<usize>,
    output_size: usize,
    sampling_ratio: usize,
    /// In words.
    #[allow(dead_code)]
    level_assign: String,
}

/// Features under boxes.
pub(super) fn roi_align(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: RoiAlignSettings = vectors.config()?;
    let maps = maps(vectors, settings.strides.len(), device)?;
    let strides: Vec<f32> = settings.strides.iter().map(|&stride| stride as f32).collect();
    let first = settings.strides.first().map_or(0, |stride| stride.ilog2() as usize);
    let boxes = boxes_by_image(vectors.input("boxes", device)?);
    let assigned: Vec<Vec<Region>> = boxes
        .iter()
        .map(|boxes| boxes.iter().map(|one| assign(*one, &strides, first)).collect())
        .collect();
    let scaled = boxes_by_image(vectors.input("boxes_level_scaled", device)?);
    let levels = whole_numbers(vectors.integers::<2>("feature_ids", device)?);
    let rows = scaled.first().map_or(1, Vec::len).max(1);
    let given: Vec<Vec<Region>> = scaled
        .iter()
        .zip(levels.chunks_exact(rows))
        .map(|(boxes, levels)| {
            let region =
                |(&bounding_box, &map): (&BoundingBox, &usize)| Region { map, bounding_box };
            boxes.iter().zip(levels).map(region).collect()
        })
        .collect();
    let grid = Grid { side: settings.output_size, samples: settings.sampling_ratio };
    Ok(vec![
        Produced::float("roi", pool(&maps, &assigned, grid), Tolerance::FEATURES),
        Produced::float("multilevel_direct", pool(&maps, &given, grid), Tolerance::FEATURES),
    ])
}

/// The inputs `level_{i}` `[B, H, W, D]` as `[B, D, H, W]`.
pub(super) fn maps(vectors: &Vectors, count: usize, device: &Device) -> Result<Vec<Tensor<4>>> {
    let map = |level| vectors.input::<4>(&format!("level_{level}"), device);
    (0..count).map(|level| Ok(map(level)?.permute([0, 3, 1, 2]))).collect()
}

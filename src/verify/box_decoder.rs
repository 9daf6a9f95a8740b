//! The whole box decoder.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::box_parts::{PyramidSettings, buildable, first_stage_losses, level_outputs};
use super::boxes::{boxes_by_image, numbers, tensor_of};
use super::compare::{Produced, Tolerance};
use super::gradients::gradient_norms;
use super::vectors::Vectors;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::heads::boxes::box_coding::BoxCoding;
use crate::model::heads::boxes::head::HeadConfig;
use crate::model::heads::boxes::matching::Label;
use crate::model::heads::boxes::nms::Detection;
use crate::model::heads::boxes::proposals::{Proposal, ProposalConfig};
use crate::model::heads::boxes::roi_head::RoiHeadConfig;
use crate::model::heads::boxes::{BoxDecoder, BoxDecoderConfig, DetectionConfig, Training};
use crate::model::loss::detection::DetectionLossConfig;
use crate::weights::boxes;
use crate::weights::layout::Component;

/// Settings of the reference's box decoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecoderSettings {
    strides: Vec<usize>,
    hm_weight: f64,
    reg_weight: f64,
    /// Not consulted by the reference.
    #[allow(dead_code)]
    score_thresh: f64,
    pre_nms_topk_train: usize,
    post_nms_topk_train: usize,
    pre_nms_topk_test: usize,
    post_nms_topk_test: usize,
    iou_thresh: f32,
    roi_nms_threshold: f32,
    roi_post_nms_num_detections: usize,
    roi_fc_dims: Vec<usize>,
    roi_samples_per_image: usize,
    roi_positive_fraction: f32,
    fpn_range: Vec<[f32; 2]>,
    match_gt_thresh: f32,
    sync_device_norm: bool,
    num_classes: i64,
    roi_num_classes: usize,
    roi_matching_threshold: Vec<f32>,
    fpn_args: PyramidSettings,
    /// Of the file, not of the module.
    #[serde(default = "head_channels")]
    head_out_channels: usize,
    /// Of three stages, of which the paper has the first.
    #[serde(default = "box_weights")]
    cascade_box_weights: Vec<[f32; 4]>,
    /// Of the file: the order of `train.grad_norms`.
    #[serde(default)]
    grad_norm_param_order: Vec<String>,
}

fn head_channels() -> usize {
    256
}

fn box_weights() -> Vec<[f32; 4]> {
    vec![BoxCoding::default().weights]
}

impl DecoderSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<BoxDecoderConfig> {
        vectors.require("sync_device_norm", &self.sync_device_norm, &false)?;
        vectors.require("num_classes above 0", &(self.num_classes > 0), &false)?;
        vectors.require("roi_num_classes", &self.roi_num_classes, &1)?;
        vectors.require("stages", &self.roi_matching_threshold.len(), &1)?;
        let pyramid = self.fpn_args.config(vectors)?;
        let strides: Vec<usize> = pyramid.levels().into_iter().map(|level| 1 << level).collect();
        vectors.require("strides", &self.strides, &strides)?;
        let weights = self.cascade_box_weights.first().copied();
        let config = BoxDecoderConfig {
            pyramid,
            head: HeadConfig { channels: self.head_out_channels, ..HeadConfig::default() },
            level_ranges: self.fpn_range.clone(),
            proposals: ProposalConfig {
                training_candidates: self.pre_nms_topk_train,
                training_kept: self.post_nms_topk_train,
                candidates: self.pre_nms_topk_test,
                kept: self.post_nms_topk_test,
                max_overlap: self.iou_thresh,
            },
            roi: RoiHeadConfig {
                widths: self.roi_fc_dims.clone(),
                samples: self.roi_samples_per_image,
                positive_fraction: self.roi_positive_fraction,
                positive_iou: self.roi_matching_threshold[0],
                coding: weights.map_or_else(BoxCoding::default, |weights| BoxCoding { weights }),
            },
            detections: DetectionConfig {
                max_overlap: self.roi_nms_threshold,
                count: self.roi_post_nms_num_detections,
                ..DetectionConfig::default()
            },
            caption_iou: self.match_gt_thresh,
            ..BoxDecoderConfig::default()
        };
        buildable(vectors, &config.validate())?;
        Ok(config)
    }

    /// Weights of the losses.
    pub(super) fn losses(&self) -> DetectionLossConfig {
        DetectionLossConfig {
            heatmap_weight: self.hm_weight,
            distance_weight: self.reg_weight,
            ..DetectionLossConfig::default()
        }
    }

    /// An error unless training looks at every proposal and annotated box, so that nothing is drawn.
    pub(super) fn require_no_draw(&self, vectors: &Vectors, annotated: usize) -> Result<()> {
        let all = self.post_nms_topk_train + annotated;
        let drawn = self.roi_samples_per_image < all || self.roi_positive_fraction < 1.0;
        vectors.require("samples drawn by chance", &drawn, &false)
    }
}

/// Where the parameters of a file of the decoder alone go.
const PARTS: [Component; 3] = [
    Component { theirs: "param/fpn/", ours: "pyramid.", map: &boxes::PYRAMID_JAX },
    Component { theirs: "param/proposal_generator/", ours: "head.", map: &boxes::HEAD_JAX },
    Component {
        theirs: "param/roi_heads/box_head.0/",
        ours: "roi_head.",
        map: &boxes::ROI_HEAD_JAX,
    },
];

/// The whole decoder: inference, and training with the norms of all gradients.
pub(super) fn whole(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: DecoderSettings = vectors.config()?;
    let config = settings.config(vectors)?;
    let (decoder, map) = decoder(vectors, &config, device)?;
    let mut produced = inference(&decoder, &config, map, device);

    let annotated = boxes_by_image(vectors.input("gt_boxes", device)?);
    settings.require_no_draw(vectors, annotated.first().map_or(0, Vec::len))?;
    let (decoder, map) = self::decoder(vectors, &config, &device.clone().autodiff())?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let losses = settings.losses();
    let step = decoder.forward_train(map, &annotated, &losses.focal, &mut rng);
    let loss = step.losses.total(&losses);
    produced.push(Produced::float("train.det_loss", loss.clone(), Tolerance::LOSS));
    produced.extend(training_outputs("train.", &step, device));
    let names = &settings.grad_norm_param_order;
    let maps = PARTS.map(|part| part.map.compile(part.theirs, part.ours));
    let norms = gradient_norms(vectors, &decoder, loss.backward(), names, &maps)?;
    let norms = Tensor::<1>::from_data(norms.as_slice(), device);
    produced.push(Produced::float("train.grad_norms", norms, Tolerance::GRADIENT_NORM));
    Ok(produced)
}

/// The decoder of the file and the image encoder's map that it is given, `[B, D, H, W]`.
fn decoder(
    vectors: &Vectors,
    config: &BoxDecoderConfig,
    device: &Device,
) -> Result<(BoxDecoder, Tensor<4>)> {
    let map = vectors.input::<4>("image_embeddings", device)?.permute([0, 3, 1, 2]);
    let mut decoder = config.init(map.dims()[1], canvas_px(vectors, device)?, device);
    vectors.load_parts(&mut decoder, &PARTS.map(|part| (part.map, part.theirs, part.ours)))?;
    Ok((decoder, map))
}

/// The side of the canvas, which is square and the same for all images.
fn canvas_px(vectors: &Vectors, device: &Device) -> Result<usize> {
    let sizes = numbers(vectors.input::<2>("image_shape_hw", device)?);
    let side = sizes.first().copied().unwrap_or_default();
    let square = sizes.iter().all(|&size| size == side) && side.fract() == 0.0;
    vectors.require("a canvas that is square and the same for all images", &square, &true)?;
    Ok(side as usize)
}

fn inference(
    decoder: &BoxDecoder,
    config: &BoxDecoderConfig,
    map: Tensor<4>,
    device: &Device,
) -> Vec<Produced> {
    let look = decoder.first_look(map.clone());
    let ProposalConfig { candidates, kept, .. } = config.proposals;
    let peaks = look.candidates(candidates);
    let proposals = decoder.proposals(&look, candidates, kept);
    let on_canvas = decoder.on_canvas(&proposals);
    let (classes, deltas) = decoder.second_look(&look, &on_canvas);
    let mut produced = level_outputs(&look.outputs, "infer.heatmaps", "infer.box_regs");
    let boxes = |of: &[Vec<Proposal>]| -> Vec<Vec<BoundingBox>> {
        of.iter().map(|of| of.iter().map(|one| one.bounding_box).collect()).collect()
    };
    let scores = |of: &[Vec<Proposal>]| {
        let scores: Vec<f32> = of.iter().flatten().map(|one| one.score).collect();
        let scores = Tensor::<1>::from_data(scores.as_slice(), device);
        scores.reshape([of.len(), of.first().map_or(0, Vec::len)]) as Tensor<2>
    };
    let pixels = Tolerance::PIXELS;
    produced.extend([
        Produced::float("peaks.boxes", tensor_of(&boxes(&peaks), device), pixels),
        Produced::float("peaks.scores", scores(&peaks), Tolerance::FEATURES),
        Produced::float("proposals.boxes_unclipped", tensor_of(&boxes(&proposals), device), pixels),
        Produced::float("proposals.scores", scores(&proposals), Tolerance::FEATURES),
        Produced::float("infer_raw.class_outputs", classes, Tolerance::FEATURES),
        Produced::float("infer_raw.box_outputs", deltas, Tolerance::FEATURES),
    ]);
    produced.extend(detection_outputs("infer", &decoder.detect(map), device));
    produced
}

/// Detections of all images: boxes, scores, classes, and how many have a score above 0.
pub(super) fn detection_outputs(
    prefix: &str,
    found: &[Vec<Detection>],
    device: &Device,
) -> Vec<Produced> {
    let boxes: Vec<Vec<BoundingBox>> =
        found.iter().map(|found| found.iter().map(|one| one.bounding_box).collect()).collect();
    let by_image = |value: fn(&Detection) -> f32| {
        let values: Vec<f32> = found.iter().flatten().map(value).collect();
        let values = Tensor::<1>::from_data(values.as_slice(), device);
        values.reshape([found.len(), found.first().map_or(0, Vec::len)]) as Tensor<2>
    };
    let counts: Vec<i64> = found
        .iter()
        .map(|found| found.iter().filter(|one| one.score > 0.0).count() as i64)
        .collect();
    let counts = Tensor::<1, Int>::from_data(counts.as_slice(), device);
    let name = |name: &str| format!("{prefix}.{name}");
    vec![
        Produced::float(name("detection_boxes"), tensor_of(&boxes, device), Tolerance::PIXELS),
        Produced::float(name("detection_scores"), by_image(|one| one.score), Tolerance::FEATURES),
        Produced::float(
            name("detection_classes"),
            by_image(|one| one.class as f32),
            Tolerance::Exact,
        ),
        Produced::integers(name("num_detections"), counts),
    ]
}

/// Keeps the reference's shares of no boxes finite.
const SHARE_EPSILON: f32 = 1e-4;

/// Losses and statistics of a step of training, but for the sum of losses.
pub(super) fn training_outputs(prefix: &str, step: &Training, device: &Device) -> Vec<Produced> {
    let losses = &step.losses;
    let mut produced = first_stage_losses(prefix, &losses.heatmap, &losses.distances);
    let (images, rows) = (step.samples.len(), step.samples.first().map_or(0, Vec::len));
    let boxes: Vec<Vec<BoundingBox>> = step
        .samples
        .iter()
        .map(|samples| samples.iter().map(|one| one.bounding_box).collect())
        .collect();
    let logits = numbers(step.class_logits.clone());
    let samples = || step.samples.iter().flatten();
    let valid: Vec<f32> = samples().map(|one| f32::from(one.bounding_box.area() > 0.0)).collect();
    let object: Vec<f32> = samples().map(|one| f32::from(one.label == Label::Positive)).collect();
    let right: Vec<f32> = logits
        .chunks_exact(2)
        .zip(&object)
        .map(|(logits, &object)| f32::from((logits[1] > logits[0]) == (object > 0.0)))
        .collect();
    let [num_valid, num_objects] = [&valid, &object].map(|values| values.iter().sum::<f32>());
    let share: Vec<f32> = right
        .iter()
        .zip(&valid)
        .map(|(right, valid)| right * valid / (num_valid + SHARE_EPSILON))
        .collect();
    let found = right.iter().zip(&object).map(|(right, object)| right * object).sum::<f32>();
    let name = |name: &str| format!("{prefix}{name}");
    let number = |which: &str, value: f32| {
        let value = Tensor::<1>::from_data([value], device);
        Produced::float(name(which), value, Tolerance::FEATURES)
    };
    let share = Tensor::<2>::from_data(TensorData::new(share, [images, rows]), device);
    let num_proposals = Tensor::<1, Int>::from_data([rows as i64], device);
    let per_image = |count: f32| count / images.max(1) as f32;
    let found_share = found / (num_objects + SHARE_EPSILON);
    produced.extend([
        Produced::float(name("stage0_roi_cls_loss"), losses.classes.clone(), Tolerance::LOSS),
        Produced::float(name("stage0_roi_reg_loss"), losses.boxes.clone(), Tolerance::LOSS),
        Produced::float(name("last_proposals"), tensor_of(&boxes, device), Tolerance::PIXELS),
        Produced::float(name("stage0_accuracy_scalar"), share, Tolerance::FEATURES),
        Produced::integers(name("stage0_num_proposals"), num_proposals),
        number("stage0_foreground_accuracy_scalar", found_share),
        number("stage0_num_positives_per_img_scalar", per_image(num_objects)),
        number("stage0_num_valid_proposals", per_image(num_valid)),
    ]);
    produced
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::verify::compare::{self, Verdict};

    /// On a GPU, that is how detections are found; here the processor goes the same way.
    #[test]
    fn without_a_read_before_the_end_the_detections_are_the_reference_s() {
        let device = Device::flex();
        let file = "tests/golden/vectors/centernet2_full.safetensors";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let vectors = Vectors::open(&path).unwrap().unwrap();
        let config = vectors.config::<DecoderSettings>().unwrap().config(&vectors).unwrap();
        let (decoder, map) = decoder(&vectors, &config, &device).unwrap();
        let found = decoder.detect_on_device(&decoder.first_look(map)).unwrap();
        let outputs = detection_outputs("infer", &found, &device);
        let names: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
        let compared = compare::all(&vectors, outputs);
        let of_detections = compared.iter().filter(|one| names.contains(&one.output));
        assert_eq!(of_detections.clone().count(), 4);
        for one in of_detections {
            assert_eq!(one.verdict, Verdict::Passed, "{}", one.output);
        }
    }
}

//! Training of the box decoder (`spec/losses.md` §3).

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

use super::matching::{Label, Match, captions};
use super::roi_head::Sample;
use super::targets::Targets;
use super::{BoxDecoder, FirstLook};
use crate::geometry::BoundingBox;
use crate::model::loss::detection::{
    DetectionLossConfig, DistanceLoss, FocalConfig, HeatmapLoss, box_loss, class_loss,
    distance_loss, heatmap_loss,
};

/// A training step of the box decoder.
#[derive(Debug, Clone)]
pub struct Training {
    /// What to make less of.
    pub losses: DetectionLosses,
    /// The boxes from which the second stage learnt, as many for every image: those that hold an
    /// object first. The first of them are captioned ([`BoxDecoder::caption_rows`]).
    pub samples: Vec<Vec<Sample>>,
    /// What the second stage said of them: logits of background and object, `[B, N, 2]`.
    pub class_logits: Tensor<3>,
}

/// The losses.
#[derive(Debug, Clone)]
pub struct DetectionLosses {
    /// Where objects are.
    pub heatmap: HeatmapLoss,
    /// How far their edges.
    pub distances: DistanceLoss,
    /// Of background and object in the second stage, `[1]`.
    pub classes: Tensor<1>,
    /// Of the corrections in the second stage, `[1]`.
    pub boxes: Tensor<1>,
}

impl DetectionLosses {
    /// Their weighted sum, before the weight of all of them, `[1]`.
    pub fn total(&self, config: &DetectionLossConfig) -> Tensor<1> {
        self.first_stage(config)
            + self.classes.clone() * config.class_weight
            + self.boxes.clone() * config.box_weight
    }

    /// The weighted sum of those of the first stage, `[1]`.
    pub fn first_stage(&self, config: &DetectionLossConfig) -> Tensor<1> {
        let heatmap = self.heatmap.positive.clone() + self.heatmap.negative.clone();
        heatmap * config.heatmap_weight + self.distances.loss.clone() * config.distance_weight
    }
}

/// A box with the annotated row whose caption it is given in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaptionRow {
    /// In pixels of the canvas: the proposal, neither the annotated nor the corrected box.
    pub bounding_box: BoundingBox,
    /// Index of the annotated row with which it overlaps most.
    pub annotated: usize,
    /// Whether it overlaps enough to be given its caption; otherwise the row teaches nothing.
    pub matched: bool,
}

impl BoxDecoder {
    /// One step of training.
    ///
    /// `annotated` are the boxes of every image in pixels of the canvas; boxes of zeros, which fill up
    /// rows, are none. Give boxes of zeros for an image whose boxes are not to be learnt. Which boxes
    /// the second stage learns from is drawn from `rng`. `focal` is how the heatmap's loss weighs places.
    ///
    /// Values leave the device once for a batch, after the first stage, on every device: the boxes that the
    /// second stage learns from are drawn on the host. The losses stay where they are.
    ///
    /// # Shapes
    /// - `map`: `[B, D, H, W]`, the image encoder's
    pub fn forward_train(
        &self,
        map: Tensor<4>,
        annotated: &[Vec<BoundingBox>],
        focal: &FocalConfig,
        rng: &mut impl Rng,
    ) -> Training {
        let look = self.first_look(map);
        let (heatmap, distances) = self.first_stage_losses(&look, annotated, focal);
        let settings = self.config.proposals;
        let proposals = self.proposals(&look, settings.training_candidates, settings.training_kept);
        let samples = self.samples(&self.on_canvas(&proposals), annotated, rng);
        let boxes: Vec<Vec<BoundingBox>> = samples
            .iter()
            .map(|samples| samples.iter().map(|sample| sample.bounding_box).collect())
            .collect();
        let (class_logits, deltas) = self.second_look(&look, &boxes);
        let (classes, boxes) =
            self.second_stage_losses(class_logits.clone(), deltas, &samples, annotated);
        let losses = DetectionLosses { heatmap, distances, classes, boxes };
        Training { losses, samples, class_logits }
    }

    fn first_stage_losses(
        &self,
        look: &FirstLook,
        annotated: &[Vec<BoundingBox>],
        focal: &FocalConfig,
    ) -> (HeatmapLoss, DistanceLoss) {
        let (logits, predicted) = look.flat();
        let ranges = &self.config.level_ranges;
        let rule = self.config.targets;
        let targets: Vec<Targets> =
            annotated.iter().map(|boxes| rule.targets(boxes, &look.cells, ranges)).collect();
        let (heatmap, distances, mask) = target_tensors(&targets, &logits.device());
        (heatmap_loss(logits, heatmap, focal), distance_loss(predicted, distances, mask))
    }

    /// As many samples for every image; where one has fewer, boxes of zeros that teach nothing fill up.
    fn samples(
        &self,
        proposals: &[Vec<BoundingBox>],
        annotated: &[Vec<BoundingBox>],
        rng: &mut impl Rng,
    ) -> Vec<Vec<Sample>> {
        let mut samples: Vec<Vec<Sample>> = proposals
            .iter()
            .zip(annotated)
            .map(|(proposals, annotated)| self.config.roi.sample(proposals, annotated, rng))
            .collect();
        let most = samples.iter().map(Vec::len).max().unwrap_or(0);
        let nothing = Sample {
            bounding_box: BoundingBox::new(0.0, 0.0, 0.0, 0.0),
            annotated: 0,
            label: Label::Ignored,
        };
        samples.iter_mut().for_each(|samples| samples.resize(most, nothing));
        samples
    }

    /// The losses of classes and of corrections, `[1]` each.
    ///
    /// # Shapes
    /// - `logits`: `[B, N, 2]`, of `N` samples of each image
    /// - `deltas`: `[B, N, 4]`
    fn second_stage_losses(
        &self,
        logits: Tensor<3>,
        deltas: Tensor<3>,
        samples: &[Vec<Sample>],
        annotated: &[Vec<BoundingBox>],
    ) -> (Tensor<1>, Tensor<1>) {
        let [batch, rows, _] = logits.dims();
        let device = logits.device();
        let coding = self.config.roi.coding;
        let [mut object, mut counts, mut wanted] = [const { Vec::new() }; 3];
        for (samples, annotated) in samples.iter().zip(annotated) {
            for sample in samples {
                let is_object = sample.label == Label::Positive;
                let has_area = sample.bounding_box.area() > 0.0;
                object.push(f32::from(is_object));
                counts.push(f32::from(has_area && sample.label != Label::Ignored));
                let target = annotated.get(sample.annotated).filter(|_| is_object);
                let target = target.map(|target| coding.encode(*target, sample.bounding_box));
                let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
                wanted.extend(target.unwrap_or_default().map(finite));
            }
        }
        let by_row = |values: Vec<f32>| {
            Tensor::<2>::from_data(TensorData::new(values, [batch, rows]), &device)
        };
        let object = by_row(object);
        let wanted = Tensor::from_data(TensorData::new(wanted, [batch, rows, 4]), &device);
        let classes = class_loss(logits, object.clone(), by_row(counts));
        (classes, box_loss(deltas, wanted, object))
    }

    /// Samples of an image that are captioned in training, at most.
    pub fn num_captioned(&self) -> usize {
        self.config.captioned
    }

    /// The first `count` samples of an image as prompts of captions (`spec/model.md` §10.6).
    pub fn caption_rows(
        &self,
        samples: &[Sample],
        annotated: &[BoundingBox],
        count: usize,
    ) -> Vec<CaptionRow> {
        let boxes: Vec<_> = samples.iter().take(count).map(|sample| sample.bounding_box).collect();
        let found = captions(&boxes, annotated, self.config.caption_iou);
        let row = |(bounding_box, (found, matched)): (BoundingBox, (Match, bool))| CaptionRow {
            bounding_box,
            annotated: found.index,
            matched,
        };
        boxes.into_iter().zip(found).map(row).collect()
    }
}

/// Targets of all images as tensors: heatmap `[B, M]`, distances `[B, M, 4]` (zeros where there are
/// none), and 1 where there are distances `[B, M]`.
pub fn target_tensors(targets: &[Targets], device: &Device) -> (Tensor<2>, Tensor<3>, Tensor<2>) {
    let (batch, places) = (targets.len(), targets.first().map_or(0, |one| one.heatmap.len()));
    let heatmap: Vec<f32> = targets.iter().flat_map(|one| one.heatmap.iter().copied()).collect();
    let distances = targets.iter().flat_map(|one| &one.distances);
    let mask: Vec<f32> = distances.clone().map(|one| f32::from(one.is_some())).collect();
    let distances: Vec<f32> = distances.flat_map(|one| one.unwrap_or_default()).collect();
    let flat =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [batch, places]), device);
    let distances = TensorData::new(distances, [batch, places, 4]);
    (flat(heatmap), Tensor::from_data(distances, device), flat(mask))
}

//! One step: losses of a batch, gradients, their norm.

use std::panic::resume_unwind;
use std::thread;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

use super::detection::DetectionTerms;
use super::gradients::{gradient_norm, scale_gradients};
use super::mask_losses::MaskMeasure;
use super::profile::Stage;
use super::record::LossRecord;
use super::throughput::StepCost;
pub use super::training_model::TrainingModel;
use crate::data::batch::{Batch, HostBatch, Pictures};
use crate::data::sample::Task;
use crate::model::heads::points::to_pixels;
use crate::model::loss::mask::{MaskLossConfig, MaskLosses};
use crate::model::loss::overlap::overlap_loss;
use crate::model::loss::point::{
    PointDistance, PointUnit, TokenSelection, point_loss, select_tokens,
};
use crate::model::loss::text::text_loss;
use crate::model::prompt::points::Prompts;

/// Losses of a batch, on its device.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Weighted sum of the parts, `[1]`.
    pub total: Tensor<1>,
    /// Text loss before its weight, `[1]`; `None` where the task has none.
    pub text: Option<Tensor<1>>,
    /// Point loss before its weight, `[1]`; `None` where the task has none.
    pub point: Option<Tensor<1>>,
    /// Overlap loss before its weight, `[1]`; `None` where the task has none or it weighs nothing.
    pub overlap: Option<Tensor<1>>,
    /// Detection losses before the weight of all; `None` where the task has none.
    pub detection: Option<DetectionTerms>,
    /// Parts of the mask loss; `None` where the batch has no masks or they weigh nothing.
    pub mask: Option<MaskLosses>,
}

/// What a step measured.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// What the batch was for.
    pub task: Task,
    /// Its losses.
    pub losses: LossRecord,
    /// Norm of all gradients together, before clipping; 0 without a backward pass.
    pub gradient_norm: f64,
    /// Images in the batch.
    pub num_images: usize,
    /// Images per second; 0 until the step's time is known.
    pub samples_per_second: f64,
    /// What else the step cost; nothing until it is known.
    pub cost: StepCost,
}

/// Everything was read back already.
impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainingModel {
    /// The losses that the task of a batch has: narratives learn text and points, descriptions text,
    /// expressions points and, where they come with them, masks; detections boxes and the captions of those
    /// that are found (`spec/losses.md` §5).
    pub fn losses(&self, mut batch: Batch) -> Losses {
        let task = batch.task;
        let images = match batch.pictures.clone() {
            Pictures::Images { images, padding_mask } => {
                self.timed(Stage::Vision, || self.model.encode(images, padding_mask))
            }
            Pictures::Features(features) => features,
        };
        let detection = match task {
            Task::Detect => self.timed(Stage::Heads, || self.detect(&images, &mut batch)),
            Task::Narrate | Task::Describe | Task::Locate => None,
        };
        let rows = batch.rows.clone();
        let prompts = Prompts { boxes: rows.prompt_boxes, points: rows.prompt_points };
        let visual = self
            .timed(Stage::PromptAdapter, || self.model.visual_tokens(&images, prompts, rows.scope));
        let features = self.timed(Stage::Language, || {
            self.model.read_text(visual.clone(), rows.context, rows.text)
        });
        let text = || self.text_loss(&batch, features.clone());
        let places = |selection| self.places(&batch, features.clone(), selection);
        let (text, places) = match task {
            Task::Narrate => (Some(text()), places(TokenSelection::Words)),
            Task::Describe | Task::Detect => (Some(text()), None),
            Task::Locate => (None, places(TokenSelection::LastWord)),
        };
        let distance = self.losses.point.distance;
        let point =
            self.timed(Stage::Loss, || places.clone().map(|places| places.distance(distance)));
        let has_overlap = task == Task::Locate && self.losses.overlap.weight > 0.0;
        let overlap =
            self.timed(Stage::Loss, || places.filter(|_| has_overlap).map(Places::overlap));
        let mask = self
            .timed(Stage::Heads, || self.mask_losses(&batch, &images, visual, features.clone()));
        let mask_total = mask.as_ref().map(|mask| mask.total(&self.losses.mask));
        let weighted = |loss: &Option<Tensor<1>>, weight: f64| match loss {
            Some(loss) => loss.clone() * weight,
            None => Tensor::zeros([1], &features.device()),
        };
        let detection_loss = detection.as_ref().map(|terms| terms.total.clone());
        let total = weighted(&text, self.losses.text.weight)
            + weighted(&point, self.losses.point.weight)
            + weighted(&overlap, self.losses.overlap.weight)
            + weighted(&detection_loss, self.losses.detection.weight)
            + weighted(&mask_total, self.losses.mask.weight);
        Losses { total, text, point, overlap, detection, mask }
    }

    /// `features`: `[B, N, L, D]`
    fn text_loss(&self, batch: &Batch, features: Tensor<4>) -> Tensor<1> {
        let logits = self.timed(Stage::Heads, || self.model.logits(features));
        self.timed(Stage::Loss, || {
            text_loss(
                logits,
                batch.rows.text.clone(),
                batch.row_valid.clone(),
                &self.model.language().vocabulary(),
                self.losses.text.label_smoothing,
            )
        })
    }

    /// What `work` gives; its time counts for `stage` where steps are profiled.
    fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.profiler.time(stage, || self.device(), work)
    }

    /// Where the words are said to be and where they are, in the unit of the point loss; `None` without
    /// a point head.
    ///
    /// `features`: `[B, N, L, D]`
    fn places(
        &self,
        batch: &Batch,
        features: Tensor<4>,
        selection: TokenSelection,
    ) -> Option<Places> {
        let vocabulary = self.model.language().vocabulary();
        let mask = select_tokens(batch.rows.text.clone(), &vocabulary, selection)
            * batch.row_valid.clone().unsqueeze_dim::<3>(2);
        let predicted = self.timed(Stage::Heads, || self.model.points(features))?;
        let (predicted, target) = match self.losses.point.unit {
            PointUnit::Normalised => (predicted, batch.points.clone()),
            PointUnit::Pixels => (
                to_pixels(predicted, batch.sizes.clone()),
                to_pixels(batch.points.clone(), batch.sizes.clone()),
            ),
        };
        Some(Places { predicted, target, mask })
    }

    /// Where the model is.
    pub(super) fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}

/// Places of words beside those they should have.
#[derive(Debug, Clone)]
struct Places {
    /// `[B, N, L, P, 2]`
    predicted: Tensor<5>,
    /// `[B, N, L, P, 2]`
    target: Tensor<5>,
    /// `[B, N, L]`
    mask: Tensor<3>,
}

impl Places {
    fn distance(self, distance: PointDistance) -> Tensor<1> {
        point_loss(self.predicted, self.target, self.mask, distance)
    }

    fn overlap(self) -> Tensor<1> {
        overlap_loss(self.predicted, self.target, self.mask)
    }
}

impl Losses {
    /// Reads the losses of a batch back; `masks` has the weights of the parts of the mask loss.
    fn measure(&self, batch: &HostBatch, masks: &MaskLossConfig) -> StepOutput {
        let read = |loss: Tensor<1>| f64::from(loss.into_scalar::<f32>());
        StepOutput {
            task: batch.task,
            losses: LossRecord {
                loss: read(self.total.clone()),
                text_loss: self.text.clone().map(read),
                point_loss: self.point.clone().map(read),
                overlap_loss: self.overlap.clone().map(read),
                detection_loss: self.detection.as_ref().map(DetectionTerms::measure),
                mask_loss: self.mask.as_ref().map(|mask| MaskMeasure::of(mask, masks)),
            },
            gradient_norm: 0.0,
            num_images: batch.dims.images,
            samples_per_second: 0.0,
            cost: StepCost::default(),
        }
    }
}

/// What one part of a batch has: gradients, and what was measured.
type PartResult = (GradientsParams, StepOutput);

impl TrainingModel {
    /// Losses and gradients of a part of a batch.
    fn part(&self, batch: &HostBatch) -> PartResult {
        let on_device = self.timed(Stage::Data, || batch.to_device(&self.device()));
        let losses = self.losses(on_device);
        let gradients = self
            .timed(Stage::Backward, || GradientsParams::from_grads(losses.total.backward(), self));
        (gradients, losses.measure(batch, &self.losses.mask))
    }

    /// All parts of a batch, at the same time where there are several. Each has leaves of its own:
    /// graphs that share leaves are one graph to Burn, and two threads on one graph can wait for each
    /// other for ever (`docs/burn-issues.md`, 4). Burn's own `fork` would leave a node of every copy
    /// on parameters that get no gradient, and the search for such nodes slows every step (6).
    fn parts(&self, batch: &HostBatch) -> Vec<PartResult> {
        let parts = batch.split(self.parallel_parts);
        match parts.as_slice() {
            [whole] => vec![self.part(whole)],
            // Times of several at once would not add up.
            parts if self.profiler.is_active() => {
                let replica = || self.clone().map(&mut OwnLeaves);
                parts.iter().map(|part| replica().part(part)).collect()
            }
            parts => thread::scope(|scope| {
                let threads: Vec<_> = parts
                    .iter()
                    .map(|part| {
                        let replica = self.clone().map(&mut OwnLeaves);
                        scope.spawn(move || replica.part(part))
                    })
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            }),
        }
    }

    /// The mean of the gradients, clipped, and its norm before clipping.
    fn average(&self, mut gradients: Vec<GradientsParams>) -> (GradientsParams, f64) {
        let share = 1.0 / gradients.len() as f64;
        let sum = match gradients.len() {
            1 => gradients.remove(0),
            _ => {
                let mut accumulator = GradientsAccumulator::new();
                gradients.into_iter().for_each(|part| accumulator.accumulate(self, part));
                accumulator.grads()
            }
        };
        let norm = gradient_norm(self, &sum) * share;
        let clipping = self.clip_gradient_norm.map_or(1.0, |largest| (largest / norm).min(1.0));
        let factor = share * clipping;
        let mean = if factor == 1.0 { sum } else { scale_gradients(self, sum, factor) };
        (mean, norm)
    }
}

/// Makes every parameter the leaf of a graph of its own.
struct OwnLeaves;

impl ModuleMapper for OwnLeaves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Whether a gradient is wanted stays as it is.
        param.map(Tensor::detach)
    }
}

/// The mean over parts, each of which had a mean of its own.
fn mean_output(task: Task, parts: &[StepOutput], gradient_norm: f64) -> StepOutput {
    let losses: Vec<_> = parts.iter().map(|part| (&part.losses, 1.0)).collect();
    StepOutput {
        task,
        losses: LossRecord::mean(&losses).unwrap_or_default(),
        gradient_norm,
        num_images: parts.iter().map(|part| part.num_images).sum(),
        samples_per_second: 0.0,
        cost: StepCost::default(),
    }
}

impl TrainStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> TrainOutput<StepOutput> {
        let (gradients, outputs): (Vec<_>, Vec<_>) = self.parts(&batch).into_iter().unzip();
        let (grads, norm) = self.timed(Stage::Optimizer, || self.average(gradients));
        TrainOutput { grads, item: mean_output(batch.task, &outputs, norm) }
    }
}

impl InferenceStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> StepOutput {
        let losses = self.losses(batch.to_device(&self.device()));
        losses.measure(&batch, &self.losses.mask)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::batch::BatchDims;
    use crate::experiment::schema::LossConfig;
    use crate::model::testing::{VOCABULARY, tiny_config};

    const SIDE: usize = 16;

    /// Two images that are the same, of which each has one text.
    fn batch() -> HostBatch {
        let dims = BatchDims {
            images: 2,
            canvas_px: SIDE,
            rows: 1,
            prompts: 1,
            text_tokens: 4,
            context_tokens: 0,
        };
        let image: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| (i * 7 % 256) as f32).collect();
        HostBatch {
            task: Task::Narrate,
            dims,
            images: image.repeat(2),
            features: None,
            sizes: vec![SIDE as f32; 4],
            prompt_boxes: [0.0, 0.0, SIDE as f32, SIDE as f32].repeat(2),
            prompt_traces: vec![],
            context: vec![],
            text: [1, 5, 6, 2].repeat(2),
            row_valid: vec![1.0; 2],
            points: vec![0.25; 2 * 4 * 4],
            seed: 0,
            masks: None,
        }
    }

    #[test]
    fn parts_of_a_batch_at_the_same_time_have_the_loss_and_the_gradients_of_the_whole() {
        let device = Device::flex().autodiff();
        let model = tiny_config().init(VOCABULARY, &device);
        let step = |parts: usize, clip: Option<f64>| {
            let model = TrainingModel::new(
                model.clone(),
                LossConfig::default(),
                clip,
                parts,
                BTreeSet::new(),
            );
            let output = TrainStep::step(&model, batch());
            (output.item, gradient_norm(&model, &output.grads))
        };
        let (whole, norm) = step(1, None);
        let (parts, norm_of_parts) = step(2, None);
        assert!(norm > 0.0 && (norm - whole.gradient_norm).abs() < 1e-4 * norm);
        let (one, other) = (whole.losses.loss, parts.losses.loss);
        assert!((one - other).abs() < 1e-5 * one, "{whole:?} {parts:?}");
        assert!((norm - norm_of_parts).abs() < 1e-4 * norm, "{norm} {norm_of_parts}");
        assert_eq!(parts.num_images, 2);

        let (clipped, norm_after) = step(2, Some(norm / 3.0));
        assert!((clipped.gradient_norm - norm).abs() < 1e-4 * norm, "the norm before clipping");
        assert!((norm_after - norm / 3.0).abs() < 1e-4 * norm, "{norm_after}");
    }
}

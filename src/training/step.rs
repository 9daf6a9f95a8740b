//! The losses of a batch; `gradient_step.rs` has the gradients.

use burn::module::Module;
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{InferenceStep, ItemLazy};

use super::detection::DetectionTerms;
use super::mask_losses::MaskMeasure;
use super::profile::Stage;
use super::record::LossRecord;
use super::shares::Shares;
use super::throughput::StepCost;
pub use super::training_model::TrainingModel;
use crate::data::batch::{Batch, HostBatch, Pictures};
use crate::data::sample::Task;
use crate::data::source::AnswerForm;
use crate::model::heads::points::to_pixels;
use crate::model::loss::mask::{MaskLossConfig, MaskLosses};
use crate::model::loss::overlap::overlap_loss;
use crate::model::loss::point::{
    PointDistance, PointUnit, TokenSelection, point_loss, select_tokens,
};
use crate::model::loss::text::text_loss;
use crate::model::pixel_llm::placement::on;
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
    /// expressions points (or, where boxes are written, text) and, where they come with them, masks;
    /// detections boxes and the captions of those that are found (`spec/losses.md` §5).
    pub fn losses(&self, batch: Batch) -> Losses {
        self.losses_of_part(batch, Shares::WHOLE)
    }

    /// The losses of a part of a batch; the total has `shares` of them.
    pub(super) fn losses_of_part(&self, mut batch: Batch, shares: Shares) -> Losses {
        let device = batch.row_valid.device();
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
            Task::Locate => match batch.answer {
                AnswerForm::Points => (None, places(TokenSelection::LastWord)),
                AnswerForm::Text => (Some(text()), None),
            },
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
            Some(loss) => on(&device, loss.clone() * weight),
            None => Tensor::zeros([1], &device),
        };
        let detection_loss = detection.as_ref().map(|terms| terms.total.clone());
        let total = weighted(&text, self.losses.text.weight * shares.text)
            + weighted(&point, self.losses.point.weight * shares.point)
            + weighted(&overlap, self.losses.overlap.weight * shares.overlap)
            + weighted(&detection_loss, self.losses.detection.weight * shares.detection)
            + weighted(&mask_total, self.losses.mask.weight * shares.mask);
        Losses { total, text, point, overlap, detection, mask }
    }

    /// `features`: `[B, N, L, D]`
    fn text_loss(&self, batch: &Batch, features: Tensor<4>) -> Tensor<1> {
        let logits = self.timed(Stage::Heads, || self.model.logits(features));
        let device = logits.device();
        self.timed(Stage::Loss, || {
            text_loss(
                logits,
                on(&device, batch.rows.text.clone()),
                on(&device, batch.row_valid.clone()),
                &self.model.language().vocabulary(),
                self.losses.text.label_smoothing,
            )
        })
    }

    /// What `work` gives; its time counts for `stage` where steps are profiled.
    pub(super) fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
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
        let predicted = self.timed(Stage::Heads, || self.model.points(features))?;
        let device = predicted.device();
        let mask = select_tokens(on(&device, batch.rows.text.clone()), &vocabulary, selection)
            * on(&device, batch.row_valid.clone()).unsqueeze_dim::<3>(2);
        let target = on(&device, batch.points.clone());
        let (predicted, target) = match self.losses.point.unit {
            PointUnit::Normalised => (predicted, target),
            PointUnit::Pixels => {
                let sizes = on(&device, batch.sizes.clone());
                (to_pixels(predicted, sizes.clone()), to_pixels(target, sizes))
            }
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
    pub(super) fn measure(&self, batch: &HostBatch, masks: &MaskLossConfig) -> StepOutput {
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

impl InferenceStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> StepOutput {
        let losses = self.losses(batch.to_device(&self.device()));
        losses.measure(&batch, &self.losses.mask)
    }
}

//! One step: losses of a batch, gradients, their norm.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{ExecutionError, Tensor};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};

use super::gradients::{clip_gradients, gradient_norm};
use crate::data::batch::{Batch, HostBatch};
use crate::data::sample::Task;
use crate::experiment::schema::LossConfig;
use crate::model::heads::points::to_pixels;
use crate::model::loss::point::{PointUnit, TokenSelection, point_loss, select_tokens};
use crate::model::loss::text::text_loss;
use crate::model::pixel_llm::PixelLlm;

/// The model and what it is trained with.
#[derive(Module, Debug)]
pub struct TrainingModel {
    /// The model.
    pub model: PixelLlm,
    #[module(skip)]
    losses: LossConfig,
    /// Largest norm of all gradients together.
    #[module(skip)]
    clip_gradient_norm: Option<f64>,
}

/// Losses of a batch, on its device.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Weighted sum of the parts, `[1]`.
    pub total: Tensor<1>,
    /// Text loss before its weight, `[1]`; `None` where the task has none.
    pub text: Option<Tensor<1>>,
    /// Point loss before its weight, `[1]`; `None` where the task has none.
    pub point: Option<Tensor<1>>,
}

/// What a step measured.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// What the batch was for.
    pub task: Task,
    /// Weighted sum of the parts.
    pub loss: f64,
    /// Text loss before its weight.
    pub text_loss: Option<f64>,
    /// Point loss before its weight.
    pub point_loss: Option<f64>,
    /// Norm of all gradients together, before clipping; 0 without a backward pass.
    pub gradient_norm: f64,
    /// Images in the batch.
    pub num_images: usize,
    /// Images per second; 0 until the step's time is known.
    pub samples_per_second: f64,
}

/// Everything was read back already.
impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainingModel {
    /// Wraps `model` for training.
    pub fn new(model: PixelLlm, losses: LossConfig, clip_gradient_norm: Option<f64>) -> Self {
        Self { model, losses, clip_gradient_norm }
    }

    /// The losses that the task of a batch has: narratives learn text and points, descriptions text,
    /// expressions points (`spec/losses.md` §5).
    pub fn losses(&self, batch: Batch) -> Losses {
        let task = batch.task;
        let images = self.model.encode(batch.images.clone(), batch.padding_mask.clone());
        let features = self.model.text_features(&images, batch.rows.clone());
        let text = || self.text_loss(&batch, features.clone());
        let point = |selection| self.point_loss(&batch, features.clone(), selection);
        let (text, point) = match task {
            Task::Narrate => (Some(text()), Some(point(TokenSelection::Words))),
            Task::Describe => (Some(text()), None),
            Task::Locate => (None, Some(point(TokenSelection::LastWord))),
        };
        let weighted = |loss: &Option<Tensor<1>>, weight: f64| match loss {
            Some(loss) => loss.clone() * weight,
            None => Tensor::zeros([1], &features.device()),
        };
        let total =
            weighted(&text, self.losses.text.weight) + weighted(&point, self.losses.point.weight);
        Losses { total, text, point }
    }

    /// `features`: `[B, N, L, D]`
    fn text_loss(&self, batch: &Batch, features: Tensor<4>) -> Tensor<1> {
        text_loss(
            self.model.logits(features),
            batch.rows.text.clone(),
            batch.row_valid.clone(),
            &self.model.language().vocabulary(),
            self.losses.text.label_smoothing,
        )
    }

    /// `features`: `[B, N, L, D]`
    fn point_loss(
        &self,
        batch: &Batch,
        features: Tensor<4>,
        selection: TokenSelection,
    ) -> Tensor<1> {
        let vocabulary = self.model.language().vocabulary();
        let mask = select_tokens(batch.rows.text.clone(), &vocabulary, selection)
            * batch.row_valid.clone().unsqueeze_dim::<3>(2);
        let predicted = self.model.points(features);
        let (predicted, target) = match self.losses.point.unit {
            PointUnit::Normalised => (predicted, batch.points.clone()),
            PointUnit::Pixels => (
                to_pixels(predicted, batch.sizes.clone()),
                to_pixels(batch.points.clone(), batch.sizes.clone()),
            ),
        };
        point_loss(predicted, target, mask)
    }

    /// Where the model is.
    fn to_device(&self, batch: &HostBatch) -> Batch {
        let device = self.devices().into_iter().next().unwrap_or_default();
        batch.to_device(&device)
    }
}

impl Losses {
    /// Reads the losses back.
    fn measure(&self, task: Task, num_images: usize, gradient_norm: f64) -> StepOutput {
        let read = |loss: Tensor<1>| f64::from(loss.into_scalar::<f32>());
        StepOutput {
            task,
            loss: read(self.total.clone()),
            text_loss: self.text.clone().map(read),
            point_loss: self.point.clone().map(read),
            gradient_norm,
            num_images,
            samples_per_second: 0.0,
        }
    }
}

impl TrainStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> TrainOutput<StepOutput> {
        let losses = self.losses(self.to_device(&batch));
        let gradients = GradientsParams::from_grads(losses.total.backward(), self);
        let norm = gradient_norm(self, &gradients);
        let grads = match self.clip_gradient_norm {
            Some(largest) if norm > largest => clip_gradients(self, gradients, largest / norm),
            _ => gradients,
        };
        let item = losses.measure(batch.task, batch.dims.images, norm);
        TrainOutput { grads, item }
    }
}

impl InferenceStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> StepOutput {
        self.losses(self.to_device(&batch)).measure(batch.task, batch.dims.images, 0.0)
    }
}

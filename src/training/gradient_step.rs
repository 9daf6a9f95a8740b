//! The gradients of a step: a batch in parts, one after the other and at the same time, on one device or
//! several.
//!
//! `micro_batches` are computed one after the other, so that only one of them has activations in memory;
//! each may again be in parts that are computed at the same time. Everything is added up before anything is
//! clipped, recorded or changed: one step is one update, with one record and one place in the schedule.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{TrainOutput, TrainStep};

use super::gradients::{gradient_norm, scale_gradients};
use super::profile::Stage;
use super::shares::{Shares, together};
use super::step::StepOutput;
use super::throughput::StepCost;
use super::training_model::TrainingModel;
use crate::backend;
use crate::data::batch::HostBatch;
use crate::model::mixed_precision::computing_in;

/// What one part of a batch has: gradients, what was measured, and how much it counts.
type PartResult = (GradientsParams, StepOutput, Shares);

/// What all parts together have.
struct Sum {
    gradients: GradientsParams,
    /// Of the gradients without the scale.
    norm: f64,
    outputs: Vec<(StepOutput, Shares)>,
}

impl TrainStep for TrainingModel {
    type Input = HostBatch;
    type Output = StepOutput;

    fn step(&self, batch: HostBatch) -> TrainOutput<StepOutput> {
        let micro_batches = batch.split(self.computation.micro_batches);
        let shares = self.shares(&micro_batches);
        let (scale, sum) = self.computation.loss_scale.find(|scale| {
            self.seed_other_devices(batch.seed);
            let sum = self.sum(&micro_batches, &shares, scale);
            let loss_is_finite =
                sum.outputs.iter().all(|(output, _)| output.losses.loss.is_finite());
            let overflows = loss_is_finite && !sum.norm.is_finite();
            ((scale, sum), overflows)
        });
        let clipping = self.clip_gradient_norm.map_or(1.0, |largest| (largest / sum.norm).min(1.0));
        let factor = clipping / scale;
        let grads = match factor == 1.0 {
            true => sum.gradients,
            false => self.timed(Stage::Optimizer, || scale_gradients(self, sum.gradients, factor)),
        };
        let losses: Vec<_> =
            sum.outputs.iter().map(|(output, shares)| (output.losses, *shares)).collect();
        let item = StepOutput {
            task: batch.task,
            losses: together(&losses),
            gradient_norm: sum.norm,
            num_images: batch.dims.images,
            samples_per_second: 0.0,
            cost: StepCost::default(),
        };
        TrainOutput { grads, item }
    }
}

impl TrainingModel {
    /// The gradients of all micro-batches, times `scale`.
    fn sum(&self, micro_batches: &[HostBatch], shares: &[Shares], scale: f64) -> Sum {
        let mut accumulator = GradientsAccumulator::new();
        let mut alone = None;
        let mut outputs = Vec::new();
        for (micro_batch, shares) in micro_batches.iter().zip(shares) {
            for (gradients, output, shares) in self.parts(micro_batch, *shares, scale) {
                outputs.push((output, shares));
                // What is alone is not copied.
                match outputs.len() {
                    1 => alone = Some(gradients),
                    _ => {
                        let first = alone.take();
                        first.into_iter().for_each(|first| accumulator.accumulate(self, first));
                        accumulator.accumulate(self, gradients);
                    }
                }
            }
        }
        let gradients = alone.unwrap_or_else(|| accumulator.grads());
        let norm = self.timed(Stage::Optimizer, || gradient_norm(self, &gradients)) / scale;
        Sum { gradients, norm, outputs }
    }

    /// All parts of a micro-batch that are computed at the same time. Each has leaves of its own: graphs
    /// that share leaves are one graph to Burn, and two threads on one graph can wait for each other for
    /// ever (`docs/burn-issues.md`, 4). Burn's own `fork` would leave a node of every copy on parameters
    /// that get no gradient, and the search for such nodes slows every step (6).
    fn parts(&self, batch: &HostBatch, shares: Shares, scale: f64) -> Vec<PartResult> {
        let devices = &self.computation.devices;
        let parts = batch.split(self.parallel_parts.max(devices.len()));
        let shares = shares.one_of(parts.len());
        match parts.as_slice() {
            [whole] => vec![self.part(whole, shares, scale)],
            // Times of several at once would not add up.
            parts if self.profiler.is_active() => {
                let parts = parts.iter().enumerate();
                let results = parts.map(|(index, part)| {
                    let replica = self.clone().map(&mut OwnLeaves(devices.get(index)));
                    self.brought_home(replica.part(part, shares, scale))
                });
                results.collect()
            }
            parts => {
                let parts = parts.iter().enumerate().map(|(index, part)| {
                    (self.clone().map(&mut OwnLeaves(devices.get(index))), part)
                });
                let work = |(replica, part): (Self, _)| replica.part(part, shares, scale);
                let results = self.part_threads.at_once(parts.collect(), work);
                results.into_iter().map(|result| self.brought_home(result)).collect()
            }
        }
    }

    /// Losses and gradients of a part of a batch.
    fn part(&self, batch: &HostBatch, shares: Shares, scale: f64) -> PartResult {
        let batch_there = self.timed(Stage::Data, || batch.to_device(&self.device()));
        let losses =
            computing_in(self.computation.dtype, || self.losses_of_part(batch_there, shares));
        let scaled = match scale == 1.0 {
            true => losses.total.clone(),
            false => losses.total.clone() * scale,
        };
        let gradients =
            self.timed(Stage::Backward, || GradientsParams::from_grads(scaled.backward(), self));
        (gradients, losses.measure(batch, &self.losses.mask), shares)
    }

    /// The gradients of a replica on another device on the main one.
    fn brought_home(&self, (gradients, output, shares): PartResult) -> PartResult {
        let gradients = match self.computation.devices.first() {
            Some(main) => gradients.to_device(main, self),
            None => gradients,
        };
        (gradients, output, shares)
    }

    /// The loop seeds the main device. On the CPU the generator belongs to the process, and is seeded.
    fn seed_other_devices(&self, seed: u64) {
        let others = self.computation.other_devices().filter(|device| !backend::is_host(device));
        others.zip(1..).for_each(|(device, number)| device.seed(seed.wrapping_add(number)));
    }
}

/// Makes every parameter the leaf of a graph of its own, on the device if there is one.
struct OwnLeaves<'a>(Option<&'a Device>);

impl ModuleMapper for OwnLeaves<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| match self.0 {
            Some(device) if value.device() != *device => moved_leaf(value, device),
            // Whether a gradient is wanted stays as it is.
            _ => value.detach(),
        })
    }
}

/// `value` as a leaf on `device`, with a gradient where it has one. What is moved is no leaf, and forgets
/// whether a gradient is wanted.
fn moved_leaf<const D: usize>(value: Tensor<D>, device: &Device) -> Tensor<D> {
    let is_trained = value.is_require_grad();
    let moved = value.detach().to_device(device).detach();
    if is_trained { moved.require_grad() } else { moved }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

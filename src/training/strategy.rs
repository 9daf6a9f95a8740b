//! The training loop, as a strategy of burn-train's learner.
//!
//! Burn's own loop saves and resumes by epoch only, and what it was doing when it is interrupted is
//! lost. Here an "epoch" is the span between two checkpoints; a request to stop ends the span early,
//! with a checkpoint that says how many steps were done.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingError, TrainingItem, ValidLoader,
};

use super::checkpoint::Checkpoints;
use super::failure::{Evidence, Failed, broken};
use super::journal::Journal;
use super::profile::{Profiler, Stage};
use super::record::{LossRecord, StepRecord, ValidationRecord};
use super::run_directory::{RunDirectory, write_json};
use super::span::Span;
use super::step::{StepOutput, TrainingModel};
use super::terminal::restore_ctrl_c;
use super::throughput::{Meter, Work};
use crate::backend;
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::experiment::checkpoints::CheckpointConfig;

/// The loop over steps.
pub struct StepLoop {
    /// Where to train; with autodiff.
    pub device: Device,
    /// Seed of dropout; every step has its own, so that a resumed run repeats it.
    pub seed: u64,
    /// Where to start, stop and save.
    pub span: Span,
    /// Told which step a checkpoint is of.
    pub checkpoints: Arc<Checkpoints>,
    /// Set when the user asks to stop.
    pub stop: Arc<AtomicBool>,
    /// Whether Burn's dashboard has the terminal.
    pub has_dashboard: bool,
    /// Says what steps cost.
    pub meter: Meter,
    /// Which loss makes a checkpoint better than another.
    pub best: CheckpointConfig,
    /// Keeps what came out not finite.
    pub evidence: Evidence,
    /// Takes the time of parts of steps, where that is asked for.
    pub profiler: Profiler,
    /// What is written and shown while training, and how it ended.
    pub journal: Arc<Mutex<Journal>>,
}

/// A batch of a split, by its number from 0.
#[derive(Debug, Clone, Copy)]
enum Split {
    Training(usize),
    Validation(usize),
}

/// The time of a step, of which it waited for its batch a part, and what there was to do.
#[derive(Debug, Clone, Copy)]
struct Taken {
    whole: Duration,
    waited: Duration,
    work: Work,
}

type Events = SupervisedTrainingEventProcessor<TrainingModel>;

/// One fit in progress.
struct Fit<'a> {
    strategy: &'a StepLoop,
    learner: Learner<TrainingModel>,
    events: Events,
    interrupter: Interrupter,
    /// What the last step measured.
    last: Option<StepOutput>,
}

impl SupervisedLearningStrategy<TrainingModel> for StepLoop {
    fn fit(
        &self,
        components: TrainingComponents<TrainingModel>,
        mut learner: Learner<TrainingModel>,
        train: TrainLoader<TrainingModel>,
        valid: ValidLoader<TrainingModel>,
        starting_epoch: usize,
    ) -> (TrainingModel, Events) {
        learner.fork(&self.device);
        if self.has_dashboard {
            restore_ctrl_c();
        }
        let mut checkpointer = components.checkpointer;
        let mut fit = Fit {
            strategy: self,
            learner,
            events: components.event_processor,
            interrupter: components.interrupter,
            last: None,
        };
        let (mut step, mut number) = (self.span.first_step, starting_epoch);
        while step < self.span.max_steps {
            let end = self.span.next_checkpoint(step);
            let flow = fit.train(&train, step..end, number);
            let done = self.journal().step.max(step);
            // What was learnt before a batch could not be made is worth keeping.
            let lacks_data = fit.lacks_data();
            if fit.failed() && !lacks_data || done == step {
                break;
            }
            step = done;
            fit.check_weights(step);
            let score = if lacks_data { None } else { fit.validate(&valid, step, number) };
            if fit.failed() && !lacks_data || self.journal().failure.is_some() {
                break;
            }
            if let Some(checkpointer) = &mut checkpointer {
                self.checkpoints.announce(number, step, score);
                checkpointer.checkpoint(&fit.learner, number, &components.event_store);
            }
            if flow.is_break() {
                break;
            }
            number += 1;
        }
        if !self.evidence.run.profile().is_file() {
            // Fewer steps than were asked for are better than none.
            fit.write_profile();
        }
        // Joins the threads that save.
        drop(checkpointer);
        (fit.learner.model(), fit.events)
    }
}

impl StepLoop {
    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seed of the dropout of step `step`, from 0.
    fn step_seed(&self, step: usize) -> u64 {
        self.seed.wrapping_add(step as u64)
    }

    /// Keeps the first failure.
    fn fail(&self, error: Error) {
        self.journal().failure.get_or_insert(error);
    }
}

impl Fit<'_> {
    /// Whether something went wrong, rather than that the user wants to stop.
    fn failed(&self) -> bool {
        self.strategy.journal().failure.is_some() || self.interrupter.error().is_some()
    }

    /// Whether a batch could not be made.
    fn lacks_data(&self) -> bool {
        self.interrupter.error().is_some_and(|error| matches!(*error, TrainingError::Dataset(_)))
    }

    /// Fails where the weights after `step` steps are not finite: they must not take the place of a good
    /// checkpoint.
    fn check_weights(&mut self, step: usize) {
        let Some(first) = broken(&self.learner.model(), None).into_iter().next() else { return };
        let problem =
            format!("the weights are not finite after step {step}, the first of them {first}");
        let Some(output) = self.last.take() else { return };
        self.keep_and_fail(step, problem, &output, Split::Training(step - 1));
    }

    /// Keeps the batch that `output` is of, and fails with `problem`.
    fn keep_and_fail(&mut self, step: usize, problem: String, output: &StepOutput, split: Split) {
        let seed = self.strategy.step_seed(step - 1);
        let model = &self.learner.model();
        let failed = Failed { step, problem: &problem, model, output, seed };
        let evidence = &self.strategy.evidence;
        let kept = match split {
            Split::Training(index) => evidence.keep_training(&failed, index),
            Split::Validation(index) => evidence.keep_validation(&failed, index),
        };
        self.strategy.fail(not_finite(&problem, &self.strategy.evidence.run, kept));
    }

    fn asked_to_stop(&self) -> bool {
        self.strategy.stop.load(Ordering::Relaxed) || self.interrupter.should_stop()
    }

    /// Trains over `steps`; breaks where it was stopped on the way.
    fn train(
        &mut self,
        loader: &TrainLoader<TrainingModel>,
        steps: std::ops::Range<usize>,
        epoch_number: usize,
    ) -> ControlFlow<()> {
        let loader = loader.slice(steps.start, steps.end);
        self.emit_train(LearnerEvent::StartSplit { epoch_number, total_items: steps.len() });
        let mut batches = loader.iter();
        let mut flow = ControlFlow::Continue(());
        for step in steps {
            self.strategy.profiler.begin_step();
            let begun = Instant::now();
            let batch = match batches.next() {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    self.interrupter.fail(error);
                    flow = ControlFlow::Break(());
                    break;
                }
                None => break,
            };
            let waited = begun.elapsed();
            self.strategy.profiler.add(Stage::Data, waited);
            self.strategy.device.seed(self.strategy.step_seed(step));
            let work = self.strategy.meter.work(&batch);
            let output = self.learner.train_step(batch);
            let StepOutput { task, losses, gradient_norm, .. } = &output.item;
            if !(losses.loss.is_finite() && gradient_norm.is_finite()) {
                let problem = format!(
                    "step {} ({}): loss {}, gradient norm {gradient_norm}; training stopped before it \
                     changed the weights",
                    step + 1,
                    task.name(),
                    losses.loss
                );
                self.keep_and_fail(step + 1, problem, &output.item, Split::Training(step));
                flow = ControlFlow::Break(());
                break;
            }
            self.optimize(output.grads);
            let taken = Taken { whole: begun.elapsed(), waited, work };
            if self.strategy.profiler.end_step(taken.whole) {
                self.write_profile();
            }
            self.record(step + 1, output.item, taken, batches.progress());
            if self.asked_to_stop() {
                flow = ControlFlow::Break(());
                break;
            }
        }
        self.emit_train(LearnerEvent::EndSplit(epoch_number));
        flow
    }

    fn optimize(&mut self, gradients: GradientsParams) {
        let StepLoop { profiler, device, .. } = self.strategy;
        let learner = &mut self.learner;
        profiler.time(
            Stage::Optimizer,
            || device.clone(),
            || {
                learner.lr_step();
                learner.optimizer_step(gradients);
            },
        );
    }

    /// Writes what profiled steps took, as soon as it is known.
    fn write_profile(&self) {
        let StepLoop { profiler, device, evidence, .. } = self.strategy;
        let Some(profile) = profiler.profile(backend::describe(device)) else { return };
        if let Err(error) = write_json(&evidence.run.profile(), &profile) {
            self.strategy.fail(error);
            self.interrupter.stop(None);
        }
    }

    fn record(&mut self, step: usize, mut output: StepOutput, taken: Taken, progress: Progress) {
        let seconds = taken.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = self.learner.lr_current();
        output.samples_per_second = output.num_images as f64 / seconds;
        output.cost = self.strategy.meter.cost(taken.work, taken.whole);
        let record = StepRecord {
            step,
            task: output.task,
            losses: output.losses,
            gradient_norm: output.gradient_norm,
            learning_rate: rate.base(),
            samples_per_second: output.samples_per_second,
            data_wait_share: taken.waited.as_secs_f64() / seconds,
            cost: output.cost,
        };
        let written = self.strategy.journal().step(record);
        if let Err(error) = written {
            self.strategy.fail(error);
            self.interrupter.stop(None);
        }
        self.last = Some(output.clone());
        let item = TrainingItem::new(output, progress, Some(step), Some(rate));
        self.emit_train(LearnerEvent::ProcessedItem(item));
    }

    /// Looks at the validation split after `step` steps; the loss by which checkpoints are compared.
    fn validate(
        &mut self,
        loader: &ValidLoader<TrainingModel>,
        step: usize,
        epoch_number: usize,
    ) -> Option<f64> {
        let total_items = loader.num_items();
        self.emit_valid(LearnerEvent::StartSplit { epoch_number, total_items });
        let model = self.learner.model().valid();
        let mut batches = loader.iter();
        let mut outputs = Vec::with_capacity(total_items);
        while let Some(batch) = batches.next() {
            match batch {
                Ok(batch) => {
                    let output = InferenceStep::step(&model, batch);
                    outputs.push(output.clone());
                    let item = TrainingItem::new(output, batches.progress(), None, None);
                    self.emit_valid(LearnerEvent::ProcessedItem(item));
                }
                Err(error) => self.interrupter.fail(error),
            }
        }
        if let Some(index) = outputs.iter().position(|output| !output.losses.loss.is_finite()) {
            let output = &outputs[index];
            let problem = format!(
                "after step {step}, the loss of {} on the validation split is {}",
                output.task.name(),
                output.losses.loss
            );
            self.keep_and_fail(step, problem, output, Split::Validation(index));
            return None;
        }
        for task in Task::ALL {
            let of_task: Vec<_> = outputs.iter().filter(|output| output.task == task).collect();
            let Some(record) = summarise(step, task, &of_task) else { continue };
            let written = self.strategy.journal().validation(record);
            if let Err(error) = written {
                self.strategy.fail(error);
            }
        }
        self.emit_valid(LearnerEvent::EndSplit(epoch_number));
        self.emit_train(LearnerEvent::EndEpoch(epoch_number));
        // So that the dashboard shows it before the checkpoint is written.
        let flushed = self.events.flush();
        self.interrupter.fail_on_error(flushed);
        score(&self.strategy.best, &outputs)
    }

    fn emit_train(&mut self, event: LearnerEvent<StepOutput>) {
        let result = self.events.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    fn emit_valid(&mut self, event: LearnerEvent<StepOutput>) {
        let result = self.events.process_valid(event);
        self.interrupter.fail_on_error(result);
    }
}

/// The loss by which checkpoints are compared; `None` where no batch has it.
fn score(best: &CheckpointConfig, outputs: &[StepOutput]) -> Option<f64> {
    let is_meant = |output: &&StepOutput| best.best_task.is_none_or(|task| task == output.task);
    let meant = outputs.iter().filter(is_meant);
    let losses: Vec<_> = meant.map(|output| (&output.losses, output.num_images as f64)).collect();
    LossRecord::mean(&losses)?.get(best.best_by)
}

/// Means over batches, weighted by their images; `None` without a batch.
fn summarise(step: usize, task: Task, outputs: &[&StepOutput]) -> Option<ValidationRecord> {
    let losses: Vec<_> =
        outputs.iter().map(|output| (&output.losses, output.num_images as f64)).collect();
    Some(ValidationRecord { step, task, losses: LossRecord::mean(&losses)? })
}

/// What a user reads who has not yet thought about numbers.
fn not_finite(problem: &str, run: &RunDirectory, kept: Result<PathBuf>) -> Error {
    let advice = "Lower optimizer.learning_rate or set optimizer.clip_gradient_norm, and go on from the \
                  last checkpoint with --resume.";
    let help = match kept {
        Ok(folder) => format!(
            "The batch and the weights are kept in {}; `pixelllm runs replay {}` computes them again. \
             {advice}",
            folder.display(),
            run.path().display()
        ),
        Err(error) => format!("The batch could not be kept ({error}). {advice}"),
    };
    Error::Compute { problem: problem.into(), help }
}

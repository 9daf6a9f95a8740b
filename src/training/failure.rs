//! What a step was given that came out not finite, kept so that it can be given to it again.
//!
//! `failures/step-N/` has the batch, the weights that the step began with, and `failure.json`, which says
//! what was measured and which samples they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, TrainStep};
use serde::{Deserialize, Serialize};

use super::frozen_record::FrozenRecord;
use super::run_directory::{RunDirectory, read_json, write_atomically, write_json};
use super::step::{StepOutput, TrainingModel};
use super::{frozen, weights};
use crate::data::batch::HostBatch;
use crate::data::batch_file;
use crate::data::loader::{Batches, SampleName};
use crate::data::sample::Task;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;

const BATCH: &str = "batch.safetensors";
const WEIGHTS: &str = "weights.safetensors";
const ABOUT: &str = "failure.json";

/// The splits that a batch can be of.
const TRAIN: &str = "train";
const VALIDATION: &str = "validation";

/// What failed: `failure.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The step, from 1.
    pub step: usize,
    /// What its batch was for.
    pub task: Task,
    /// What was not finite.
    pub problem: String,
    /// The split that the batch is of: `"train"` or `"validation"`.
    pub split: String,
    /// Its losses; `None` for one that is not finite.
    pub losses: BTreeMap<String, Option<f64>>,
    /// The norm of its gradients; `None` where it is not finite.
    pub gradient_norm: Option<f64>,
    /// Seed of its dropout.
    pub seed: u64,
    /// What the batch is of, in its order.
    pub samples: Vec<SampleName>,
}

/// A step that came out not finite.
pub struct Failed<'a> {
    /// The step, from 1.
    pub step: usize,
    /// What was not finite.
    pub problem: &'a str,
    /// The model that it began with.
    pub model: &'a TrainingModel,
    /// What it measured.
    pub output: &'a StepOutput,
    /// Seed of its dropout.
    pub seed: u64,
}

/// Keeps what is needed to do a failed step again.
pub struct Evidence {
    /// The run.
    pub run: RunDirectory,
    /// What its checkpoints leave out.
    pub frozen: FrozenRecord,
    /// Batches of the training and the validation split.
    pub batches: [Batches; 2],
}

impl Evidence {
    /// Keeps batch `index` of the training split.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written; what the batch cannot be made of.
    pub fn keep_training(&self, failed: &Failed<'_>, index: usize) -> Result<PathBuf> {
        self.keep(failed, TRAIN, &self.batches[0], index)
    }

    /// Keeps batch `index` of the validation split.
    ///
    /// # Errors
    /// As [`Self::keep_training`].
    pub fn keep_validation(&self, failed: &Failed<'_>, index: usize) -> Result<PathBuf> {
        self.keep(failed, VALIDATION, &self.batches[1], index)
    }

    fn keep(
        &self,
        failed: &Failed<'_>,
        split: &str,
        of: &Batches,
        index: usize,
    ) -> Result<PathBuf> {
        let Failed { step, problem, model, output, seed } = *failed;
        let folder = folder(&self.run, step);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        // Made again, which gives the same: training has used the first up.
        if let Some(batch) = of.batch(index) {
            let path = folder.join(BATCH);
            write_atomically(&path, &batch_file::to_bytes(&path, &batch?)?)?;
        }
        weights::save_to(&folder.join(WEIGHTS), &model.model, &self.frozen)?;
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let losses = output.losses.named().into_iter();
        let about = Failure {
            step,
            task: output.task,
            problem: problem.into(),
            split: split.into(),
            losses: losses.map(|(name, value)| (name.into(), finite(value))).collect(),
            gradient_norm: finite(output.gradient_norm),
            seed,
            samples: of.sample_names(index),
        };
        write_json(&folder.join(ABOUT), &about)?;
        Ok(folder)
    }
}

fn folder(run: &RunDirectory, step: usize) -> PathBuf {
    run.failures().join(format!("step-{step}"))
}

/// Steps of `run` that failed, in their order.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be read.
pub fn steps(run: &RunDirectory) -> Result<Vec<usize>> {
    let path = run.failures();
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&path).map_err(Error::io("read", &path))?;
    let step = |entry: fs::DirEntry| -> Option<usize> {
        entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()
    };
    let mut steps: Vec<_> = entries.flatten().filter_map(step).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// What a step did when it was done again.
#[derive(Debug)]
pub struct Replayed {
    /// What was kept of it.
    pub failure: Failure,
    /// What it measured this time.
    pub output: StepOutput,
    /// Trained parameters whose values are not finite.
    pub broken_weights: Vec<String>,
    /// Trained parameters whose gradients are not finite.
    pub broken_gradients: Vec<String>,
}

/// Does a failed step of `run` again on `device`, which has autodiff; the weights stay as they are.
///
/// # Errors
/// [`Error::Run`] where the run has kept no such step, [`Error::Io`] and [`Error::Format`] where what it
/// kept cannot be read.
pub fn replay(
    run: &RunDirectory,
    step: usize,
    experiment: &Experiment,
    device: &Device,
) -> Result<Replayed> {
    let folder = folder(run, step);
    let failure: Failure = read_json(&folder.join(ABOUT))?;
    let batch = read_batch(&folder.join(BATCH))?;
    let tokenizer = Tokenizer::from_file(run.tokenizer())?;
    let model = weights::load_from(&folder.join(WEIGHTS), run, experiment, &tokenizer, device)?;
    let model = TrainingModel::new(
        frozen::freeze(model, &experiment.training.frozen)?,
        experiment.losses.clone(),
        // Clipping would spread what is not finite over all gradients.
        None,
        experiment.training.parallel_parts,
        FrozenRecord::read(run)?.left_out(),
    );
    device.seed(failure.seed);
    let mut done = TrainStep::step(&model, batch.clone());
    if failure.split == VALIDATION {
        // Without dropout, as it was; what is to blame is still found by gradients.
        let losses = InferenceStep::step(&model.valid(), batch).losses;
        done.item = StepOutput { losses, ..done.item };
    }
    Ok(Replayed {
        failure,
        broken_weights: broken(&model, None),
        broken_gradients: broken(&model, Some(&done.grads)),
        output: done.item,
    })
}

fn read_batch(path: &Path) -> Result<HostBatch> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    batch_file::from_bytes(path, &bytes)
}

/// Trained parameters whose values, or whose `gradients`, are not finite.
pub fn broken<M: Module>(model: &M, gradients: Option<&GradientsParams>) -> Vec<String> {
    let mut looker = Looker { gradients, path: Vec::new(), broken: Vec::new() };
    model.visit(&mut looker);
    looker.broken
}

struct Looker<'a> {
    gradients: Option<&'a GradientsParams>,
    path: Vec<String>,
    broken: Vec<String>,
}

impl ModuleVisitor for Looker<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let values = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val().inner()),
        };
        // Zero times what is not finite is not a number.
        let is_finite =
            values.is_none_or(|values| (values * 0.0).sum().into_scalar::<f32>() == 0.0);
        if !is_finite {
            self.broken.push(self.path.join("."));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn parameters_that_are_not_finite_are_named() {
        let device = Device::flex().autodiff();
        let linear: Linear = LinearConfig::new(2, 3).init(&device);
        assert!(broken(&linear, None).is_empty());
        for value in [f32::NAN, f32::INFINITY] {
            let mut spoilt = linear.clone();
            spoilt.bias =
                spoilt.bias.map(|bias| bias.map(|bias| (bias * value).detach().require_grad()));
            assert_eq!(broken(&spoilt, None), ["bias"]);
            let output = spoilt.forward(Tensor::<2>::ones([1, 2], &device)) * value;
            let gradients = GradientsParams::from_grads(output.sum().backward(), &spoilt);
            assert_eq!(broken(&spoilt, Some(&gradients)), ["weight", "bias"]);
        }
    }
}

//! The model as burn-train's learner has it.

use std::collections::BTreeSet;
use std::fmt;

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, ParamGroup};
use burn::store::ModuleRecord;
use burn::tensor::Device;

use super::computation::Computation;
use super::part_threads::PartThreads;
use super::profile::Profiler;
use crate::experiment::schema::LossConfig;
use crate::model::pixel_llm::PixelLlm;
use crate::weights::load::parameter_shapes;

/// Name of the model in paths of parameters.
const MODEL: &str = "model";

/// The path in the model of a parameter that may have been reached through [`TrainingModel`].
pub(super) fn in_model(path: &str) -> &str {
    path.strip_prefix(MODEL).and_then(|rest| rest.strip_prefix('.')).unwrap_or(path)
}

/// The model and what it is trained with.
///
/// Its [`Module`] is written out, not derived, for one thing: the record of it, which is what a
/// checkpoint holds, leaves frozen parameters out.
#[derive(Debug, Clone)]
pub struct TrainingModel {
    /// The model.
    pub model: PixelLlm,
    pub(super) losses: LossConfig,
    /// Largest norm of all gradients together.
    pub(super) clip_gradient_norm: Option<f64>,
    /// Parts of a batch that are computed at the same time.
    pub(super) parallel_parts: usize,
    /// What they are computed on.
    pub(super) part_threads: PartThreads,
    /// Takes the time of parts of a step, where that is asked for.
    pub(super) profiler: Profiler,
    /// How and where a step is computed.
    pub(super) computation: Computation,
    /// Paths in the model of the parameters that checkpoints leave out.
    left_out: BTreeSet<String>,
}

impl TrainingModel {
    /// Wraps `model` for training; checkpoints do not hold the parameters `left_out`.
    pub fn new(
        model: PixelLlm,
        losses: LossConfig,
        clip_gradient_norm: Option<f64>,
        parallel_parts: usize,
        left_out: BTreeSet<String>,
    ) -> Self {
        Self {
            model,
            losses,
            clip_gradient_norm,
            parallel_parts,
            part_threads: PartThreads::default(),
            profiler: Profiler::default(),
            computation: Computation::default(),
            left_out,
        }
    }

    /// The same, of which `profiler` takes the time.
    pub fn with_profiler(self, profiler: Profiler) -> Self {
        Self { profiler, ..self }
    }

    /// The same, computed as `computation` says, with parts of the model on their devices.
    pub fn computed(self, computation: Computation) -> Self {
        let model = match &computation.placement {
            Some(placement) => self.model.place(placement),
            None => self.model,
        };
        Self { model, computation, ..self }
    }

    /// Number of parameters in a checkpoint, where they are not all of the model.
    pub fn num_saved(&self) -> Option<usize> {
        let all = parameter_shapes(&self.model).len();
        (!self.left_out.is_empty()).then(|| all - self.left_out.len())
    }
}

impl Module for TrainingModel {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        let model = match &self.computation.placement {
            // Its parts are where they belong.
            Some(placement) => self.model.place(placement),
            None => self.model.fork(device),
        };
        Self { model, ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { model: self.model.to_device(device), ..self }
    }

    fn train(self) -> Self {
        Self { model: self.model.train(), ..self }
    }

    fn valid(&self) -> Self {
        Self { model: self.model.valid(), ..self.clone() }
    }

    fn materialize(self) -> Self {
        Self { model: self.model.materialize(), ..self }
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        visitor.enter_module(MODEL, CONTAINER);
        self.model.visit(visitor);
        visitor.exit_module(MODEL, CONTAINER);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        mapper.enter_module(MODEL, CONTAINER);
        let model = self.model.map(mapper);
        mapper.exit_module(MODEL, CONTAINER);
        Self { model, ..self }
    }

    fn into_record(self) -> ModuleRecord {
        let paths = parameter_shapes(&self.model).into_keys();
        let saved = paths.filter(|path| !self.left_out.contains(path));
        let saved: Vec<_> = saved.map(|path| format!("{MODEL}.{path}")).collect();
        self.into_record_group(ParamGroup::from_paths(saved))
    }
}

/// What Burn calls a module of this type while walking through it.
const CONTAINER: &str = "Struct:TrainingModel";

impl fmt::Display for TrainingModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}

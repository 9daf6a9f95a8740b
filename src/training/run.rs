//! From an experiment to trained weights in a run directory.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use burn::train::metric::LearningRateMetric;
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{
    Interrupter, Learner, LearningResult, SupervisedTraining, TrainingError, TrainingStrategy,
};

use super::breakdown;
use super::checkpoint::{Checkpoints, ModelPart, SaveAll};
use super::checkpoint_state::{self, CheckpointState};
use super::computation::{Computation, for_training};
use super::dashboard_log::DashboardLog;
use super::failure::Evidence;
use super::frozen_record::FrozenRecord;
use super::journal::Journal;
use super::metrics::{
    DetectionLoss, GradientNorm, MaskLoss, Memory, Operations, OverlapLoss, PointLoss,
    QuantityMetric, TextLoss, Throughput, Tokens, TotalLoss,
};
use super::profile::Profiler;
use super::renderer::Silent;
use super::run_directory::{RunDirectory, write_atomically};
use super::run_lock::RunLock;
use super::sources;
use super::span::Span;
use super::step::TrainingModel;
use super::strategy::StepLoop;
use super::throughput::Meter;
use super::{features, frozen, learning_rates, optimizer, resume, weights};
use crate::data::collate::Collator;
use crate::data::loader::Batches;
use crate::data::mixture::{MixedSource, Mixture, MixtureConfig};
use crate::data::source::Source;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::model::pixel_llm::PixelLlm;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dashboard {
    /// Burn's dashboard.
    Tui,
    /// Lines.
    Plain,
    /// Nothing.
    Off,
}

/// What a run does beside what its experiment says.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run directory; `{output}/{name}` of the experiment where it is `None`.
    pub directory: Option<PathBuf>,
    /// Go on from the last checkpoint of the directory.
    pub resume: bool,
    /// How progress is shown.
    pub dashboard: Dashboard,
    /// Steps whose parts are timed, after a warm-up; `None` for none.
    pub profile: Option<usize>,
    /// Set from elsewhere to stop after the step in progress, with a checkpoint.
    pub stop: Arc<AtomicBool>,
}

/// A run that came to an end.
#[derive(Debug)]
pub struct Trained {
    /// Where it is.
    pub run: RunDirectory,
    /// With its final weights, not for training.
    pub model: PixelLlm,
    /// Texts to ids.
    pub tokenizer: Tokenizer,
    /// What was learnt from.
    pub train: Vec<Source>,
    /// Steps done.
    pub step: usize,
}

/// How training ended.
#[derive(Debug)]
pub enum Outcome {
    /// After the last step.
    Finished(Box<Trained>),
    /// By request; `--resume` goes on.
    Stopped {
        /// Where the run is.
        run: RunDirectory,
        /// Steps done.
        step: usize,
    },
}

/// Trains.
///
/// # Errors
/// Whatever is wrong with data, device or directory; [`Error::Run`] where the directory holds a run
/// and `resume` is not set; [`Error::Compute`] where a loss is not finite.
pub fn train(experiment: &Experiment, options: &RunOptions) -> Result<Outcome> {
    frozen::check(experiment)?;
    if experiment.model.boxes.is_some() && !experiment.detects() {
        tracing::warn!("model.boxes stays as it starts: no source has the task \"detect\"");
    }
    if experiment.model.masks.is_some() && !experiment.teaches_masks() {
        tracing::warn!("model.masks stays as it starts: no source has `masks = true`");
    }
    let device = for_training(sources::seeded_device(experiment)?, experiment);
    let computation = Computation::new(experiment, &device)?;
    if !options.resume {
        weights::ensure(experiment)?;
    }
    let (run, state, _lock) = open_directory(experiment, options)?;
    sources::ensure_shapes(&experiment.data)?;
    let train = sources::load_split(&experiment.data, &experiment.data.splits.train)?;
    let validation = sources::load_split(&experiment.data, &experiment.data.splits.validation)?;
    let tokenizer = match state {
        Some(_) => Tokenizer::from_file(run.tokenizer())?,
        None => sources::tokenizer(experiment, &train)?,
    };
    tokenizer.save(run.tokenizer())?;
    write_atomically(&run.experiment(), experiment::to_toml(experiment)?.as_bytes())?;

    let mixture = mixture(experiment, &train)?;
    let span = Span {
        first_step: state.as_ref().map_or(0, |state| state.step),
        max_steps: mixture.num_steps(),
        checkpoint_every_steps: experiment.training.checkpoint_every_steps,
    };
    let drawn_on = sources::drawing_device(experiment, &device)?;
    let model = experiment.model.init(tokenizer.vocabulary(), &drawn_on);
    let mut model = frozen::freeze(model, &experiment.training.frozen)?;
    let frozen = match state {
        None => {
            let left_out = frozen::left_out(experiment, &model);
            let imported = weights::import(experiment, &mut model)?;
            FrozenRecord::begin(&run, &model, left_out, &imported)?
        }
        Some(_) => FrozenRecord::read(&run)?,
    };
    if state.is_some() {
        frozen.load_all(&run, &experiment.model, &mut model)?;
    }
    let model = if drawn_on == device { model } else { model.draw_and_move(&device) };
    let clip = experiment.optimizer.clip_gradient_norm;
    let model = TrainingModel::new(
        model,
        experiment.losses.clone(),
        clip,
        experiment.training.parallel_parts,
        frozen.left_out(),
    );
    let profiler = options.profile.map(Profiler::of).unwrap_or_default();
    if options.profile.is_some() {
        remove_profile(&run)?;
    }
    let model = model.with_profiler(profiler).computed(computation);
    let mut collator = sources::collator(experiment, tokenizer.clone())?;
    let stop = &options.stop;
    collator.features = features::prepare(experiment, &model.model, &train, &validation, stop)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(Outcome::Stopped { run, step: span.first_step });
    }
    let batches = batches(experiment, train.clone(), validation, collator, mixture);
    let with_console = options.dashboard == Dashboard::Plain;
    let journal = Journal::begin(&run, &experiment.logging, span, with_console)?;
    let journal = Arc::new(Mutex::new(journal));
    let evidence = Evidence { run: run.clone(), frozen: frozen.clone(), batches: batches.clone() };
    let main = device.clone().inner();
    let launch =
        Launch { experiment, options, run: &run, state, span, device, evidence, journal: &journal };
    let result = breakdown::contained(|| launch.run(model, batches))??;

    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = journal.failure.take() {
        return Err(error);
    }
    if let Some(error) = result.error {
        return Err(stopped_by(&error));
    }
    let step = journal.step.max(span.first_step);
    if step < span.max_steps {
        return Ok(Outcome::Stopped { run, step });
    }
    let model = result.model.model.gather(&main);
    weights::save(&run, &model, &frozen)?;
    Ok(Outcome::Finished(Box::new(Trained { run, model, tokenizer, train, step })))
}

/// Removes the profile of an earlier process, which is of other steps.
fn remove_profile(run: &RunDirectory) -> Result<()> {
    match fs::remove_file(run.profile()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", run.profile())(error))
        }
        _ => Ok(()),
    }
}

/// The run directory, and where to go on from.
fn open_directory(
    experiment: &Experiment,
    options: &RunOptions,
) -> Result<(RunDirectory, Option<CheckpointState>, RunLock)> {
    let default = || experiment.output.join(&experiment.name);
    let path = options.directory.clone().unwrap_or_else(default);
    let has_run = RunDirectory::open(&path).is_ok();
    match (has_run, options.resume) {
        (false, false) => {
            let run = RunDirectory::create(path)?;
            let lock = RunLock::take(&run)?;
            Ok((run, None, lock))
        }
        (true, false) => Err(Error::Run {
            path,
            problem: "holds a run already".into(),
            help: "Go on with --resume, choose another place with --out, or delete the folder."
                .into(),
        }),
        (false, true) => Err(Error::Run {
            path,
            problem: "holds no run to resume".into(),
            help: "Train without --resume first, or name its folder with --out.".into(),
        }),
        (true, true) => {
            let run = RunDirectory::create(path)?;
            let lock = RunLock::take(&run)?;
            resume::check_same(&run, experiment)?;
            let state = checkpoint_state::latest(&run.checkpoints())?;
            if state.is_none() {
                tracing::warn!("{} has no checkpoint yet: from the start", run.path().display());
            }
            Ok((run, state, lock))
        }
    }
}

/// Which samples every step sees.
fn mixture(experiment: &Experiment, train: &[Source]) -> Result<Mixture> {
    let mixed = train.iter().map(|source| MixedSource {
        task: source.task(),
        num_samples: source.samples.len(),
        weight: source.config.weight,
        first_step: source.config.first_step,
    });
    let config = MixtureConfig {
        seed: experiment.seed,
        batch_size: experiment.training.batch_size,
        mixing: experiment.data.mixing,
        num_steps: experiment.training.max_steps,
        epochs: experiment.training.epochs,
    };
    Mixture::new(&config, &mixed.collect::<Vec<_>>())
}

/// Batches of the training and the validation split.
fn batches(
    experiment: &Experiment,
    train: Vec<Source>,
    validation: Vec<Source>,
    collator: Collator,
    mixture: Mixture,
) -> [Batches; 2] {
    let config = &experiment.training;
    let collator = Arc::new(collator);
    [
        Batches::mixed(Arc::new(train), collator.clone(), mixture, config.prefetch_batches),
        Batches::in_order(
            Arc::new(validation),
            collator,
            config.batch_size,
            config.validation_batches,
            config.prefetch_batches,
        ),
    ]
}

/// A run that is ready to go.
struct Launch<'a> {
    experiment: &'a Experiment,
    options: &'a RunOptions,
    run: &'a RunDirectory,
    /// Where it goes on from.
    state: Option<CheckpointState>,
    span: Span,
    device: Device,
    evidence: Evidence,
    journal: &'a Arc<Mutex<Journal>>,
}

impl Launch<'_> {
    /// Runs burn-train's learner with our loop.
    fn run(
        self,
        model: TrainingModel,
        [train, validation]: [Batches; 2],
    ) -> Result<LearningResult<TrainingModel>> {
        let Self { experiment, options, run, state, span, device, evidence, journal } = self;
        let profiler = model.profiler.clone();
        let meter = Meter::new(&model.model, &experiment.model, &device);
        let optimizer = optimizer::optimizer(&experiment.optimizer, &model);
        let rate = experiment.optimizer.learning_rate;
        let groups = learning_rates::groups(&experiment.optimizer, &model);
        let schedule = optimizer::schedule(rate, &experiment.schedule, span.max_steps, &groups)?;
        let num_saved = model.num_saved();
        let learner = Learner::new(model, optimizer, schedule);

        let first = state.map(|state| state.number);
        let checkpoints =
            Checkpoints::new(run.checkpoints(), experiment.checkpoints.clone(), first)?;
        let [model_part, optimizer_part, schedule_part] = checkpoints.parts();
        let model_part = ModelPart::new(model_part, num_saved);
        let interrupter = Interrupter::new();
        let renderer: Box<dyn MetricsRenderer> = match options.dashboard {
            Dashboard::Tui => Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), first)),
            Dashboard::Plain | Dashboard::Off => Box::new(Silent),
        };
        let strategy = StepLoop {
            device,
            seed: experiment.seed,
            span,
            checkpoints,
            stop: options.stop.clone(),
            has_dashboard: options.dashboard == Dashboard::Tui,
            meter,
            best: experiment.checkpoints.clone(),
            evidence,
            profiler,
            journal: journal.clone(),
        };
        let training = SupervisedTraining::new(run.path(), Arc::new(train), Arc::new(validation))
            .metrics((
                QuantityMetric::<TotalLoss>::new(),
                QuantityMetric::<TextLoss>::new(),
                QuantityMetric::<PointLoss>::new(),
            ))
            .metric_train_numeric(QuantityMetric::<Throughput>::new())
            .metric_train_numeric(QuantityMetric::<Tokens>::new())
            .metric_train_numeric(QuantityMetric::<Operations>::new())
            .metric_train_numeric(QuantityMetric::<Memory>::new())
            .metric_train_numeric(QuantityMetric::<GradientNorm>::new())
            .metric_train_numeric(LearningRateMetric::new())
            .with_metric_logger(DashboardLog::new(run.dashboard()))
            .with_application_logger(None)
            .with_interrupter(interrupter)
            .renderer(renderer)
            .with_custom_checkpointers(model_part, optimizer_part, schedule_part)
            .with_checkpointing_strategy(SaveAll)
            .num_epochs(first.unwrap_or(0) + span.num_checkpoints())
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        let training = match experiment.teaches_masks() {
            true => training
                .metric_train_numeric(QuantityMetric::<MaskLoss>::new())
                .metric_valid_numeric(QuantityMetric::<MaskLoss>::new()),
            false => training,
        };
        let training = match experiment.losses.overlap.weight > 0.0 {
            true => training
                .metric_train_numeric(QuantityMetric::<OverlapLoss>::new())
                .metric_valid_numeric(QuantityMetric::<OverlapLoss>::new()),
            false => training,
        };
        let training = match experiment.detects() {
            true => training
                .metric_train_numeric(QuantityMetric::<DetectionLoss>::new())
                .metric_valid_numeric(QuantityMetric::<DetectionLoss>::new()),
            false => training,
        };
        let training = match first {
            Some(number) => training.checkpoint(number),
            None => training,
        };
        let result = training.launch(learner);
        // The dashboard's own key for stopping goes through the interrupter.
        if result.interrupted.is_some() {
            options.stop.store(true, Ordering::Relaxed);
        }
        Ok(result)
    }
}

fn stopped_by(error: &TrainingError) -> Error {
    let help = match error {
        TrainingError::Dataset(_) => "Mend or remove the file, and go on with --resume.",
        TrainingError::Checkpoint(_) => "Free some space, and go on with --resume.",
        _ => "Go on from the last checkpoint with --resume.",
    };
    Error::Compute { problem: format!("training stopped: {error}"), help: help.into() }
}

//! What no single value can show: settings that do not go together, and numbers out of range.

mod features;
mod losses;
mod masks;
mod model;
mod written_boxes;

use std::path::{Component, Path};

use super::schema::{
    DataConfig, EvaluationConfig, Experiment, OptimizerConfig, ScheduleConfig, TrainingConfig,
};
use crate::data::augmentation::AugmentationConfig;
use crate::data::formats::Format;
use crate::data::sample::Task;
use crate::data::source::SourceConfig;
use crate::model::ConfigProblem;

/// Ids that a tokenizer has beside those of words: padding, unknown, begin, end, and a few pieces.
const FEWEST_TOKENS: usize = 8;
/// Begin, one piece, end.
const SHORTEST_TEXT: usize = 3;
/// Longest side of a resized image before it is cropped, in canvases.
const LARGEST_SCALE: f64 = 8.0;
/// One piece, end.
const SHORTEST_CONTEXT: usize = 2;

impl Experiment {
    /// What cannot be run, with dotted keys.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let under = ConfigProblem::under;
        let mut problems: Vec<_> = name(&self.name).into_iter().collect();
        problems.extend(under("model", model::validate(&self.model)));
        let longest = self.model.language.max_text_tokens();
        problems.extend(under("data", data(&self.data, longest)));
        problems.extend(self.without_points());
        problems.extend(self.without_boxes());
        problems.extend(masks::without_masks(self));
        problems.extend(written_boxes::validate(self));
        problems.extend(self.epochs_of_parts());
        problems.extend(features::validate(self));
        problems.extend(features::storage(self));
        problems.extend(self.placed_badly());
        problems.extend(under("training", training(&self.training)));
        problems.extend(self.checkpoints());
        problems.extend(under("optimizer", optimizer(&self.optimizer)));
        problems.extend(under("schedule", schedule(&self.schedule, self.training.max_steps)));
        problems.extend(under("losses", losses::validate(self)));
        problems.extend(under("decoding", self.decoding.validate()));
        problems.extend(under("evaluation", evaluation(&self.evaluation)));
        problems
    }
}

impl Experiment {
    fn checkpoints(&self) -> Vec<ConfigProblem> {
        let config = &self.checkpoints;
        let count = at_least("checkpoints.keep_last", config.keep_last, 1);
        let is_learnt = |task: &Task| self.data.sources.iter().any(|source| source.task == *task);
        let task = config.best_task.filter(|task| !is_learnt(task)).map(|task| {
            let found = format!("no source has the task {:?}", task.name());
            problem("checkpoints.best_task", found, "the task of a source, or false for all")
        });
        count.into_iter().chain(task).collect()
    }

    /// An epoch has every sample, so that no source can come later than another.
    fn epochs_of_parts(&self) -> Option<ConfigProblem> {
        self.training.epochs?;
        let is_late = |source: &SourceConfig| source.first_step > 0;
        let index = self.data.sources.iter().position(is_late)?;
        let key = format!("data.sources.{index}.first_step");
        Some(problem(&key, "is set beside training.epochs", "0, or training.max_steps instead"))
    }

    /// Narratives and expressions are about places.
    fn without_points(&self) -> Option<ConfigProblem> {
        let source = self.data.sources.iter().find(|source| source.has_places())?;
        self.model.points.is_none().then(|| {
            let found = format!("nothing says where, but {:?} is to be learnt", source.task.name());
            let allowed = "[model.points], or sources that describe only or write boxes";
            problem("model.points", found, allowed)
        })
    }

    /// Whether some source teaches to find boxes.
    pub(crate) fn detects(&self) -> bool {
        self.data.sources.iter().any(|source| source.task == Task::Detect)
    }

    /// Detections are boxes.
    fn without_boxes(&self) -> Option<ConfigProblem> {
        (self.detects() && self.model.boxes.is_none()).then(|| {
            let found = "nothing finds boxes, but \"detect\" is to be learnt";
            problem("model.boxes", found, "[model.boxes], or other tasks")
        })
    }
}

fn problem(key: &str, problem: impl Into<String>, allowed: impl Into<String>) -> ConfigProblem {
    ConfigProblem { key: key.into(), problem: problem.into(), allowed: allowed.into() }
}

/// A problem unless `value` is at least `least`.
fn at_least(key: &str, value: usize, least: usize) -> Option<ConfigProblem> {
    (value < least).then(|| problem(key, format!("is {value}"), format!("at least {least}")))
}

/// Those of `counts` that are 0, with their keys.
fn at_least_one<'a>(
    counts: impl IntoIterator<Item = (&'a str, usize)>,
) -> impl Iterator<Item = ConfigProblem> {
    counts.into_iter().filter_map(|(key, count)| at_least(key, count, 1))
}

/// A problem unless `value` is a finite number for which `is_allowed` holds.
fn number(
    key: &str,
    value: f64,
    is_allowed: impl Fn(f64) -> bool,
    allowed: &str,
) -> Option<ConfigProblem> {
    let fine = value.is_finite() && is_allowed(value);
    (!fine).then(|| problem(key, format!("is {value}"), allowed))
}

fn positive(key: &str, value: f64) -> Option<ConfigProblem> {
    number(key, value, |x| x > 0.0, "a number above 0")
}

fn not_negative(key: &str, value: f64) -> Option<ConfigProblem> {
    number(key, value, |x| x >= 0.0, "a number of at least 0")
}

/// A probability or decay that must leave something.
fn below_one(key: &str, value: f64) -> Option<ConfigProblem> {
    number(key, value, |x| (0.0..1.0).contains(&x), "at least 0 and below 1")
}

/// The name becomes a directory.
fn name(name: &str) -> Option<ConfigProblem> {
    let mut parts = Path::new(name).components();
    let is_one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    let plain = is_one && !name.contains(['/', '\\', '\0']);
    (!plain).then(|| {
        let found = format!("{name:?} cannot be the name of a directory");
        problem("name", found, "a plain name, such as \"quickstart\"")
    })
}

fn data(config: &DataConfig, longest: usize) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if let Some(shapes) = &config.shapes {
        problems.extend(ConfigProblem::under("shapes.world", shapes.world.validate()));
    }
    if config.sources.is_empty() {
        let allowed = "at least one [[data.sources]]";
        problems.push(problem("sources", "there is nothing to learn from", allowed));
    } else if config.sources.iter().all(|source| source.weight == 0.0) {
        let allowed = "a weight above 0 for at least one source";
        problems.push(problem("sources", "every weight is 0, so no batch has a source", allowed));
    }
    let size = config.tokenizer.vocabulary_size;
    problems.extend(at_least("tokenizer.vocabulary_size", size, FEWEST_TOKENS));
    problems.extend(config.workers.and_then(|workers| at_least("workers", workers, 1)));
    for (index, source) in config.sources.iter().enumerate() {
        let key = format!("sources.{index}");
        problems.extend(ConfigProblem::under(&key, self::source(source, longest)));
    }
    problems
}

fn source(config: &SourceConfig, longest: usize) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    let tasks = config.format.tasks();
    if !tasks.contains(&config.task) {
        let names: Vec<_> = tasks.iter().map(|task| format!("{:?}", task.name())).collect();
        let found = format!("annotations of this format cannot teach {:?}", config.task.name());
        problems.push(problem("task", found, names.join(" or ")));
    }
    problems.extend(not_negative("weight", config.weight));
    problems.extend(ConfigProblem::under("augmentation", augmentation(&config.augmentation)));
    let pixels = usize::try_from(config.decoding.max_pixels).unwrap_or(usize::MAX);
    problems.extend(at_least("decoding.max_pixels", pixels, 1));
    problems.extend(at_least("rows_per_image", config.rows_per_image, 1));
    if config.task == Task::Detect && config.rows_per_image == 1 {
        let found = "of each image one region would be learnt, and the others taken for background";
        problems.push(problem("rows_per_image", found, "as many as an image has, such as 100"));
    }
    problems.extend(at_least("max_text_tokens", config.max_text_tokens, SHORTEST_TEXT));
    if !config.prompt.is_empty() {
        let tokens = config.max_context_tokens;
        problems.extend(at_least("max_context_tokens", tokens, SHORTEST_CONTEXT));
    }
    if config.format == Format::Llava && !config.answers_questions() {
        let allowed = "an instruction with `{question}`, such as \"Question: {question} Answer: \"";
        problems.push(problem("prompt", "the model would not see what it is asked", allowed));
    }
    let lengths = [
        ("max_text_tokens", config.max_text_tokens),
        ("max_context_tokens", config.max_context_tokens),
    ];
    for (key, tokens) in lengths.into_iter().filter(|(_, tokens)| *tokens > longest) {
        let found = format!("{tokens} tokens are more than the language model has positions");
        let allowed = format!("at most {longest}, or a larger model.language.max_positions");
        problems.push(problem(key, found, allowed));
    }
    problems
}

fn augmentation(config: &AugmentationConfig) -> Vec<ConfigProblem> {
    let [smallest, largest] = config.scale;
    let is_range = smallest > 0.0 && smallest <= largest && largest <= LARGEST_SCALE;
    let scale = (!is_range).then(|| {
        let allowed = format!("[smallest, largest], above 0 and at most {LARGEST_SCALE}");
        problem("scale", format!("is [{smallest}, {largest}]"), allowed)
    });
    let share = |key, value| number(key, value, |x| (0.0..=1.0).contains(&x), "from 0 to 1");
    let shares = [
        share("min_visible", config.min_visible),
        share("flip", config.flip),
        share("brightness", config.brightness),
        share("contrast", config.contrast),
        share("saturation", config.saturation),
    ];
    scale.into_iter().chain(shares.into_iter().flatten()).collect()
}

fn training(config: &TrainingConfig) -> Vec<ConfigProblem> {
    let counts = [
        ("max_steps", config.max_steps),
        ("batch_size", config.batch_size),
        ("checkpoint_every_steps", config.checkpoint_every_steps),
        ("parallel_parts", config.parallel_parts),
        ("micro_batches", config.micro_batches),
    ];
    let epochs = config.epochs.map(|epochs| ("epochs", epochs));
    let mut problems: Vec<_> = at_least_one(counts.into_iter().chain(epochs)).collect();
    if config.micro_batches > config.batch_size.max(1) {
        let found = format!("{} parts of a batch of {}", config.micro_batches, config.batch_size);
        problems.push(problem("micro_batches", found, "at most training.batch_size"));
    }
    problems
}

fn optimizer(config: &OptimizerConfig) -> Vec<ConfigProblem> {
    let checks = [
        positive("learning_rate", config.learning_rate),
        not_negative("weight_decay", config.weight_decay),
        below_one("beta_1", config.beta_1),
        below_one("beta_2", config.beta_2),
        positive("epsilon", config.epsilon),
        config.clip_gradient_norm.and_then(|norm| positive("clip_gradient_norm", norm)),
        config.layer_decay.and_then(|decay| {
            let in_range = |x| x > 0.0 && x <= 1.0;
            number("layer_decay", decay, in_range, "above 0 and at most 1")
        }),
    ];
    let rates = config.rate_multipliers.iter();
    let rates =
        rates.filter_map(|(path, rate)| positive(&format!("rate_multipliers.{path}"), *rate));
    checks.into_iter().flatten().chain(rates).collect()
}

fn schedule(config: &ScheduleConfig, max_steps: usize) -> Vec<ConfigProblem> {
    let warmup = config.warmup_steps;
    let never_warm = (warmup >= max_steps).then(|| {
        let found = format!("{warmup} of {max_steps} steps would be warm-up");
        problem("warmup_steps", found, "fewer steps than training.max_steps")
    });
    let in_range = |x| (0.0..=1.0).contains(&x);
    let share = number("final_share", config.final_share, in_range, "from 0 to 1");
    never_warm.into_iter().chain(share).collect()
}

fn evaluation(config: &EvaluationConfig) -> Vec<ConfigProblem> {
    let counts = [("max_images", config.max_images), ("batch_size", config.batch_size)];
    at_least_one(counts).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

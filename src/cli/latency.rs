//! `pixelllm latency`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use comfy_table::{Table, presets};

use super::answering::Question;
use super::detect::Objects;
use super::loaded_run::RunArguments;
use super::locate::Expressions;
use super::narrate::WholeImage;
use super::output::say;
use super::pictures::{Picture, parse_count};
use crate::backend;
use crate::data::sample::Task;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::geometry::BoundingBox;
use crate::model::language::{LanguageConfig, Vocabulary};
use crate::report::table::align_right;
use crate::tasks::predictor::{EncodedImages, Predictor};
use crate::tasks::{Answer, DetectionLimits, Place, Stage, Timings};

/// What is looked for.
const EXPRESSION: &str = "the object";
/// The region that is described: the middle of the image.
const MIDDLE: BoundingBox = BoundingBox::new(0.25, 0.25, 0.75, 0.75);
/// Words of T5's published vocabulary with its fillers (`spec/model.md` §7).
const T5_WORDS: usize = 32_128;

/// Measure how long each stage of an answer takes, for every task that the model knows
#[derive(Debug, Args)]
pub(super) struct Latency {
    #[command(flatten)]
    run: RunArguments,
    /// In place of a run: a model of the sizes of this experiment, with random weights. Its texts seldom
    /// end before they are as long as they may be
    #[arg(long, value_name = "EXPERIMENT.toml", conflicts_with = "run")]
    experiment: Option<PathBuf>,
    /// Change a key of the experiment; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "experiment")]
    changes: Vec<String>,
    /// The image
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// How often the image is in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    batch: usize,
    /// Answers that are measured, of each task
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_count)]
    repeat: usize,
    /// Answers before them that are not
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: usize,
}

/// One task, measured.
struct Measured {
    task: Task,
    timings: Vec<Timings>,
    /// Tokens of all texts that one answer wrote.
    num_tokens: usize,
}

impl Latency {
    pub(super) fn run(self) -> Result<ExitCode> {
        let predictor = match &self.experiment {
            Some(path) => {
                let device = self.run.device.iter().map(|name| format!("device={name}"));
                let changes: Vec<_> = self.changes.iter().cloned().chain(device).collect();
                random(&experiment::load(path, &changes)?)?
            }
            None => self.run.load()?.predictor,
        };
        let tasks: Vec<_> = predictor.tasks().collect();
        let measured = tasks.into_iter().map(|task| self.measure(&predictor, task));
        let measured = measured.collect::<Result<Vec<_>>>()?;
        say(table(&measured));
        say(format_args!(
            "Milliseconds of a batch of {}: medians of {} answers, after {} that were not counted; \
             device {}",
            self.batch,
            self.repeat,
            self.warm_up,
            backend::describe(&predictor.device())
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn measure(&self, predictor: &Predictor, task: Task) -> Result<Measured> {
        let mut measured = Measured { task, timings: Vec::new(), num_tokens: 0 };
        for round in 0..self.warm_up + self.repeat {
            let begun = Instant::now();
            let read = || Picture::read(&self.image, predictor.canvas_px());
            let pictures = (0..self.batch).map(|_| read()).collect::<Result<Vec<_>>>()?;
            let time = begun.elapsed();
            let canvases: Vec<_> = pictures.iter().map(|picture| picture.canvas.clone()).collect();
            let images = predictor.encode(&canvases)?;
            images.record(Stage::Read, time);
            let answers = ask(predictor, task, &images, &pictures)?;
            if round >= self.warm_up {
                measured.timings.push(images.timings());
                measured.num_tokens = answers.iter().map(num_tokens).sum();
            }
        }
        Ok(measured)
    }
}

/// The answers of a task, about whatever is in the images.
fn ask(
    predictor: &Predictor,
    task: Task,
    images: &EncodedImages,
    pictures: &[Picture],
) -> Result<Vec<Answer>> {
    match task {
        Task::Narrate => WholeImage.answers(predictor, images, pictures),
        Task::Describe => {
            let places = vec![vec![Place::Box(MIDDLE)]; images.len()];
            let described = predictor.describe_places(images, &places)?.into_iter();
            Ok(described.map(|descriptions| Answer::Describe { descriptions }).collect())
        }
        Task::Locate => {
            let expressions =
                Expressions { texts: vec![EXPRESSION.into()], mask: predictor.makes_masks() };
            expressions.answers(predictor, images, pictures)
        }
        Task::Detect => Objects(DetectionLimits::default()).answers(predictor, images, pictures),
    }
}

/// Tokens that were written.
fn num_tokens(answer: &Answer) -> usize {
    match answer {
        Answer::Narrate { narration } => narration.tokens.len(),
        Answer::Describe { descriptions } => descriptions.iter().map(|one| one.tokens.len()).sum(),
        Answer::Locate { .. } => 0,
        Answer::Detect { detections } => detections.iter().map(|one| one.tokens.len()).sum(),
    }
}

/// A model of the sizes of `experiment` with random weights.
fn random(experiment: &Experiment) -> Result<Predictor> {
    let device = backend::device(&experiment.device)?;
    let prompts = experiment.data.sources.iter().map(|source| source.prompt.as_str());
    // What texts are spelled with does not matter for their time.
    let tokenizer = Tokenizer::train(prompts.chain([EXPRESSION]).cycle().take(64), 256)?
        .with_location_tokens(experiment.data.tokenizer.location_tokens)?;
    let size = match &experiment.model.language {
        LanguageConfig::T5(language) => language.num_words.unwrap_or(T5_WORDS),
        LanguageConfig::Git(_) => experiment.data.tokenizer.max_ids(),
    };
    let known = tokenizer.vocabulary();
    let vocabulary = Vocabulary { size: size.max(known.size), ..known };
    let model = experiment.model.init(vocabulary, &device);
    let predictor = Predictor::new(&model, tokenizer, &experiment.data.sources);
    Ok(predictor.with_decoding(experiment.decoding.clone()))
}

/// A line per task.
fn table(measured: &[Measured]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    let stages = Stage::ALL.map(Stage::name);
    table.set_header([&["task"][..], &stages, &["total", "longest", "tokens"]].concat());
    for one in measured {
        let of = |stage| median(one.timings.iter().map(|timings| timings.of(stage)));
        let totals = || one.timings.iter().map(Timings::total_ms);
        let mut cells = vec![one.task.name().to_string()];
        cells.extend(Stage::ALL.map(|stage| format!("{:.2}", of(stage))));
        cells.push(format!("{:.2}", median(totals())));
        cells.push(format!("{:.2}", totals().fold(0.0, f64::max)));
        cells.push(one.num_tokens.to_string());
        table.add_row(cells);
    }
    align_right(&mut table, 1..Stage::ALL.len() + 4);
    table
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = |index: usize| values.get(index).copied().unwrap_or_default();
    (middle(values.len().saturating_sub(1) / 2) + middle(values.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([7.0].into_iter()), 7.0);
        assert_eq!(median([].into_iter()), 0.0);
    }
}

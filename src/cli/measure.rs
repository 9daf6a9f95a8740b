//! What follows training, and what `pixelllm eval` does: scores, pictures, the report.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::say;
use crate::data::image_file::open_image;
use crate::data::source::Source;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::metrics::meteor::Meteor;
use crate::report::{Described, Detected, GalleryItem, Located, Report, evaluation_table};
use crate::tasks::evaluation::{Evaluator, ImageAnswers, Outcome, Progress};
use crate::tasks::predictor::Predictor;
use crate::training::checkpoint_state::Wanted;
use crate::training::record;
use crate::training::run_directory::{EVALUATION, RunDirectory, write_json};
use crate::training::sources;
use crate::training::tensorboard;

/// Regions and expressions per image of the gallery, at most.
const GALLERY_ROWS: usize = 6;

/// A run with its model and what it was trained on.
pub(super) struct Measured<'a> {
    pub(super) run: &'a RunDirectory,
    pub(super) experiment: &'a Experiment,
    pub(super) predictor: &'a Predictor,
    pub(super) train: &'a [Source],
    /// The command that made the run, for the report.
    pub(super) command: String,
    pub(super) num_parameters: usize,
    /// Optimiser steps that the weights have seen.
    pub(super) step: usize,
    /// The checkpoint whose weights they are; `None` for those at the end of training. What is measured of
    /// a checkpoint goes into a folder of its own.
    pub(super) checkpoint: Option<Wanted>,
}

impl Measured<'_> {
    /// Evaluates every split of the experiment, prints the table, and writes `evaluation.json`, the
    /// overlays and `report.html`.
    pub(super) fn evaluate_and_report(&self) -> Result<()> {
        let outcome = self.evaluate()?;
        say(evaluation_table(&outcome.evaluation));
        for note in &outcome.notes {
            say(format_args!("note: {note}"));
        }
        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        write_json(&folder.join(EVALUATION), &outcome.evaluation)?;
        if self.experiment.logging.tensorboard && self.checkpoint.is_none() {
            tensorboard::write_evaluation(self.run, self.step, &outcome.evaluation)?;
        }
        let page = self.report(outcome)?;
        say(format_args!("\nLook at {}", page.display()));
        Ok(())
    }

    /// Where the files go.
    fn folder(&self) -> PathBuf {
        let run = self.run.path();
        match self.checkpoint {
            None => run.into(),
            Some(wanted) => run.join("evaluations").join(wanted.to_string()),
        }
    }

    fn evaluate(&self) -> Result<Outcome> {
        let data = &self.experiment.data;
        let splits: Result<Vec<_>> = data
            .splits
            .evaluation
            .iter()
            .map(|split| Ok((split.clone(), sources::load_split(data, split)?)))
            .collect();
        let meteor = Meteor::find(self.experiment.evaluation.meteor_data.as_deref())?.map(Arc::new);
        let evaluator = Evaluator {
            predictor: self.predictor,
            alignment: data.alignment,
            config: &self.experiment.evaluation,
            meteor: meteor.as_ref(),
        };
        let bar = progress_bar();
        let outcome = evaluator.evaluate(&splits?, self.train, &|progress| show(&bar, progress))?;
        bar.finish_and_clear();
        Ok(outcome)
    }

    fn report(&self, outcome: Outcome) -> Result<PathBuf> {
        let records = match self.run.metrics() {
            path if path.is_file() => record::read(&path)?,
            _ => Vec::new(),
        };
        let facts = [
            ("device", self.experiment.device.clone()),
            ("steps", self.step.to_string()),
            ("batch", format!("{} images", self.experiment.training.batch_size)),
            ("parameters", self.num_parameters.to_string()),
            ("canvas", format!("{} px", self.experiment.model.canvas_px)),
            ("seed", self.experiment.seed.to_string()),
            ("pixelllm", env!("CARGO_PKG_VERSION").to_string()),
        ];
        let report = Report {
            title: self.experiment.name.clone(),
            command: self.command.clone(),
            experiment_toml: experiment::to_toml(self.experiment)?,
            records,
            evaluation: outcome.evaluation,
            gallery: gallery(outcome.answers, self.experiment.evaluation.gallery_images)?,
            facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        };
        report.write(&self.folder())
    }
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("evaluating {msg} {wide_bar} {pos}/{len}");
    let bar = ProgressBar::no_length();
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    bar.set_message(format!("{} on {}", progress.task.name(), progress.split));
    bar.set_length(progress.total as u64);
    bar.set_position(progress.done as u64);
}

/// The first images of each split in turn, until there are `count`.
fn gallery(answers: Vec<ImageAnswers>, count: usize) -> Result<Vec<GalleryItem>> {
    let mut splits: Vec<String> = Vec::new();
    for answer in &answers {
        if !splits.contains(&answer.split) {
            splits.push(answer.split.clone());
        }
    }
    let per_split = count.div_ceil(splits.len().max(1));
    let mut taken = vec![0; splits.len()];
    let mut items = Vec::with_capacity(count);
    for answer in answers {
        let Some(split) = splits.iter().position(|split| *split == answer.split) else { continue };
        if taken[split] < per_split && items.len() < count {
            taken[split] += 1;
            items.push(gallery_item(answer)?);
        }
    }
    Ok(items)
}

fn gallery_item(answers: ImageAnswers) -> Result<GalleryItem> {
    let image = open_image(&answers.image)?;
    let descriptions = answers.descriptions.into_iter().take(GALLERY_ROWS);
    let locations = answers.locations.into_iter().take(GALLERY_ROWS);
    Ok(GalleryItem {
        name: answers.name,
        split: answers.split,
        image: image.to_rgb8(),
        narration: answers.narration,
        reference_narration: answers.reference_narrations.into_iter().next(),
        descriptions: descriptions
            .map(|(description, reference)| Described { description, reference: Some(reference) })
            .collect(),
        locations: locations
            .map(|(location, reference)| Located { location, reference: Some(reference) })
            .collect(),
        detections: answers
            .detections
            .map(|found| Detected { found, annotated: answers.annotated_regions }),
    })
}

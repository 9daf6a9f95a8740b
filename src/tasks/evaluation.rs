//! What a run is worth: its answers on held-out splits, scored beside trivial baselines.
//!
//! Every text and region of an image is scored, of at most `evaluation.max_images` images per task
//! and split, the first of the file. Sources that serve the same task are scored together.
//!
//! | metric | what it is |
//! |---|---|
//! | `narrate.trace_error`, `center_error`, `point_l1` | [`trace`](crate::metrics::trace): where the words of the *annotated* narrative are put, read with teacher forcing; `n` images |
//! | `narrate.trace_error_vs_mean_box` | the same `trace_error` beside a harder baseline |
//! | `narrate.token_f1` | [`captions`](crate::metrics::captions): what is *written*, beside the best of the image's narratives; `n` images |
//! | `narrate.bleu_4`, `rouge_l`, `cider` | [`bleu`](crate::metrics::bleu), [`rouge`](crate::metrics::rouge), [`cider`](crate::metrics::cider) of what is written; `n` images |
//! | `narrate.meteor` | [`meteor`](crate::metrics::meteor) of what is written, where there are METEOR's files; `n` images |
//! | `describe.attribute_accuracy`, `all_attributes` | [`attributes`](crate::metrics::attributes), of captions that name one; `n` captions |
//! | `describe.exact_match`, `token_f1` | [`captions`](crate::metrics::captions); `n` captions |
//! | `describe.bleu_4`, `rouge_l`, `cider`, `meteor` | the same of captions; `n` captions |
//! | `locate.precision_at_0.5`, `precision_at_0.75`, `mean_iou` | [`referring`](crate::metrics::referring), boxes clipped to the image; `n` expressions |
//! | `locate.well_formed` | where boxes are written: share of the answers that are one; the others have an IoU of 0; `n` expressions |
//! | `detect.map_exact` | [`dense_captions`](crate::metrics::dense_captions): mean average precision of boxes with exactly the annotated words, over IoUs of 0.3 to 0.7; `n` regions |
//! | `detect.map`, `map_meteor_exact_stem` | the same with captions compared by METEOR, the second without its files |
//! | `detect.map_boxes`, `map_boxes_at_0.5` | the same of boxes alone, whatever their captions |
//! | `detect.recall_at_0.5` | share of the regions that a box overlaps by 0.5 or more |
//! | `locate.mask_ciou`, `mask_giou`, `mask_precision_at_…`, `…_vs_filled_box` | [`referring_masks`](crate::metrics::referring_masks), where model and source have masks; `n` expressions |
//!
//! The baselines are in [`baselines`].

pub mod baselines;
mod captions;
mod describe;
mod detect;
mod locate;
mod masks;
pub mod mean_mask;
mod narrate;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::baselines::Baselines;
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::{Description, Detection, Location, Narration};
use crate::data::alignment::Alignment;
use crate::data::sample::{ImageFile, Sample, Task};
use crate::data::source::Source;
use crate::data::transform::{Canvas, load_canvas_with};
use crate::error::Result;
use crate::experiment::schema::EvaluationConfig;
use crate::geometry::BoundingBox;
use crate::metrics::meteor::Meteor;
use crate::metrics::score::TaskScores;
use crate::metrics::{Evaluation, Score};

/// What is evaluated, and how.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The model.
    pub predictor: &'a Predictor,
    /// How a word of a narrative finds its place; the same as in training.
    pub alignment: Alignment,
    /// How many images.
    pub config: &'a EvaluationConfig,
    /// METEOR, where there are its files; left out otherwise.
    pub meteor: Option<&'a Arc<Meteor>>,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The split in progress.
    pub split: &'a str,
    /// The task in progress.
    pub task: Task,
    /// Images that are done, of this task and split.
    pub done: usize,
    /// Images of this task and split.
    pub total: usize,
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The content of `evaluation.json`.
    pub evaluation: Evaluation,
    /// What the model said, image by image, in the order of evaluation.
    pub answers: Vec<ImageAnswers>,
    /// What was not scored and why; for the user to read.
    pub notes: Vec<String>,
}

/// What the model said about an image, beside the annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageAnswers {
    /// The split that the image is from.
    pub split: String,
    /// The image file.
    pub image: ImageFile,
    /// The image's name in its data set.
    pub name: String,
    /// What the model wrote about the whole image.
    pub narration: Option<Narration>,
    /// The annotated narratives.
    pub reference_narrations: Vec<String>,
    /// What the model wrote about regions, and what the annotation says.
    pub descriptions: Vec<(Description, String)>,
    /// Where the model found expressions, and where the annotation has them (normalised to the
    /// image).
    pub locations: Vec<(Location, BoundingBox)>,
    /// What the model found in the image; `None` where it was not asked.
    pub detections: Option<Vec<Detection>>,
    /// What it should have found (normalised to the image).
    pub annotated_regions: Vec<(BoundingBox, String)>,
}

/// Images of one source with what the model saw of them.
struct Batch<'a> {
    predictor: &'a Predictor,
    alignment: Alignment,
    settings: TaskSettings,
    images: EncodedImages,
    samples: &'a [Sample],
}

/// Scores of one task on one split, batch by batch.
trait TaskEvaluation {
    /// Answers and scores a batch; `answers` has one entry per image.
    fn add(&mut self, batch: &Batch<'_>, answers: &mut [ImageAnswers]) -> Result<()>;

    /// What was scored.
    fn finish(&self, table: &mut Table);
}

/// The name of a metric, and where it is among scores.
type Part<T> = (&'static str, fn(&T) -> f64);

/// The scores of one task on one split.
#[derive(Default)]
struct Table {
    scores: TaskScores,
    notes: Vec<String>,
    meteor: Option<Arc<Meteor>>,
}

impl Table {
    /// Adds a metric; one that is not a number is left out, with a note.
    fn add(&mut self, metric: &str, value: f64, baseline: Option<f64>, n: usize) {
        if value.is_finite() {
            let baseline = baseline.filter(|baseline| baseline.is_finite());
            self.scores.insert(metric.to_string(), Score { value, baseline, n });
        } else {
            self.notes.push(format!("{metric} is {value} and was left out"));
        }
    }

    /// Adds metrics that are parts of the same scores, each beside that of the baseline's.
    fn add_parts<T>(&mut self, scores: &T, baseline: Option<&T>, n: usize, parts: &[Part<T>]) {
        for (metric, of) in parts {
            self.add(metric, of(scores), baseline.map(of), n);
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Evaluator<'_> {
    /// Evaluates every split; baselines are taken from `train`. `progress` is told after every batch.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format) where an image
    /// cannot be read.
    pub fn evaluate(
        &self,
        splits: &[(String, Vec<Source>)],
        train: &[Source],
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Outcome> {
        let baselines = Baselines::of(train)?;
        let mut evaluation = Evaluation::new();
        let (mut notes, mut answers) = (Vec::new(), Answers::default());
        for (split, sources) in splits {
            let mut tasks = BTreeMap::new();
            for task in Task::ALL {
                let of_task = sources.iter().filter(|source| source.task() == task);
                let (answering, sources): (Vec<_>, Vec<_>) =
                    of_task.partition(|source| source.config.answers_questions());
                notes.extend(answering.iter().map(|source| {
                    let file = &source.config.annotations;
                    format!("{split}: {}: answers to questions are not scored: {file}", task.name())
                }));
                if sources.is_empty() {
                    continue;
                }
                let table = self.task(split, task, &sources, &baselines, &mut answers, progress)?;
                let name = task.name();
                notes.extend(table.notes.iter().map(|note| format!("{split}: {name}: {note}")));
                tasks.insert(name.to_string(), table.scores);
            }
            evaluation.insert(split.clone(), tasks);
        }
        Ok(Outcome { evaluation, answers: answers.images, notes })
    }

    /// One task on one split.
    fn task(
        &self,
        split: &str,
        task: Task,
        sources: &[&Source],
        baselines: &Baselines,
        answers: &mut Answers,
        progress: &dyn Fn(Progress<'_>),
    ) -> Result<Table> {
        let mut scores: Box<dyn TaskEvaluation + '_> = match task {
            Task::Narrate => Box::new(narrate::NarrateEvaluation::new(baselines)),
            Task::Describe => Box::new(describe::DescribeEvaluation::new(baselines)),
            Task::Locate => Box::new(locate::LocateEvaluation::new(baselines)),
            Task::Detect => Box::new(detect::DetectEvaluation::new(baselines)),
        };
        let all: usize = sources.iter().map(|source| source.samples.len()).sum();
        let total = all.min(self.config.max_images);
        let mut done = 0;
        for source in sources {
            let count = source.samples.len().min(total - done);
            let size = self.config.batch_size.max(1);
            for first in (0..count).step_by(size) {
                let samples = (first..(first + size).min(count))
                    .map(|sample| source.samples.get(sample).map(Cow::into_owned))
                    .collect::<Result<Vec<_>>>()?;
                let batch = self.batch(source, &samples)?;
                let mut said: Vec<_> =
                    samples.iter().map(|sample| ImageAnswers::none(split, sample)).collect();
                scores.add(&batch, &mut said)?;
                said.into_iter().for_each(|said| answers.add(said));
                done += samples.len();
                progress(Progress { split, task, done, total });
            }
        }
        let mut table = Table { meteor: self.meteor.cloned(), ..Table::default() };
        if total < all {
            table.note(format!("scored the first {total} of {all} images"));
        }
        scores.finish(&mut table);
        Ok(table)
    }

    fn batch<'a>(&'a self, source: &Source, samples: &'a [Sample]) -> Result<Batch<'a>> {
        let side = self.predictor.canvas_px();
        let decoding = &source.config.decoding;
        let canvases: Result<Vec<Canvas>> =
            samples.iter().map(|sample| load_canvas_with(&sample.image, side, decoding)).collect();
        Ok(Batch {
            predictor: self.predictor,
            alignment: self.alignment,
            settings: TaskSettings::from(&source.config),
            images: self.predictor.encode(&canvases?)?,
            samples,
        })
    }
}

impl ImageAnswers {
    fn none(split: &str, sample: &Sample) -> Self {
        Self {
            split: split.to_string(),
            image: sample.image.clone(),
            name: sample.image_id.clone(),
            narration: None,
            reference_narrations: Vec::new(),
            descriptions: Vec::new(),
            locations: Vec::new(),
            detections: None,
            annotated_regions: Vec::new(),
        }
    }

    /// Adds what was said about the same image for another task.
    fn merge(&mut self, other: Self) {
        self.narration = self.narration.take().or(other.narration);
        self.reference_narrations.extend(other.reference_narrations);
        self.descriptions.extend(other.descriptions);
        self.locations.extend(other.locations);
        self.detections = self.detections.take().or(other.detections);
        self.annotated_regions.extend(other.annotated_regions);
    }
}

/// Answers about the same image of a split, together.
#[derive(Default)]
struct Answers {
    images: Vec<ImageAnswers>,
    index: HashMap<(String, ImageFile), usize>,
}

impl Answers {
    fn add(&mut self, answers: ImageAnswers) {
        let key = (answers.split.clone(), answers.image.clone());
        match self.index.get(&key).and_then(|&index| self.images.get_mut(index)) {
            Some(known) => known.merge(answers),
            None => {
                self.index.insert(key, self.images.len());
                self.images.push(answers);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

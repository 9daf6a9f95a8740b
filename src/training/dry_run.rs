//! What an experiment would train, without training it.

use std::path::PathBuf;

use super::computation::{Computation, for_training};
use super::learning_rates::{self, RateGroup};
use super::memory::MemoryEstimate;
use super::parameters::{ParameterCount, count_parameters, total};
use super::updates::{PartUpdate, part_updates};
use super::{frozen, sources};
use crate::data::batch::BatchDims;
use crate::data::collate::RowChoice;
use crate::data::sample::Task;
use crate::data::source::{Source, SourceConfig, SourceFiles};
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model::language::{LanguageConfig, Vocabulary};
use crate::weights::hub;

/// What an experiment would train.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// Parameters of each part.
    pub parameters: Vec<ParameterCount>,
    /// How those that are trained are updated.
    pub updates: Vec<PartUpdate>,
    /// Trained parameters by their learning rates.
    pub rates: Vec<RateGroup>,
    /// Ids of the tokenizer; where it is not there, the most that the experiment allows.
    pub vocabulary_size: usize,
    /// What each source gives.
    pub batches: Vec<SourceBatch>,
    /// For the most demanding of these batches, or of its micro-batches.
    pub memory: MemoryEstimate,
    /// What training needs and does not find.
    pub missing: Vec<Missing>,
}

/// A batch of one source.
#[derive(Debug, Clone)]
pub struct SourceBatch {
    /// What its samples teach.
    pub task: Task,
    /// How many images it has; `None` where it is not there.
    pub num_images: Option<usize>,
    /// Sizes of its first batch; where it is not there, the largest that a batch can have.
    pub dims: BatchDims,
}

/// Something that an experiment names and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The key that names it.
    pub key: String,
    /// Where it should be.
    pub path: PathBuf,
}

impl DryRun {
    /// Reads the data that is there (making the `shapes` world if need be) and counts the parameters,
    /// without making them.
    ///
    /// # Errors
    /// Whatever else than a missing file would stop training before its first step.
    pub fn new(experiment: &Experiment) -> Result<Self> {
        // Only with autodiff are parameters told apart that are never trained.
        let device = for_training(sources::seeded_device(experiment)?, experiment);
        Computation::new(experiment, &device)?;
        sources::ensure_shapes(&experiment.data)?;
        let missing = missing(experiment)?;
        let (vocabulary, batches) = match missing.is_empty() {
            true => from_data(experiment)?,
            false => from_settings(experiment)?,
        };
        frozen::check(experiment)?;
        let model = experiment.model.init(vocabulary, &device);
        let model = frozen::freeze(model, &experiment.training.frozen)?;
        let parameters = count_parameters(&model);
        let rates = learning_rates::groups(&experiment.optimizer, &model);
        let count = total(&parameters);
        let updates = part_updates(&experiment.optimizer, &model);
        let at_once = experiment.training.batch_size.div_ceil(experiment.training.micro_batches);
        let estimate = |batch: &SourceBatch| {
            let dims = BatchDims { images: batch.dims.images.min(at_once), ..batch.dims };
            MemoryEstimate::new(&count, &experiment.model, dims)
        };
        let memory = batches.iter().map(estimate).max_by_key(MemoryEstimate::total);
        let memory = memory.unwrap_or_default();
        let vocabulary_size = vocabulary.size;
        Ok(Self { parameters, updates, rates, vocabulary_size, batches, memory, missing })
    }
}

/// The tokenizer's ids, and a batch of each source, as training would have them.
fn from_data(experiment: &Experiment) -> Result<(Vocabulary, Vec<SourceBatch>)> {
    let train = sources::load_split(&experiment.data, &experiment.data.splits.train)?;
    let tokenizer = sources::tokenizer(experiment, &train)?;
    let vocabulary = tokenizer.vocabulary();
    let batches = train.iter().map(|source| first_batch(experiment, &tokenizer, source));
    Ok((vocabulary, batches.collect::<Result<_>>()?))
}

fn first_batch(
    experiment: &Experiment,
    tokenizer: &Tokenizer,
    source: &Source,
) -> Result<SourceBatch> {
    let collator = sources::collator(experiment, tokenizer.clone())?;
    let count = experiment.training.batch_size.min(source.samples.len());
    let samples: Vec<usize> = (0..count).collect();
    let rows = RowChoice::First(source.config.rows_per_image);
    let dims = collator.collate(source, &samples, rows)?.dims;
    Ok(SourceBatch { task: source.task(), num_images: Some(source.samples.len()), dims })
}

/// The same as far as the experiment alone tells. A tokenizer that is there is read.
fn from_settings(experiment: &Experiment) -> Result<(Vocabulary, Vec<SourceBatch>)> {
    let data = &experiment.data;
    let vocabulary = match data.tokenizer.file.as_ref().filter(|file| file.is_file()) {
        Some(_) => sources::tokenizer(experiment, &[])?.vocabulary(),
        None => {
            let num_words = match &experiment.model.language {
                LanguageConfig::T5(language) => language.num_words,
                LanguageConfig::Git(_) => None,
            };
            let size = num_words.unwrap_or(data.tokenizer.max_ids());
            // Which ids are special makes no difference to any size.
            Vocabulary { size, pad: 0, begin: 0, end: 1 }
        }
    };
    let batches = data.sources.iter().map(|source| SourceBatch {
        task: source.task,
        num_images: None,
        dims: largest(experiment, source),
    });
    Ok((vocabulary, batches.collect()))
}

/// The largest batch of a source.
fn largest(experiment: &Experiment, source: &SourceConfig) -> BatchDims {
    let rows = source.rows_per_image;
    BatchDims {
        images: experiment.training.batch_size,
        canvas_px: experiment.model.canvas_px,
        rows,
        prompts: if source.shares_prompt() { 1 } else { rows },
        text_tokens: source.max_text_tokens,
        context_tokens: if source.prompt.is_empty() { 0 } else { source.max_context_tokens },
    }
}

/// Files and folders that are not there, each once: the tokenizer, weights, and the annotations and
/// images of every split that training and measuring read.
///
/// # Errors
/// What [`Format::files`](crate::data::formats::Format::files) finds.
fn missing(experiment: &Experiment) -> Result<Vec<Missing>> {
    let data = &experiment.data;
    let mut named: Vec<(String, PathBuf)> = Vec::new();
    named.extend(
        data.tokenizer.file.iter().map(|file| ("data.tokenizer.file".into(), file.clone())),
    );
    let weights = experiment.weights.iter().enumerate();
    named.extend(weights.map(|(index, one)| (format!("weights.{index}.file"), one.file.clone())));
    // What Hugging Face has is fetched.
    named.retain(|(_, file)| !hub::is_name(file));
    let splits = [&data.splits.train, &data.splits.validation].into_iter();
    for split in splits.chain(&data.splits.evaluation) {
        for (index, source) in data.sources.iter().enumerate() {
            let SourceFiles { annotations, images, .. } = source.files(split);
            let shards = source.format.files(&annotations)?;
            let key = format!("data.sources.{index}.annotations");
            named.extend(shards.into_iter().map(|file| (key.clone(), file)));
            if !source.format.holds_images() {
                named.push((format!("data.sources.{index}.images"), images));
            }
        }
    }
    let mut missing: Vec<Missing> = Vec::new();
    for (key, path) in named {
        if !path.exists() && missing.iter().all(|one| one.path != path) {
            missing.push(Missing { key, path });
        }
    }
    Ok(missing)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::formats::Format;

    #[test]
    fn shards_are_there_and_what_is_in_tfrecords_is_not_looked_for_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let source =
            |task, format, file: &str| SourceConfig::new(task, format, path(file), path("images"));
        let mut experiment = Experiment::default();
        experiment.data.sources = vec![
            source(Task::Narrate, Format::LocalizedNarratives, "a.jsonl"),
            source(Task::Locate, Format::Tfrecord, "b.tfrecord"),
        ];
        let found = || {
            let missing = missing(&experiment)?.into_iter();
            Ok::<_, crate::Error>(missing.map(|one| one.key).collect::<Vec<_>>())
        };
        let keys = ["data.sources.0.annotations", "data.sources.0.images"];
        assert_eq!(found().unwrap(), [keys[0], keys[1], "data.sources.1.annotations"]);
        fs::write(path("a-00001-of-00002.jsonl"), "").unwrap();
        fs::write(path("b.tfrecord-00000-of-00001"), "").unwrap();
        assert!(found().unwrap_err().to_string().contains("1 of 2"), "a shard is missing");
        fs::write(path("a-00000-of-00002.jsonl"), "").unwrap();
        assert_eq!(found().unwrap(), keys[1..]);
    }
}

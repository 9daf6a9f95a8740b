//! What an experiment would train, without training it.

use super::frozen;
use super::memory::MemoryEstimate;
use super::parameters::{ParameterCount, count_parameters, total};
use super::sources;
use crate::data::batch::BatchDims;
use crate::data::collate::RowChoice;
use crate::data::sample::Task;
use crate::error::Result;
use crate::experiment::Experiment;

/// What an experiment would train.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// Parameters of each module.
    pub parameters: Vec<ParameterCount>,
    /// Ids of the tokenizer.
    pub vocabulary_size: usize,
    /// Per source: its task, how many images it has, and the sizes of its first batch.
    pub batches: Vec<(Task, usize, BatchDims)>,
    /// For the most demanding of these batches.
    pub memory: MemoryEstimate,
}

impl DryRun {
    /// Reads the data (making the `shapes` world if need be) and builds the model.
    ///
    /// # Errors
    /// Whatever would stop training before its first step.
    pub fn new(experiment: &Experiment) -> Result<Self> {
        // Only with autodiff are parameters told apart that are never trained.
        let device = sources::seeded_device(experiment)?.autodiff();
        sources::ensure_shapes(&experiment.data)?;
        let train = sources::load_split(&experiment.data, &experiment.data.splits.train)?;
        let tokenizer = sources::tokenizer(experiment, &train)?;
        let vocabulary = tokenizer.vocabulary();
        let model = experiment.model.init(vocabulary, &device);
        let parameters = count_parameters(&frozen::freeze(model, &experiment.training.frozen)?);
        let collator = sources::collator(experiment, tokenizer)?;
        let batch_size = experiment.training.batch_size;
        let batches = train.iter().map(|source| {
            let samples: Vec<usize> = (0..batch_size.min(source.samples.len())).collect();
            let rows = RowChoice::First(source.config.rows_per_image);
            let batch = collator.collate(source, &samples, rows)?;
            Ok((source.task(), source.samples.len(), batch.dims))
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let ParameterCount { total, trainable, .. } = total(&parameters);
        let estimate = |dims| MemoryEstimate::new(total, trainable, &experiment.model, dims);
        let memory = batches.iter().map(|(_, _, dims)| estimate(*dims));
        let memory = memory.max_by_key(MemoryEstimate::total).unwrap_or_default();
        Ok(Self { parameters, vocabulary_size: vocabulary.size, batches, memory })
    }
}

//! The data of an experiment, ready to be read.

use burn::tensor::Device;

use crate::backend;
use crate::data::collate::Collator;
use crate::data::shapes;
use crate::data::source::Source;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::experiment::schema::DataConfig;
use crate::model::language::LanguageConfig;
use crate::training::computation::for_training;
use crate::weights::hub::{self, Wanted};

/// Makes the `shapes` world of the experiment, if it has one and it is not there yet.
///
/// # Errors
/// What [`shapes::ensure`] finds.
pub fn ensure_shapes(data: &DataConfig) -> Result<()> {
    if let Some(shapes) = &data.shapes {
        shapes::ensure(&shapes.directory, &shapes.world)?;
    }
    Ok(())
}

/// Reads every source of `split`, and says what was left out.
///
/// # Errors
/// What [`Source::load`] finds.
pub fn load_split(data: &DataConfig, split: &str) -> Result<Vec<Source>> {
    data.sources
        .iter()
        .map(|config| {
            let source = Source::load(config, split)?;
            if !source.skipped.is_empty() {
                tracing::warn!("{} ({split}): {}", config.annotations, source.skipped);
            }
            Ok(source)
        })
        .collect()
}

/// Reads the tokenizer of the experiment, or trains one on texts and prompts of the training split.
///
/// # Errors
/// What [`hub::locate`], [`Tokenizer::from_file`] and [`Tokenizer::train`] find; [`Error::Format`] or
/// [`Error::Usage`] where the language model is said to have fewer words than the tokenizer.
pub fn tokenizer(experiment: &Experiment, train: &[Source]) -> Result<Tokenizer> {
    let data = &experiment.data;
    let tokenizer = match &data.tokenizer.file {
        Some(file) => Tokenizer::from_file(hub::locate(file, Wanted::Tokenizer)?)?,
        None => trained_tokenizer(data, train)?,
    };
    let tokenizer = tokenizer.with_location_tokens(data.tokenizer.location_tokens)?;
    check_table(experiment, tokenizer.vocabulary().size)?;
    Ok(tokenizer)
}

/// Refuses a tokenizer with more ids than the table of words has rows by the experiment.
fn check_table(experiment: &Experiment, num_ids: usize) -> Result<()> {
    let LanguageConfig::T5(language) = &experiment.model.language else { return Ok(()) };
    let Some(num_words) = language.num_words.filter(|&num_words| num_words < num_ids) else {
        return Ok(());
    };
    let problem = format!(
        "the tokenizer has {num_ids} ids, but by `model.language.num_words` the model has only \
         {num_words} words"
    );
    let more = format!("set model.language.num_words to {num_ids} or more");
    Err(match &experiment.data.tokenizer.file {
        Some(file) => {
            let help = format!("Give the tokenizer that belongs to the model, or {more}.");
            Error::format(file, problem, help)
        }
        None => {
            let room = num_words.saturating_sub(experiment.data.tokenizer.location_tokens);
            let help = format!("Set data.tokenizer.vocabulary_size to {room}, or {more}.");
            Error::Usage { problem, help }
        }
    })
}

fn trained_tokenizer(data: &DataConfig, train: &[Source]) -> Result<Tokenizer> {
    let mut failure = None;
    let texts = train.iter().flat_map(Source::texts);
    let texts = texts.map_while(|text| text.map_err(|error| failure = Some(error)).ok());
    let prompts = train.iter().map(|source| source.config.prompt.clone());
    // A prompt seen once would be spelled letter by letter; it comes with every text.
    let prompts = prompts.flat_map(|prompt| [prompt.clone(), prompt]);
    let tokenizer = Tokenizer::train(texts.chain(prompts), data.tokenizer.vocabulary_size);
    failure.map_or(tokenizer, Err)
}

/// What samples of the experiment become batches with.
///
/// # Errors
/// What [`Collator::with_workers`] finds.
pub fn collator(experiment: &Experiment, tokenizer: Tokenizer) -> Result<Collator> {
    let Experiment { data, model, .. } = experiment;
    let mut collator = Collator::new(tokenizer, data.alignment, model.canvas_px);
    collator.trace_points = model.location.trace_points;
    collator.with_workers(data.workers)
}

/// The device of the experiment, which can keep the weights in the type that the experiment asks for.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) where it is not to be had, or cannot.
pub fn device(experiment: &Experiment) -> Result<Device> {
    let device = backend::device(&experiment.device)?;
    for storage in experiment.model.storage() {
        backend::check_keeps(&device, storage.dtype())?;
    }
    Ok(device)
}

/// Where weights are drawn: by the processor, whatever computes with them, so that a seed means the same
/// model on every device. `device`, seeded already, is where they go from there.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) where there is no processor to be had.
pub fn drawing_device(experiment: &Experiment, device: &Device) -> Result<Device> {
    if backend::is_host(&device.clone().inner()) {
        return Ok(device.clone());
    }
    let processor = backend::device("cpu")?;
    processor.seed(experiment.seed);
    Ok(for_training(processor, experiment))
}

/// The device of the experiment, seeded.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) where it is not to be had.
pub fn seeded_device(experiment: &Experiment) -> Result<Device> {
    let device = device(experiment)?;
    device.seed(experiment.seed);
    Ok(device)
}

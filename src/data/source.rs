//! [`Source`]: the samples of one `[[data.sources]]` on one split.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::augmentation::AugmentationConfig;
use super::formats::{self, Format, Skipped};
use super::image_file::DecodeConfig;
use super::sample::Task;
use super::samples::Samples;
use crate::error::{Error, Result};

/// One set of annotations for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What its samples teach.
    pub task: Task,
    /// Layout of the annotations.
    pub format: Format,
    /// Annotation file; `{split}` is replaced.
    pub annotations: String,
    /// Folder of the images; `{split}` is replaced.
    pub images: String,
    /// How often a batch is of this source, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Steps that come before its first batch: what is learnt first makes the rest easier.
    #[serde(default)]
    pub first_step: usize,
    /// Texts per image and step, drawn at random where there are more.
    #[serde(default = "one_row")]
    pub rows_per_image: usize,
    /// Longest text in tokens, begin and end included.
    #[serde(default = "text_tokens")]
    pub max_text_tokens: usize,
    /// Instruction that comes before the text; `{text}` is replaced by the text itself. Empty for
    /// none.
    #[serde(default)]
    pub prompt: String,
    /// Longest instruction in tokens, end included.
    #[serde(default = "context_tokens")]
    pub max_context_tokens: usize,
    /// Names of this source's own splits, where they differ: `{ train = "train2017" }`.
    #[serde(default)]
    pub splits: BTreeMap<String, String>,
    /// How image files are read.
    #[serde(default)]
    pub decoding: DecodeConfig,
    /// How training samples are changed at random; not at all without it.
    #[serde(default)]
    pub augmentation: AugmentationConfig,
}

fn one() -> f64 {
    1.0
}

fn one_row() -> usize {
    1
}

fn text_tokens() -> usize {
    128
}

fn context_tokens() -> usize {
    8
}

/// Samples for one task.
#[derive(Debug, Clone)]
pub struct Source {
    /// How its samples become rows.
    pub config: SourceConfig,
    /// At least one.
    pub samples: Samples,
    /// Records that could not be used.
    pub skipped: Skipped,
}

impl Source {
    /// Reads the annotations of `split`.
    ///
    /// # Errors
    /// What [`formats::load`] finds; [`Error::Format`] where no sample is left.
    pub fn load(config: &SourceConfig, split: &str) -> Result<Self> {
        let name = config.splits.get(split).map_or(split, String::as_str);
        let place = |path: &str| PathBuf::from(path.replace("{split}", name));
        let (annotations, images) = (place(&config.annotations), place(&config.images));
        let loaded = formats::open(config.format, config.task, &annotations, &images)?;
        if loaded.samples.is_empty() {
            return Err(Error::format(
                annotations,
                "has no record that can be used",
                "Check that the file belongs to the format and the folder of images.",
            ));
        }
        Ok(Self { config: config.clone(), samples: loaded.samples, skipped: loaded.skipped })
    }

    /// What its samples are for.
    pub fn task(&self) -> Task {
        self.config.task
    }

    /// Every text of the samples.
    ///
    /// # Errors
    /// What [`Samples::row`] finds.
    pub fn texts(&self) -> impl Iterator<Item = Result<String>> {
        let rows = |sample| (0..self.samples.num_rows(sample)).map(move |row| (sample, row));
        let rows = (0..self.samples.len()).flat_map(rows);
        rows.map(|(sample, row)| Ok(self.samples.row(sample, row)?.into_owned().text))
    }

    /// Whether the rows of an image share their prompt: the whole image and the same instruction.
    pub fn shares_prompt(&self) -> bool {
        self.task() != Task::Describe && !self.config.prompt.contains(TEXT_PLACEHOLDER)
    }
}

/// What stands for the text in an instruction.
pub(crate) const TEXT_PLACEHOLDER: &str = "{text}";

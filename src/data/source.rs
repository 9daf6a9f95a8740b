//! [`Source`]: the samples of one `[[data.sources]]` on one split.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{self, Format, Skipped};
use super::sample::{Sample, Task};
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

impl SourceConfig {
    /// Annotation file and folder of images of `split`.
    pub fn paths(&self, split: &str) -> [PathBuf; 2] {
        let name = self.splits.get(split).map_or(split, String::as_str);
        [&self.annotations, &self.images].map(|path| PathBuf::from(path.replace("{split}", name)))
    }

    /// Whether the rows of an image share their prompt: the whole image and the same instruction.
    pub fn shares_prompt(&self) -> bool {
        self.task != Task::Describe && !self.prompt.contains(TEXT_PLACEHOLDER)
    }
}

/// Samples for one task.
#[derive(Debug, Clone)]
pub struct Source {
    /// How its samples become rows.
    pub config: SourceConfig,
    /// At least one.
    pub samples: Vec<Sample>,
    /// Records that could not be used.
    pub skipped: Skipped,
}

impl Source {
    /// Reads the annotations of `split`.
    ///
    /// # Errors
    /// What [`formats::load`] finds; [`Error::Format`] where no sample is left.
    pub fn load(config: &SourceConfig, split: &str) -> Result<Self> {
        let [annotations, images] = config.paths(split);
        let loaded = formats::load(config.format, config.task, &annotations, &images)?;
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
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.samples.iter().flat_map(|sample| &sample.rows).map(|row| row.text.as_str())
    }

    /// Whether the rows of an image share their prompt: the whole image and the same instruction.
    pub fn shares_prompt(&self) -> bool {
        self.config.shares_prompt()
    }

    /// The instruction before `text`.
    pub fn prompt_for(&self, text: &str) -> String {
        self.config.prompt.replace(TEXT_PLACEHOLDER, text)
    }
}

/// What stands for the text in an instruction.
pub(crate) const TEXT_PLACEHOLDER: &str = "{text}";

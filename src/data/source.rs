//! [`Source`]: the samples of one `[[data.sources]]` on one split.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::augmentation::AugmentationConfig;
use super::formats::{self, Format, Opened, Request, Skipped};
use super::image_file::DecodeConfig;
use super::sample::{Row, Task};
use super::samples::Samples;
use crate::error::{Error, Result};

/// How *locate* says where an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// By the place of the expression's last word (the paper).
    #[default]
    Points,
    /// In writing: the expression stands in the instruction, as `{text}`, and the language model writes
    /// the box as four location tokens: left, top, right, bottom.
    Text,
}

/// One set of annotations for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What its samples teach.
    pub task: Task,
    /// Layout of the annotations.
    pub format: Format,
    /// Annotation file, or folder of a format that has one; `{split}` is replaced.
    pub annotations: String,
    /// Folder of the images; `{split}` is replaced.
    pub images: String,
    /// How often a batch is of this source, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Steps that come before its first batch: what is learnt first makes the rest easier.
    #[serde(default)]
    pub first_step: usize,
    /// Texts per image and step, drawn at random where there are more. For *detect* at least 2: what is
    /// not drawn is taken for background, so give as many as an image has (the paper: 100).
    #[serde(default = "one_row")]
    pub rows_per_image: usize,
    /// Longest text in tokens, begin and end included.
    #[serde(default = "text_tokens")]
    pub max_text_tokens: usize,
    /// Instruction that comes before the text; `{text}` is replaced by the text itself, `{question}` by
    /// what the text answers. Empty for none.
    #[serde(default)]
    pub prompt: String,
    /// Longest instruction in tokens, end included.
    #[serde(default = "context_tokens")]
    pub max_context_tokens: usize,
    /// How *locate* answers. Other tasks have no such choice.
    #[serde(default)]
    pub answer: AnswerForm,
    /// Names of this source's own splits, where they differ: `{ train = "train2017" }`. Formats that
    /// keep several splits in one file look for the same name in it.
    #[serde(default)]
    pub splits: BTreeMap<String, String>,
    /// Whether the masks of what expressions name are read, for `[model.masks]`. Texts are then padded
    /// to `max_text_tokens`, as the mask branch reads the padding, too.
    #[serde(default)]
    pub masks: bool,
    /// How image files are read.
    #[serde(default)]
    pub decoding: DecodeConfig,
    /// How training samples are changed at random; not at all without it.
    #[serde(default)]
    pub augmentation: AugmentationConfig,
}

/// What `{split}` of a source stands for, filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceFiles {
    /// Annotation file or folder.
    pub annotations: PathBuf,
    /// Folder of the images.
    pub images: PathBuf,
    /// The source's own name of the split.
    pub split: String,
}

impl SourceConfig {
    /// A source with every other key as it is where it is left out.
    pub fn new(
        task: Task,
        format: Format,
        annotations: impl Into<String>,
        images: impl Into<String>,
    ) -> Self {
        Self {
            task,
            format,
            annotations: annotations.into(),
            images: images.into(),
            weight: one(),
            first_step: 0,
            rows_per_image: one_row(),
            max_text_tokens: text_tokens(),
            prompt: String::new(),
            max_context_tokens: context_tokens(),
            answer: AnswerForm::default(),
            splits: BTreeMap::new(),
            masks: false,
            decoding: DecodeConfig::default(),
            augmentation: AugmentationConfig::default(),
        }
    }

    /// Whether its texts answer questions, which stand in the instruction.
    pub fn answers_questions(&self) -> bool {
        self.prompt.contains(QUESTION_PLACEHOLDER)
    }

    /// Whether its boxes are written.
    pub fn writes_boxes(&self) -> bool {
        self.task == Task::Locate && self.answer == AnswerForm::Text
    }

    /// Whether its texts have places, for the point head.
    pub fn has_places(&self) -> bool {
        !self.task.captions_regions() && !self.writes_boxes()
    }

    /// Whether the rows of an image share their prompt: the whole image and the same instruction.
    pub fn shares_prompt(&self) -> bool {
        let is_own = |placeholder| self.prompt.contains(placeholder);
        !self.task.captions_regions()
            && ![TEXT_PLACEHOLDER, QUESTION_PLACEHOLDER].iter().any(is_own)
    }

    /// The files of `split`.
    pub fn files(&self, split: &str) -> SourceFiles {
        let split = self.splits.get(split).map_or(split, String::as_str);
        let place = |path: &str| PathBuf::from(path.replace("{split}", split));
        let (annotations, images) = (place(&self.annotations), place(&self.images));
        SourceFiles { annotations, images, split: split.to_string() }
    }
}

impl SourceFiles {
    /// What a reader needs to know.
    pub fn request(&self) -> Request<'_> {
        Request { split: Some(&self.split), ..Request::new(&self.annotations, &self.images) }
    }
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
    /// What [`formats::open`] finds; [`Error::Format`] where no sample is left.
    pub fn load(config: &SourceConfig, split: &str) -> Result<Self> {
        let files = config.files(split);
        let opened = match config.masks {
            true => {
                let loaded = formats::read_expressions_with_masks(config.format, &files.request())?;
                Opened { samples: loaded.samples.into(), skipped: loaded.skipped }
            }
            false => formats::open(config.format, config.task, &files.request())?,
        };
        let annotations = files.annotations;
        if opened.samples.is_empty() {
            return Err(Error::format(
                annotations,
                "has no record that can be used",
                "Check that the file belongs to the format and the folder of images.",
            ));
        }
        Ok(Self { config: config.clone(), samples: opened.samples, skipped: opened.skipped })
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
}

/// The instruction before the text of `row`; `prompt` has the placeholders.
pub(crate) fn fill_prompt(prompt: &str, row: &Row) -> String {
    let question = row.question.as_deref().unwrap_or_default();
    fill(prompt, &[(TEXT_PLACEHOLDER, &row.text), (QUESTION_PLACEHOLDER, question)])
}

/// Replaces placeholders; what is put in for one is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = values.iter().find_map(|(name, value)| Some((rest.strip_prefix(name)?, value)));
        match known {
            Some((after, value)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

/// What stands for the text in an instruction.
pub(crate) const TEXT_PLACEHOLDER: &str = "{text}";

/// What stands for the question in an instruction.
pub(crate) const QUESTION_PLACEHOLDER: &str = "{question}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_the_text_and_the_question_and_nothing_is_filled_twice() {
        let config = SourceConfig {
            prompt: "Q: {question} {x} A: ".into(),
            ..SourceConfig::new(Task::Narrate, Format::Llava, "", "")
        };
        assert!(config.answers_questions());
        let source = Source { config, samples: Vec::new().into(), skipped: Skipped::default() };
        assert!(!source.config.shares_prompt());
        let row = Row { question: Some("Why {text}?".into()), ..Row::of_image("Because.") };
        assert_eq!(fill_prompt(&source.config.prompt, &row), "Q: Why {text}? {x} A: ");
    }

    #[test]
    fn a_source_has_files_per_split_by_its_own_names() {
        let mut config =
            SourceConfig::new(Task::Locate, Format::RefexpRefer, "a/{split}.p", "images/{split}");
        config.splits.insert("test".into(), "testA".into());
        let files = config.files("test");
        assert_eq!(files.annotations, PathBuf::from("a/testA.p"));
        assert_eq!(
            (files.request().split, files.images.as_path()),
            (Some("testA"), "images/testA".as_ref())
        );
        assert_eq!(config.files("train").split, "train");
    }
}

//! `pixelllm score`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::output::say;
use crate::error::{Error, Result};
use crate::metrics::meteor::Meteor;
use crate::scoring::{OpenMeteor, Options, Scored, captions, dense, referring, traces};

/// Score predictions in files: no model needed
#[derive(Debug, Subcommand)]
pub(super) enum Score {
    /// Captions of images (COCO): BLEU, METEOR, ROUGE-L, CIDEr
    Captions(WithMeteor),
    /// Boxes and masks of expressions: P@0.5 to P@0.9, mean IoU, cIoU, gIoU
    Referring(Files),
    /// Regions found and said: mean average precision
    Dense(WithMeteor),
    /// Places of the words of narratives: point error, box IoU, word-grounding recall
    Traces(Files),
}

#[derive(Debug, Args)]
pub(super) struct WithMeteor {
    #[command(flatten)]
    files: Files,
    /// METEOR's files: the jar, or the folder that has it [default: $PIXELLLM_METEOR_DATA]; without
    /// them only equal words and stems are compared, and the score has `meteor_exact_stem` in its name
    #[arg(long, value_name = "JAR|DIR")]
    meteor_data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// What is right: JSON
    #[arg(long, value_name = "FILE")]
    references: PathBuf,
    /// What a model says: JSON
    #[arg(long, value_name = "FILE")]
    predictions: PathBuf,
    /// How to print the scores
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write the scores of every sample to this file, as JSON
    #[arg(long, value_name = "OUT")]
    per_sample: Option<PathBuf>,
    /// Leave out, and count, what only one of the files has
    #[arg(long)]
    allow_missing: bool,
    /// Confidence intervals (95 %) from so many bootstrap resamples
    #[arg(long, value_name = "N", default_value_t = 0)]
    confidence: usize,
    /// Seed of the resamples
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

impl Score {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Captions(files) => files.score(captions::score),
            Self::Dense(files) => files.score(dense::score),
            Self::Referring(files) => files.score(referring::score),
            Self::Traces(files) => files.score(traces::score),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl WithMeteor {
    fn score(self, by: fn(&Path, &Path, OpenMeteor<'_>, Options) -> Result<Scored>) -> Result<()> {
        let open = || {
            let meteor = Meteor::find(self.meteor_data.as_deref())?;
            Ok(meteor.unwrap_or_else(Meteor::exact_and_stem))
        };
        self.files
            .score(|references, predictions, options| by(references, predictions, &open, options))
    }
}

impl Files {
    fn score(self, by: impl Fn(&Path, &Path, Options) -> Result<Scored>) -> Result<()> {
        let options = Options {
            allow_missing: self.allow_missing,
            num_resamples: self.confidence,
            seed: self.seed,
        };
        self.write(&by(&self.references, &self.predictions, options)?)
    }

    fn write(&self, scored: &Scored) -> Result<()> {
        match self.format {
            Format::Json => say(format_args!("{:#}", json!(scored))),
            Format::Table | Format::Markdown => {
                say(table(scored, self.format));
                say(format_args!("{} samples", scored.num_samples));
                scored.notes.iter().for_each(|note| say(format_args!("note: {note}")));
            }
        }
        let Some(path) = &self.per_sample else { return Ok(()) };
        let samples: Vec<Value> = scored
            .per_sample
            .iter()
            .map(|(id, scores)| json!({"id": id, "scores": scores}))
            .collect();
        std::fs::write(path, format!("{:#}\n", Value::Array(samples)))
            .map_err(Error::io("write", path))
    }
}

fn table(scored: &Scored, format: Format) -> Table {
    let has_intervals = scored.scores.iter().any(|score| score.interval.is_some());
    let preset = if format == Format::Markdown {
        presets::ASCII_MARKDOWN
    } else {
        presets::UTF8_FULL_CONDENSED
    };
    let mut table = Table::new();
    let mut header = vec!["metric", "score"];
    header.extend(has_intervals.then_some("95 % interval"));
    table.load_preset(preset).set_header(header);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for score in &scored.scores {
        let mut row = vec![score.name.clone(), format!("{:.4}", score.value)];
        row.extend(score.interval.map(|[low, high]| format!("{low:.4} to {high:.4}")));
        table.add_row(row);
    }
    table
}

//! `pixelllm data stats`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::output::say;
use super::annotations::{Annotations, Asked, TaskArgument, splits};
use crate::data::formats;
use crate::data::statistics::Statistics;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::report::data_statistics::{statistics_page, statistics_table};
use crate::weights::hub::{self, Wanted};

#[derive(Debug, Args)]
pub(in crate::cli) struct Stats {
    #[command(flatten)]
    annotations: Annotations,
    #[command(flatten)]
    task: TaskArgument,
    /// Count tokens, too, by this tokenizer [default: that of the experiment, if it names a file]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Write a page with histograms
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

impl Stats {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut tokenizer = self.tokenizer.map(Tokenizer::from_file).transpose()?;
        let all = match self.annotations.ask()? {
            Asked::File(file) => {
                let request = file.request();
                let task = self.task.or_usual(file.format, &request)?;
                let loaded = formats::read(file.format, task, &request)?;
                let name = file.annotations.display().to_string();
                vec![Statistics::of(name, task, &loaded, tokenizer.as_ref())?]
            }
            Asked::Experiment(experiment, split) => {
                if let (None, Some(file)) = (&tokenizer, &experiment.data.tokenizer.file) {
                    tokenizer = Some(Tokenizer::from_file(hub::locate(file, Wanted::Tokenizer)?)?);
                }
                of_experiment(&experiment, split.as_deref(), tokenizer.as_ref())?
            }
        };
        for statistics in &all {
            let Statistics { name, task, num_images, num_texts, skipped, .. } = statistics;
            let task = task.name();
            say(format_args!("{name}\n{task}: {num_texts} texts about {num_images} images"));
            if !skipped.is_empty() {
                say(skipped);
            }
            say(format_args!("{}\n", statistics_table(statistics)));
        }
        if let Some(path) = &self.html {
            fs::write(path, statistics_page("Data", &all)).map_err(Error::io("write", path))?;
            say(format_args!("Look at {}", path.display()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Every source on the split that was asked for, or on all of them, those of training first.
fn of_experiment(
    experiment: &Experiment,
    split: Option<&str>,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<Statistics>> {
    let (train, held_out) = splits(experiment);
    let mut all = Vec::new();
    let splits = match split {
        Some(split) => vec![split],
        None => std::iter::once(train).chain(held_out).collect(),
    };
    for split in splits {
        for source in &experiment.data.sources {
            let files = source.files(split);
            let loaded = formats::read(source.format, source.task, &files.request())?;
            let name = format!("{} ({split})", files.annotations.display());
            all.push(Statistics::of(name, source.task, &loaded, tokenizer)?);
        }
    }
    Ok(all)
}

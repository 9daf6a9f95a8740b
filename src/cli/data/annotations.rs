//! Which annotations a command is about: those of an experiment, or one file.

use std::path::PathBuf;

use clap::Args;

use crate::data::formats::{self, Format, Request};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::training::sources;

/// An experiment, or one set of annotations
#[derive(Debug, Args)]
pub(super) struct Annotations {
    /// The experiment whose sources are looked at, on all of its splits
    #[arg(value_name = "EXPERIMENT.toml", required_unless_present = "format",
          conflicts_with_all = ["format", "annotations", "images"])]
    experiment: Option<PathBuf>,
    /// Change a key of the experiment; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "format")]
    overrides: Vec<String>,
    /// Instead of an experiment: how one set of annotations is written, such as localized_narratives
    #[arg(long, value_name = "FORMAT", requires = "annotations", value_parser = format_of)]
    format: Option<Format>,
    /// The annotation file, or folder of a format that has one
    #[arg(long, value_name = "FILE", requires = "format")]
    annotations: Option<PathBuf>,
    /// The folder of the images; TFRecords need none
    #[arg(long, value_name = "DIR", requires = "format")]
    images: Option<PathBuf>,
    /// One split only: of the experiment, or of a file that has several
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
}

/// What one file is read for.
#[derive(Debug, Args)]
pub(super) struct TaskArgument {
    /// Of one file: what to read it for, narrate, describe, locate or detect [default: the usual
    /// task of the format]
    #[arg(long, value_name = "TASK", requires = "format", value_parser = task_of)]
    task: Option<Task>,
}

impl TaskArgument {
    /// The task, or that which the format serves first.
    pub(super) fn or_usual(&self, format: Format, request: &Request<'_>) -> Result<Task> {
        self.task.map_or_else(|| formats::usual_task(format, request), Ok)
    }
}

fn task_of(name: &str) -> std::result::Result<Task, String> {
    let task = Task::ALL.into_iter().find(|task| task.name() == name);
    task.ok_or_else(|| format!("the tasks are {}", Task::ALL.map(Task::name).join(", ")))
}

/// What was asked for.
pub(super) enum Asked {
    /// With the one split that was asked for.
    Experiment(Box<Experiment>, Option<String>),
    File(OneFile),
}

/// One set of annotations.
pub(super) struct OneFile {
    pub(super) format: Format,
    pub(super) annotations: PathBuf,
    pub(super) images: PathBuf,
    pub(super) split: Option<String>,
}

fn format_of(name: &str) -> std::result::Result<Format, String> {
    Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
        let names = Format::ALL.map(Format::name);
        format!("the formats are {}", names.join(", "))
    })
}

impl Annotations {
    /// Reads the experiment, if it is one; makes its `shapes` world, if it has one.
    pub(super) fn ask(self) -> Result<Asked> {
        if let Some(path) = &self.experiment {
            let experiment = experiment::load(path, &self.overrides)?;
            sources::ensure_shapes(&experiment.data)?;
            return Ok(Asked::Experiment(Box::new(experiment), self.split));
        }
        let (Some(format), Some(annotations)) = (self.format, self.annotations) else {
            return Err(usage("there is nothing to look at"));
        };
        let images = match self.images {
            Some(images) => images,
            None if format == Format::Tfrecord => PathBuf::new(),
            None => return Err(usage("there is no folder of images")),
        };
        Ok(Asked::File(OneFile { format, annotations, images, split: self.split }))
    }
}

fn usage(problem: &str) -> Error {
    Error::Usage {
        problem: problem.to_string(),
        help: "Give an experiment, or --format, --annotations and --images.".to_string(),
    }
}

impl OneFile {
    pub(super) fn request(&self) -> Request<'_> {
        let split = self.split.as_deref();
        Request { split, ..Request::new(&self.annotations, &self.images) }
    }
}

/// The splits of an experiment: that which is learnt from, and the others.
pub(super) fn splits(experiment: &Experiment) -> (&str, Vec<&str>) {
    let splits = &experiment.data.splits;
    let mut held_out = vec![splits.validation.as_str()];
    for split in &splits.evaluation {
        if !held_out.contains(&split.as_str()) {
            held_out.push(split);
        }
    }
    (&splits.train, held_out)
}

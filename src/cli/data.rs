//! `pixelllm data`.

mod annotations;
mod check;
mod show;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::say;
use crate::data::shapes::{self, Made, ShapesConfig};
use crate::error::Result;

/// Make data, and look into it
#[derive(Debug, Subcommand)]
pub(super) enum Data {
    /// Say what is wrong with annotations: records that cannot be used, missing images, boxes out of
    /// bounds, images shared between training and evaluation. Exit code 1 where anything is
    Check(check::Check),
    /// Count: lengths of texts, boxes per image, words per trace
    Stats(stats::Stats),
    /// Draw samples as the model sees them, with their tokens and the places of these
    Show(show::Show),
    /// Make a `shapes` world: images, narratives, expressions, regions and instances
    Shapes(Shapes),
}

#[derive(Debug, Args)]
pub(super) struct Shapes {
    /// Folder to make it in
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Images of the training split; the other splits keep their usual share of it
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Data {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run(),
            Self::Stats(stats) => stats.run(),
            Self::Show(show) => show.run(),
            Self::Shapes(shapes) => shapes.run(),
        }
    }
}

impl Shapes {
    fn run(self) -> Result<ExitCode> {
        let config = ShapesConfig { seed: self.seed, ..ShapesConfig::default() };
        let config = match self.images {
            Some(images) => config.with_images(images),
            None => config,
        };
        match shapes::ensure(&self.out, &config)? {
            Made::Now => say(format_args!("made {}", self.out.display())),
            Made::AlreadyThere => say(format_args!("{} is there already", self.out.display())),
        }
        Ok(ExitCode::SUCCESS)
    }
}

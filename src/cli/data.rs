//! `pixelllm data`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output::say;
use crate::data::shapes::{self, Made, ShapesConfig};
use crate::error::Result;

/// Make data
#[derive(Debug, Subcommand)]
pub(super) enum Data {
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

//! The image that a command is about, and the picture that it draws.

use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;
use serde::Serialize;

use super::output::say;
use crate::data::image_file::open_image;
use crate::data::transform::{Canvas, from_image};
use crate::error::{Error, Result};

/// Which image, and what to write.
#[derive(Debug, Args)]
pub(super) struct PictureArguments {
    /// The image
    #[arg(long, value_name = "FILE")]
    pub(super) image: PathBuf,
    /// Where to draw the answer [default: the image's name and the task, in the current directory]
    #[arg(long, value_name = "FILE.png")]
    overlay: Option<PathBuf>,
    /// Print the answer as JSON; boxes are x0, y0, x1, y1 from 0 to 1 over the image
    #[arg(long)]
    json: bool,
}

/// The image as it is, and on the model's canvas.
pub(super) struct Picture {
    pub(super) image: RgbImage,
    pub(super) canvas: Canvas,
}

impl PictureArguments {
    /// Reads the image.
    pub(super) fn read(&self, canvas_px: usize) -> Result<Picture> {
        let image = open_image(&self.image)?;
        let canvas = from_image(&image, canvas_px)?;
        Ok(Picture { image: image.to_rgb8(), canvas })
    }

    /// Prints the answer as JSON, or `text`; writes the overlay.
    pub(super) fn answer(
        &self,
        task: &str,
        answer: &impl Serialize,
        text: &str,
        overlay: &RgbImage,
    ) -> Result<()> {
        let path = self.overlay.clone().unwrap_or_else(|| self.default_overlay(task));
        overlay.save(&path).map_err(|error| cannot_draw(&path, error))?;
        if self.json {
            let json = serde_json::to_string_pretty(answer).map_err(|error| Error::Compute {
                problem: format!("the answer cannot be written as JSON: {error}"),
                help: "Report this as a bug.".into(),
            })?;
            say(json);
        } else {
            say(format_args!("{text}\n\nDrawn in {}", path.display()));
        }
        Ok(())
    }

    fn default_overlay(&self, task: &str) -> PathBuf {
        let stem = self.image.file_stem().unwrap_or_default().to_string_lossy();
        PathBuf::from(format!("{stem}-{task}.png"))
    }
}

fn cannot_draw(path: &Path, error: image::ImageError) -> Error {
    match error {
        image::ImageError::IoError(source) => Error::io("write", path)(source),
        other => Error::Usage {
            problem: format!("cannot write {}: {other}", path.display()),
            help: "Give --overlay a name that ends in .png.".into(),
        },
    }
}

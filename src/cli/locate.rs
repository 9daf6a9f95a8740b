//! `pixelllm locate`.

use std::process::ExitCode;

use clap::Args;

use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use crate::error::Result;
use crate::report::overlay;

/// Find the box that an expression is about
#[derive(Debug, Args)]
pub(super) struct Locate {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    /// The expression, such as "the small red circle"
    #[arg(long, value_name = "EXPRESSION")]
    text: String,
}

impl Locate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let (width, height) = picture.image.dimensions();
        let images = loaded.predictor.encode(&[picture.canvas])?;
        let locations = loaded.predictor.locate(&images, &[vec![self.text.clone()]])?;
        for location in locations.iter().flatten() {
            let pixels = location.bounds.scale(width as f32, height as f32).to_array();
            let [x0, y0, x1, y1] = pixels.map(|value| format!("{value:.1}"));
            let text = format!("{x0},{y0},{x1},{y1} (left, top, right, bottom in pixels)");
            let drawn = overlay::location(&picture.image, location, None)?;
            self.picture.answer("locate", location, &text, &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

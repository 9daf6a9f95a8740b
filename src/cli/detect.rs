//! `pixelllm detect`.

use std::process::ExitCode;

use clap::Args;

use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use crate::error::Result;
use crate::report::overlay;
use crate::tasks::Detection;
use crate::tasks::detect::DetectionLimits;

/// Find what is in an image, and write a caption of each
#[derive(Debug, Args)]
pub(super) struct Detect {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    /// Boxes at most, the surest; the run itself has model.boxes.detections.count
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Least score of a box, from 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.0, value_parser = parse_score)]
    min_score: f32,
}

impl Detect {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let (width, height) = picture.image.dimensions();
        let images = loaded.predictor.encode(&[picture.canvas])?;
        let count = self.limit.unwrap_or(usize::MAX);
        let limits = DetectionLimits { count, min_score: self.min_score };
        for found in loaded.predictor.detect(&images, limits)? {
            let drawn = overlay::detections(&picture.image, &found)?;
            let text = table(&found, width as f32, height as f32);
            self.picture.answer("detect", &found, &text, &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line per box: number, score, corners in pixels of the image, caption.
fn table(found: &[Detection], width: f32, height: f32) -> String {
    if found.is_empty() {
        return "nothing was found".into();
    }
    let line = |(index, one): (usize, &Detection)| {
        let corners = one.bounds.scale(width, height).to_array();
        let [x0, y0, x1, y1] = corners.map(|value| format!("{value:.1}"));
        let number = index + 1;
        format!("{number:>3}  {:.2}  {x0},{y0},{x1},{y1}  {}", one.score, one.caption)
    };
    let lines: Vec<_> = found.iter().enumerate().map(line).collect();
    lines.join("\n")
}

fn parse_score(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err("a number from 0 to 1".into()),
    }
}

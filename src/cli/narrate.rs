//! `pixelllm narrate`.

use std::process::ExitCode;

use clap::Args;

use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use crate::error::Result;
use crate::report::overlay;
use crate::tasks::Narration;

/// Write a caption of an image, with a place for every word
#[derive(Debug, Args)]
pub(super) struct Narrate {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
}

impl Narrate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let images = loaded.predictor.encode(&[picture.canvas])?;
        for narration in loaded.predictor.narrate(&images)? {
            let drawn = overlay::narration(&picture.image, &narration)?;
            self.picture.answer("narrate", &narration, &table(&narration), &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The caption, then a line per word with its box as percentages of the image.
fn table(narration: &Narration) -> String {
    let width = narration.words.iter().map(|word| word.text.chars().count()).max().unwrap_or(0);
    let lines = narration.words.iter().map(|word| {
        let [x0, y0, x1, y1] = word.bounds.to_array().map(|value| value * 100.0);
        format!("{:<width$}  x {x0:>4.0}–{x1:<3.0} y {y0:>4.0}–{y1:<3.0} %", word.text)
    });
    let lines: Vec<_> = lines.collect();
    format!("{}\n\n{}", narration.caption, lines.join("\n"))
}

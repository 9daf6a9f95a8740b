//! `pixelllm narrate`.

use std::process::ExitCode;

use clap::Args;

use super::answering::{self, OutputArguments, Question};
use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::pictures::{ImageArguments, Picture};
use crate::error::Result;
use crate::tasks::Answer;
use crate::tasks::predictor::{EncodedImages, Predictor};

/// Write a caption of an image, with a place for every word
#[derive(Debug, Args)]
pub(super) struct Narrate {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl Narrate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        answering::answer(&WholeImage, "narrate", &loaded, &self.images, &self.output)
    }
}

/// What is all of it?
pub(super) struct WholeImage;

impl Question for WholeImage {
    fn answers(
        &self,
        predictor: &Predictor,
        images: &EncodedImages,
        _pictures: &[Picture],
    ) -> Result<Vec<Answer>> {
        let narrations = predictor.narrate(images)?.into_iter();
        Ok(narrations.map(|narration| Answer::Narrate { narration }).collect())
    }
}

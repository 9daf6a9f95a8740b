//! `pixelllm locate`.

use std::process::ExitCode;

use clap::Args;

use super::answering::{self, OutputArguments, Question};
use super::loaded_run::RunArguments;
use super::pictures::{ImageArguments, Picture};
use crate::error::Result;
use crate::tasks::Answer;
use crate::tasks::predictor::{EncodedImages, Predictor};

/// Find the box, and the mask, that an expression is about
#[derive(Debug, Args)]
pub(super) struct Locate {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    expressions: Expressions,
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// Where is each of them?
#[derive(Debug, Args)]
pub(super) struct Expressions {
    /// The expression, such as "the small red circle"; may be given several times
    #[arg(long = "text", value_name = "EXPRESSION", required = true)]
    pub(super) texts: Vec<String>,
    /// Find its mask too, where the run has learnt masks: drawn over the picture, and in JSON as COCO
    /// writes it, of the size of the image
    #[arg(long)]
    pub(super) mask: bool,
}

impl Locate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?;
        answering::answer(&self.expressions, "locate", &loaded, &self.images, &self.output)
    }
}

impl Question for Expressions {
    fn answers(
        &self,
        predictor: &Predictor,
        images: &EncodedImages,
        pictures: &[Picture],
    ) -> Result<Vec<Answer>> {
        let texts = vec![self.texts.clone(); images.len()];
        let located = if self.mask {
            let sizes = pictures.iter().map(|picture| picture.image.dimensions().into());
            predictor.segment(images, &texts, &sizes.collect::<Vec<_>>())?
        } else {
            predictor.locate(images, &texts)?
        };
        Ok(located.into_iter().map(|locations| Answer::Locate { locations }).collect())
    }
}

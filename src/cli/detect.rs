//! `pixelllm detect`.

use std::process::ExitCode;

use clap::Args;

use super::answering::{self, OutputArguments, Question};
use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::pictures::{ImageArguments, Picture};
use crate::error::Result;
use crate::tasks::predictor::{EncodedImages, Predictor};
use crate::tasks::{Answer, DetectionLimits};

/// Find what is in an image, and write a caption of each
#[derive(Debug, Args)]
pub(super) struct Detect {
    #[command(flatten)]
    run: RunArguments,
    /// Boxes at most, the surest; the run itself has model.boxes.detections.count
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Least score of a box, from 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.0, value_parser = parse_score)]
    min_score: f32,
    /// Rank boxes with what is written about them, too: the score becomes √(score · probability of the
    /// caption). With --beams, a box may come several times, with several captions
    #[arg(long)]
    rescore: bool,
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl Detect {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut loaded = self.run.load()?.decoding(&self.decoding)?;
        loaded.predictor = loaded.predictor.with_rescoring(self.rescore);
        let count = self.limit.unwrap_or(usize::MAX);
        let limits = DetectionLimits { count, min_score: self.min_score };
        answering::answer(&Objects(limits), "detect", &loaded, &self.images, &self.output)
    }
}

/// What is there?
pub(super) struct Objects(pub(super) DetectionLimits);

impl Question for Objects {
    fn answers(
        &self,
        predictor: &Predictor,
        images: &EncodedImages,
        _pictures: &[Picture],
    ) -> Result<Vec<Answer>> {
        let found = predictor.detect(images, self.0)?.into_iter();
        Ok(found.map(|detections| Answer::Detect { detections }).collect())
    }
}

fn parse_score(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err("a number from 0 to 1".into()),
    }
}

//! `pixelllm describe`.

use std::process::ExitCode;

use clap::Args;

use super::answering::{self, OutputArguments, Question};
use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::pictures::{ImageArguments, Picture};
use super::place::{PlaceArguments, PlacesInPixels};
use crate::data::formats::Format;
use crate::data::sample::Task;
use crate::data::source::SourceConfig;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::tasks::predictor::{EncodedImages, Predictor};
use crate::tasks::{Answer, Place};

/// Write captions of places in an image: boxes, points, or traces
#[derive(Debug, Args)]
pub(super) struct Describe {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    images: ImageArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl Describe {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        let places = self.place.read()?;
        if let Some(note) = unlearnt(&loaded.experiment, places.example()) {
            eprintln!("note: {note}");
        }
        answering::answer(&places, "describe", &loaded, &self.images, &self.output)
    }
}

impl Question for PlacesInPixels {
    fn places(&self, size: (u32, u32)) -> Result<Vec<Place>> {
        self.on(size)
    }

    fn answers(
        &self,
        predictor: &Predictor,
        images: &EncodedImages,
        pictures: &[Picture],
    ) -> Result<Vec<Answer>> {
        let places: Vec<_> = pictures.iter().map(|picture| picture.places.clone()).collect();
        let described = predictor.describe_places(images, &places)?.into_iter();
        Ok(described.map(|descriptions| Answer::Describe { descriptions }).collect())
    }
}

/// What to know of an answer about a place of a kind that the model never learnt from.
pub(super) fn unlearnt(experiment: &Experiment, place: Option<&Place>) -> Option<String> {
    let mut sources = experiment.data.sources.iter().filter(|one| one.task == Task::Describe);
    // Without tokens of their own, traces are told by their boxes.
    let has_traces = experiment.model.location.trace_points > 0;
    let is_traced = |one: &SourceConfig| has_traces && one.format == Format::LocalizedNarratives;
    let (kind, learnt) = match place? {
        Place::Points { .. } => ("points", false),
        Place::Trace(_) if has_traces => ("traces", sources.any(is_traced)),
        Place::Box(_) | Place::Trace(_) => ("boxes", sources.any(|one| !is_traced(one))),
    };
    (!learnt).then(|| format!("the run did not learn to describe {kind}: expect little of this"))
}

//! `pixelllm describe`.

use std::process::ExitCode;

use clap::Args;

use super::decoding::DecodingArguments;
use super::loaded_run::RunArguments;
use super::picture::PictureArguments;
use super::place::PlaceArguments;
use crate::data::formats::Format;
use crate::data::sample::Task;
use crate::data::source::SourceConfig;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::report::overlay;
use crate::tasks::Place;

/// Write a caption of a place in an image: a box, points, or a trace
#[derive(Debug, Args)]
pub(super) struct Describe {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    picture: PictureArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

impl Describe {
    pub(super) fn run(self) -> Result<ExitCode> {
        let loaded = self.run.load()?.decoding(&self.decoding)?;
        let picture = self.picture.read(loaded.predictor.canvas_px())?;
        let (width, height) = picture.image.dimensions();
        let place = self.place.read(width, height)?;
        if let Some(note) = unlearnt(&loaded.experiment, &place) {
            eprintln!("note: {note}");
        }
        let images = loaded.predictor.encode(&[picture.canvas])?;
        let descriptions = loaded.predictor.describe_places(&images, &[vec![place.clone()]])?;
        for description in descriptions.iter().flatten() {
            let drawn = overlay::description_of(&picture.image, description, &place)?;
            self.picture.answer("describe", description, &description.caption, &drawn)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What to know of an answer about a place of a kind that the model never learnt from.
pub(super) fn unlearnt(experiment: &Experiment, place: &Place) -> Option<String> {
    let mut sources = experiment.data.sources.iter().filter(|one| one.task == Task::Describe);
    // Without tokens of their own, traces are told by their boxes.
    let has_traces = experiment.model.location.trace_points > 0;
    let is_traced = |one: &SourceConfig| has_traces && one.format == Format::LocalizedNarratives;
    let (kind, learnt) = match place {
        Place::Points { .. } => ("points", false),
        Place::Trace(_) if has_traces => ("traces", sources.any(is_traced)),
        Place::Box(_) | Place::Trace(_) => ("boxes", sources.any(|one| !is_traced(one))),
    };
    (!learnt).then(|| format!("the run did not learn to describe {kind}: expect little of this"))
}

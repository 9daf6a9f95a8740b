//! How long the stages of an answer take.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::predictor::{EncodedImages, Predictor};

/// A stage of answering, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Image files → canvases.
    Read,
    /// The image encoders.
    Vision,
    /// Prompt encoder and adapter, and what the language model reads before a text.
    Prompt,
    /// The language model writes or reads texts.
    Language,
    /// Points of words; boxes of *detect*.
    Heads,
    /// The mask branch, and its masks at the size of the images.
    Masks,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Vision, Self::Prompt, Self::Language, Self::Heads, Self::Masks];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Vision => "vision",
            Self::Prompt => "prompt",
            Self::Language => "language",
            Self::Heads => "heads",
            Self::Masks => "masks",
        }
    }
}

/// How long the stages took, in milliseconds, of all images that were answered about together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// How many images that were.
    pub images: usize,
    /// Reading and decoding the image files, and resizing to the model's canvas.
    pub read_ms: f64,
    /// The image encoders.
    pub vision_ms: f64,
    /// Prompt encoder and adapter, and what the language model reads before a text.
    pub prompt_ms: f64,
    /// Writing texts token by token, or reading expressions.
    pub language_ms: f64,
    /// The points of words; of *detect* also the boxes.
    pub heads_ms: f64,
    /// The mask branch, and its masks at the size of the images; 0 where none was asked for.
    pub masks_ms: f64,
}

impl Timings {
    /// The time of a stage, in milliseconds.
    pub fn of(&self, stage: Stage) -> f64 {
        match stage {
            Stage::Read => self.read_ms,
            Stage::Vision => self.vision_ms,
            Stage::Prompt => self.prompt_ms,
            Stage::Language => self.language_ms,
            Stage::Heads => self.heads_ms,
            Stage::Masks => self.masks_ms,
        }
    }

    /// All stages together, in milliseconds.
    pub fn total_ms(&self) -> f64 {
        Stage::ALL.into_iter().map(|stage| self.of(stage)).sum()
    }

    fn of_mut(&mut self, stage: Stage) -> &mut f64 {
        match stage {
            Stage::Read => &mut self.read_ms,
            Stage::Vision => &mut self.vision_ms,
            Stage::Prompt => &mut self.prompt_ms,
            Stage::Language => &mut self.language_ms,
            Stage::Heads => &mut self.heads_ms,
            Stage::Masks => &mut self.masks_ms,
        }
    }

    fn add(&mut self, stage: Stage, time: Duration) {
        *self.of_mut(stage) += time.as_secs_f64() * 1e3;
    }

    /// To microseconds: what is beyond says nothing.
    fn rounded(mut self) -> Self {
        for stage in Stage::ALL {
            let time = self.of_mut(stage);
            *time = (*time * 1e3).round() / 1e3;
        }
        self
    }
}

/// Timings in the making: they belong to encoded images, so that answers about other images, on other
/// threads, do not mix in.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Timings>);

impl Recorder {
    /// Of so many images.
    pub(super) fn new(images: usize) -> Self {
        Self(Mutex::new(Timings { images, ..Timings::default() }))
    }

    /// Adds to a stage.
    pub(super) fn add(&self, stage: Stage, time: Duration) {
        // A panic elsewhere leaves numbers that are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(stage, time);
    }

    /// What was measured so far.
    pub(super) fn timings(&self) -> Timings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rounded()
    }
}

/// With its own sums from here on.
impl Clone for Recorder {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.timings()))
    }
}

impl EncodedImages {
    /// What was measured of these images so far: every answer about them adds to it.
    pub fn timings(&self) -> Timings {
        self.recorder.timings()
    }

    /// Adds a time that was measured elsewhere, such as that of reading the files.
    pub fn record(&self, stage: Stage, time: Duration) {
        self.recorder.add(stage, time);
    }
}

impl Predictor {
    /// Does `work` and waits for the device, so that what was begun in a stage is counted in it.
    pub(super) fn timed<T>(
        &self,
        recorder: &Recorder,
        stage: Stage,
        work: impl FnOnce() -> T,
    ) -> T {
        let begun = Instant::now();
        let result = work();
        // A device that has failed says so where its result is read.
        let _ = self.device().sync();
        recorder.add(stage, begun.elapsed());
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::testing;

    #[test]
    fn every_stage_that_an_answer_needs_takes_time_and_no_other() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let encoded = images.timings();
        assert_eq!((encoded.images, encoded.prompt_ms, encoded.masks_ms), (2, 0.0, 0.0));
        assert!(encoded.vision_ms > 0.0);
        images.record(Stage::Read, Duration::from_millis(5));
        let other = images.clone();
        predictor.narrate(&images).unwrap();
        let told = images.timings();
        for stage in [Stage::Prompt, Stage::Language, Stage::Heads] {
            assert!(told.of(stage) > 0.0, "{}", stage.name());
        }
        assert_eq!((told.read_ms, told.vision_ms, told.masks_ms), (5.0, encoded.vision_ms, 0.0));
        let sum = 5.0 + told.vision_ms + told.prompt_ms + told.language_ms + told.heads_ms;
        assert!((told.total_ms() - sum).abs() < 1e-9);
        assert_eq!(other.timings().language_ms, 0.0, "a copy counts for itself");
    }
}

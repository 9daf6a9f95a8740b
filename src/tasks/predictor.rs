//! [`Predictor`]: a model with all that images and prompts need on the way in, and texts and places
//! on the way out.
//!
//! Images are encoded once and prompted many times:
//!
//! ```no_run
//! # fn show(predictor: &pixelllm::tasks::predictor::Predictor) -> pixelllm::Result<()> {
//! let images = predictor.encode_files(&["photo.jpg"])?;
//! let narrations = predictor.narrate(&images)?;
//! let locations = predictor.locate(&images, &[vec!["the red circle".to_string()]])?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;

use super::timing::{Recorder, Stage};
use crate::data::batch::{padding_mask, tensor};
use crate::data::sample::Task;
use crate::data::source::{AnswerForm, SourceConfig, TEXT_PLACEHOLDER};
use crate::data::tokenizer::Tokenizer;
use crate::data::transform::Canvas;
use crate::error::{Error, Result};
use crate::model::language::decoding::Decoding;
use crate::model::pixel_llm::PixelLlm;
use crate::model::vision::VisionFeatures;

/// How a task's texts are asked for; the same as in training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSettings {
    /// Instruction before the text; `{text}` is replaced by the text itself. Empty for none.
    pub prompt: String,
    /// Longest instruction in tokens, end included; what is beyond is cut.
    pub max_context_tokens: usize,
    /// Longest text in tokens, begin and end included; what is beyond is cut.
    pub max_text_tokens: usize,
    /// How *locate* answers.
    pub answer: AnswerForm,
}

impl From<&SourceConfig> for TaskSettings {
    fn from(config: &SourceConfig) -> Self {
        Self {
            prompt: config.prompt.clone(),
            max_context_tokens: config.max_context_tokens,
            max_text_tokens: config.max_text_tokens,
            answer: config.answer,
        }
    }
}

impl TaskSettings {
    /// Whether the instruction is the same for every text.
    pub(super) fn is_shared(&self) -> bool {
        !self.prompt.contains(TEXT_PLACEHOLDER)
    }
}

/// A model that answers.
#[derive(Debug)]
pub struct Predictor {
    pub(super) model: PixelLlm,
    pub(super) tokenizer: Tokenizer,
    settings: BTreeMap<Task, TaskSettings>,
    pub(super) decoding: Decoding,
    /// Whether *detect* ranks boxes with their captions, too.
    pub(super) rescoring: bool,
}

/// Images that the model has looked at: `B` of them.
#[derive(Debug, Clone)]
pub struct EncodedImages {
    pub(super) features: VisionFeatures,
    /// Un-padded width and height of each on the canvas, in pixels.
    pub(super) sizes: Vec<[f32; 2]>,
    pub(super) recorder: Recorder,
}

impl EncodedImages {
    /// Number of images, `B`.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is none; never, as [`Predictor::encode`] refuses that.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

impl Predictor {
    /// A model for inference: dropout is off, nothing is kept for gradients, adapters are merged into
    /// what they adapt. It writes greedily. The settings of a task are those of the first of `sources`
    /// that teaches it.
    pub fn new(model: &PixelLlm, tokenizer: Tokenizer, sources: &[SourceConfig]) -> Self {
        let mut settings = BTreeMap::new();
        // Of what answers questions, none is asked here.
        for source in sources.iter().filter(|source| !source.answers_questions()) {
            settings.entry(source.task).or_insert_with(|| TaskSettings::from(source));
        }
        let model = model.valid().merge_adapters();
        Self { model, tokenizer, settings, decoding: Decoding::Greedy, rescoring: false }
    }

    /// The same, which finds texts another way.
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// The same, in which *detect* ranks boxes with what is written about them, too: the score of a box
    /// becomes `√(score · exp(log-probability of its caption))` (`spec/inference.md` §3). The published
    /// models of dense captioning do without. With a beam search, a box may come several times, with
    /// several captions.
    pub fn with_rescoring(self, rescoring: bool) -> Self {
        Self { rescoring, ..self }
    }

    /// The tasks that the model was taught.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.settings.keys().copied()
    }

    /// Side of the canvas that images must be on, in pixels.
    pub fn canvas_px(&self) -> usize {
        self.model.canvas_px()
    }

    /// How texts become ids.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Looks at images, once for however many prompts.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is no image, or one on a canvas of another size.
    pub fn encode(&self, images: &[Canvas]) -> Result<EncodedImages> {
        let side = self.canvas_px();
        if images.is_empty() {
            return Err(Error::Usage {
                problem: "there is no image to look at".into(),
                help: "Give at least one.".into(),
            });
        }
        if let Some(other) = images.iter().find(|canvas| canvas.pixels.len() != side * side * 3) {
            return Err(Error::Usage {
                problem: format!(
                    "an image has {} bytes; the model's canvas is {side} × {side} pixels of RGB",
                    other.pixels.len()
                ),
                help: "Load images with the canvas side of the model.".into(),
            });
        }
        let device = self.device();
        let sizes: Vec<_> =
            images.iter().map(|canvas| [canvas.width as f32, canvas.height as f32]).collect();
        let recorder = Recorder::new(images.len());
        let features = self.timed(&recorder, Stage::Vision, || {
            let pixels = images.iter().flat_map(Canvas::planes).collect();
            let pixels = tensor(pixels, [images.len(), 3, side, side], &device);
            self.model.encode(pixels, padding_mask(sizes.as_flattened(), side, &device))
        });
        Ok(EncodedImages { features, sizes, recorder })
    }

    /// Where the model is.
    pub fn device(&self) -> Device {
        self.model.language().device()
    }

    /// How `task` was taught.
    pub(super) fn settings(&self, task: Task) -> Result<&TaskSettings> {
        self.settings.get(&task).ok_or_else(|| {
            let known: Vec<_> = self.tasks().map(Task::name).collect();
            Error::Usage {
                problem: format!("the model was not taught to {}", task.name()),
                help: format!(
                    "It was taught to {}; add a source with `task = \"{}\"` and train.",
                    known.join(" and "),
                    task.name()
                ),
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::testing;

    #[test]
    fn images_on_another_canvas_are_refused() {
        let predictor = testing::predictor().unwrap();
        let mut canvases = testing::canvases();
        canvases[1].pixels.truncate(8 * 8 * 3);
        for bad in [&canvases[..], &[]] {
            let error = predictor.encode(bad).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{error:?}");
        }
        assert_eq!(predictor.encode(&canvases[..1]).unwrap().len(), 1);
    }

    #[test]
    fn the_first_source_of_a_task_says_how_it_is_asked_for() {
        let first = testing::source_config(Task::Locate);
        let second = SourceConfig { prompt: "find".into(), ..first.clone() };
        let settings = TaskSettings::from(&first);
        let device = Device::flex();
        let predictor = testing::predictor_on(&device, 0.0, &[Task::Locate]).unwrap();
        let sources = [first, second];
        let predictor = Predictor::new(&predictor.model, predictor.tokenizer.clone(), &sources);
        assert_eq!(predictor.settings(Task::Locate).unwrap(), &settings);
        assert_eq!(predictor.tasks().collect::<Vec<_>>(), [Task::Locate]);
    }
}

//! What the tasks share once words are ids: prompts are read, texts are written, and their tokens are
//! placed, in the order of the reference (`spec/inference.md` §1). Golden cases of whole models, which
//! have ids and no words, go through the same functions.

use burn::tensor::Tensor;

use super::Place;
use super::predictor::{EncodedImages, Predictor};
use super::prompt::{Corners, Prompt};
use super::timing::{Recorder, Stage};
use super::writing::{WrittenText, read_back, read_beams};
use crate::model::language::LanguageState;
use crate::model::language::decoding::write;
use crate::model::prompt::adapter::PromptScope;
use crate::model::vision::VisionFeatures;

/// Captions of `N` prompts for each of `B` images, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Captions {
    /// `[B · N, K]`: every text that decoding ends with, the best last; one without a beam search.
    pub(crate) texts: Vec<Vec<WrittenText>>,
    /// Where each token of the best text is, as far as the model has read it: at least up to the last
    /// word.
    pub(crate) corners: Vec<Vec<Corners>>,
}

impl Captions {
    /// The best text of each prompt.
    pub(crate) fn best(&self) -> impl Iterator<Item = &WrittenText> {
        // Decoding ends with a text at least.
        self.texts.iter().filter_map(|texts| texts.last())
    }
}

impl EncodedImages {
    /// Images that were looked at elsewhere; `sizes`: un-padded width and height of each on the canvas,
    /// in pixels.
    pub(crate) fn from_features(features: VisionFeatures, sizes: Vec<[f32; 2]>) -> Self {
        let recorder = Recorder::new(sizes.len());
        Self { features, sizes, recorder }
    }
}

impl Prompt {
    /// Of a place, normalised to its image, and the ids of an instruction.
    pub(crate) fn new(place: Place, context: Vec<i64>) -> Self {
        Self { place, context }
    }
}

impl Predictor {
    /// Captions of at most `max_tokens` about `num_rows` prompts per image; images with fewer get
    /// fillers, as [`Self::begin`] has it.
    pub(crate) fn caption(
        &self,
        images: &EncodedImages,
        prompts: &[Vec<Prompt>],
        scope: PromptScope,
        num_rows: usize,
        max_tokens: usize,
    ) -> Captions {
        let state = self.begin(images, prompts, scope, num_rows);
        let recorder = &images.recorder;
        let (texts, features) =
            self.timed(recorder, Stage::Language, || self.write(state, max_tokens));
        let corners = self.timed(recorder, Stage::Heads, || self.corners(features));
        Captions { texts, corners }
    }

    /// Writes a text of at most `max_tokens` after each prompt that `state` has read, as
    /// [`Predictor::with_decoding`] says: every text that decoding ends with, the best last, and the
    /// features `[R, T, D]` of the tokens of the best.
    pub(super) fn write(
        &self,
        state: LanguageState,
        max_tokens: usize,
    ) -> (Vec<Vec<WrittenText>>, Tensor<3>) {
        let mut generated = write(self.model.language(), state, max_tokens, &self.decoding);
        let features = generated.features.clone();
        let texts = match generated.beams.take() {
            Some(beams) => read_beams(beams),
            None => read_back(generated).into_iter().map(|text| vec![text]).collect(),
        };
        (texts, features)
    }
}

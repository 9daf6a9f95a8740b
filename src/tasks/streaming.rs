//! *Narrate* and *describe* word by word: each word is told as soon as it is whole, with its place, while
//! the rest is still to be written. For pages that show a text as it grows.
//!
//! Texts are written greedily, whatever [`Predictor::with_decoding`] says: a beam search knows its first
//! word only at its end.

use std::cell::RefCell;
use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor};
use serde::Serialize;

use super::describe::check_place;
use super::narrate::mean_box;
use super::predictor::{EncodedImages, Predictor};
use super::prompt::{Corners, floats};
use super::writing::{WrittenText, read_back};
use super::{Description, Narration, Place};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::model::language::decoding::{most_probable, write_by};
use crate::model::language::{LanguageModel, LanguageState};
use crate::model::prompt::adapter::PromptScope;

/// A word of a text that is being written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamedWord {
    /// Which word of the text, from 0.
    pub index: usize,
    /// Its pieces, joined.
    pub text: String,
    /// Where it is, normalised to the image; may reach outside. `None` in descriptions, whose words are
    /// taught no places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// Sum of its pieces' log-probabilities.
    pub log_prob: f32,
}

impl Predictor {
    /// [`Self::narrate`] of one image, greedily; `on_word` hears each word as it is written. `None` where
    /// it broke off, which ends the writing within a token.
    ///
    /// # Errors
    /// [`Error::Usage`] where the model was not taught to narrate, or there is not one image.
    pub fn narrate_words(
        &self,
        image: &EncodedImages,
        on_word: impl FnMut(StreamedWord) -> ControlFlow<()> + Send,
    ) -> Result<Option<Narration>> {
        let settings = self.settings(Task::Narrate)?;
        check_one_image(image)?;
        let prompts = self.whole_images(image, settings)?;
        let state = self.begin(image, &prompts, PromptScope::Image, 1);
        let max_tokens = self.max_text_tokens(settings);
        let written = self.write_words(state, max_tokens, true, on_word);
        Ok(written.map(|(text, corners)| self.narration(&text, &corners)))
    }

    /// [`Self::describe_places`] of one place of one image, greedily; `on_word` as in
    /// [`Self::narrate_words`].
    ///
    /// # Errors
    /// As [`Self::describe_places`]; also where there is not one image.
    pub fn describe_words(
        &self,
        image: &EncodedImages,
        place: &Place,
        on_word: impl FnMut(StreamedWord) -> ControlFlow<()> + Send,
    ) -> Result<Option<Description>> {
        let settings = self.settings(Task::Describe)?;
        check_one_image(image)?;
        check_place(place)?;
        let prompt = self.prompt(place.clone(), "", settings)?;
        let state = self.begin(image, &[vec![prompt]], PromptScope::Region, 1);
        let max_tokens = self.max_text_tokens(settings);
        let written = self.write_words(state, max_tokens, false, on_word);
        Ok(written.map(|(text, _)| self.description(place, &text)))
    }

    /// Writes the text of the one row of `state`, and the places of its tokens; `None` where `on_word`
    /// broke off.
    fn write_words(
        &self,
        mut state: LanguageState,
        max_tokens: usize,
        has_places: bool,
        on_word: impl FnMut(StreamedWord) -> ControlFlow<()> + Send,
    ) -> Option<(WrittenText, Vec<Corners>)> {
        // As for whole texts, on one of the threads that take part in products.
        rayon::scope(|_| {
            let language = self.model.language();
            let vocabulary = language.vocabulary();
            // Both closures of the loop have a hand in the words.
            let words = RefCell::new(WordStream::new(self, has_places, on_word));
            let read = |tokens: Tensor<2, Int>| {
                let (logits, features) = read(language, &mut state, tokens);
                words.borrow_mut().place(self, features.clone());
                (logits, features)
            };
            let choose = |log_probs: Tensor<2>| {
                let chosen = most_probable(log_probs.clone());
                let id = chosen.clone().into_scalar::<i64>();
                let log_prob = floats(log_probs.gather(1, chosen.clone()));
                match words.borrow_mut().push(id, log_prob.first().copied().unwrap_or_default()) {
                    ControlFlow::Continue(()) => chosen,
                    ControlFlow::Break(()) => chosen.full_like(vocabulary.end),
                }
            };
            let (max_tokens, device) =
                (max_tokens.min(language.max_text_tokens()), language.device());
            let written = write_by(read, choose, true, 1, max_tokens, &vocabulary, &device);
            words.into_inner().finish()?;
            let corners = self.corners(written.features.clone());
            let text = read_back(written).into_iter().next()?;
            Some((text, corners.into_iter().next().unwrap_or_default()))
        })
    }
}

/// The logits `[1, V]` and features `[1, 1, D]` of a token `[1, 1]`.
fn read(
    language: &LanguageModel,
    state: &mut LanguageState,
    token: Tensor<2, Int>,
) -> (Tensor<2>, Tensor<3>) {
    let features = language.read(state, token);
    (language.logits(features.clone()).squeeze_dim(1), features)
}

/// Tokens on their way to words.
struct WordStream<'a, F> {
    predictor: &'a Predictor,
    /// Whether words are told with their places.
    has_places: bool,
    on_word: F,
    /// Begin, and the tokens so far.
    ids: Vec<i64>,
    /// Of each, 0 of begin.
    log_probs: Vec<f32>,
    /// Of each that was read; empty where there are no places.
    corners: Vec<Corners>,
    /// Words that were told.
    told: usize,
    is_stopped: bool,
}

impl<'a, F: FnMut(StreamedWord) -> ControlFlow<()>> WordStream<'a, F> {
    fn new(predictor: &'a Predictor, has_places: bool, on_word: F) -> Self {
        let begin = predictor.tokenizer.vocabulary().begin;
        Self {
            predictor,
            has_places,
            on_word,
            ids: vec![begin],
            log_probs: vec![0.0],
            corners: Vec::new(),
            told: 0,
            is_stopped: false,
        }
    }

    /// Notes where the token is that was read last, of features `[1, 1, D]`.
    fn place(&mut self, predictor: &Predictor, features: Tensor<3>) {
        if self.has_places {
            self.corners.extend(predictor.corners(features).into_iter().flatten());
        }
    }

    /// The next token; tells the words that it shows to be whole.
    fn push(&mut self, id: i64, log_prob: f32) -> ControlFlow<()> {
        self.ids.push(id);
        self.log_probs.push(log_prob);
        // The last word may go on in the next token.
        let is_end = id == self.predictor.tokenizer.vocabulary().end;
        self.tell(usize::from(!is_end))
    }

    /// Tells the words that are left of a text that was cut; `None` where the listener broke off.
    fn finish(&mut self) -> Option<()> {
        self.tell(0).is_continue().then_some(())
    }

    /// Tells all words but the last `open`.
    fn tell(&mut self, open: usize) -> ControlFlow<()> {
        if self.is_stopped {
            return ControlFlow::Break(());
        }
        let words = self.predictor.tokenizer.words(&self.ids);
        let whole = words.len().saturating_sub(open);
        for (index, word) in words.into_iter().enumerate().take(whole).skip(self.told) {
            let pieces = word.token_range;
            let corners = self.corners.get(pieces.clone()).unwrap_or_default();
            let word = StreamedWord {
                index,
                text: word.text,
                bounds: self.has_places.then(|| mean_box(corners)),
                log_prob: self.log_probs.get(pieces).unwrap_or_default().iter().sum(),
            };
            self.told = index + 1;
            if (self.on_word)(word).is_break() {
                self.is_stopped = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

fn check_one_image(images: &EncodedImages) -> Result<()> {
    match images.len() {
        1 => Ok(()),
        count => Err(Error::Usage {
            problem: format!("{count} images for one text"),
            help: "Encode the image by itself.".into(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::testing;

    fn one_image(predictor: &Predictor) -> EncodedImages {
        predictor.encode(&testing::canvases()[..1]).unwrap()
    }

    #[test]
    fn words_are_told_in_order_and_are_those_of_the_whole_text() {
        let predictor = testing::predictor().unwrap();
        let image = one_image(&predictor);
        let mut told = Vec::new();
        let narration = predictor
            .narrate_words(&image, |word| {
                told.push(word);
                ControlFlow::Continue(())
            })
            .unwrap()
            .unwrap();
        assert_eq!(narration, predictor.narrate(&image).unwrap()[0]);
        assert!(!told.is_empty());
        assert_eq!(told.len(), narration.words.len());
        for (index, (told, word)) in told.iter().zip(&narration.words).enumerate() {
            assert_eq!((told.index, &told.text), (index, &word.text));
            assert!((told.log_prob - word.log_prob).abs() < 1e-5);
            let bounds = told.bounds.unwrap().to_array();
            for (told, whole) in bounds.into_iter().zip(word.bounds.to_array()) {
                assert!((told - whole).abs() < 1e-5, "{told} {whole}");
            }
        }
    }

    #[test]
    fn descriptions_are_told_without_places() {
        let predictor = testing::predictor().unwrap();
        let image = one_image(&predictor);
        let place = Place::Box(BoundingBox::new(0.1, 0.2, 0.7, 0.9));
        let mut told = Vec::new();
        let description = predictor
            .describe_words(&image, &place, |word| {
                told.push(word);
                ControlFlow::Continue(())
            })
            .unwrap()
            .unwrap();
        let whole = predictor.describe_places(&image, &[vec![place]]).unwrap();
        assert_eq!(description, whole[0][0]);
        assert!(told.iter().all(|word| word.bounds.is_none()));
        let texts: Vec<_> = told.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts.join(" "), description.caption);
    }

    #[test]
    fn a_listener_that_breaks_off_hears_no_more() {
        // Weights are random, and a few models have nothing to say.
        let (predictor, image) = (0..50)
            .map(|_| {
                let predictor = testing::predictor().unwrap();
                let image = one_image(&predictor);
                (predictor, image)
            })
            .find(|(predictor, image)| !predictor.narrate(image).unwrap()[0].words.is_empty())
            .unwrap();
        let mut told = 0;
        let narration = predictor.narrate_words(&image, |_| {
            told += 1;
            ControlFlow::Break(())
        });
        assert_eq!((narration.unwrap(), told), (None, 1));
    }

    #[test]
    fn other_than_one_image_and_places_outside_are_refused() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let go_on = |_| ControlFlow::Continue(());
        let error = predictor.narrate_words(&images, go_on).unwrap_err();
        assert_eq!(error.to_string(), "2 images for one text");
        let outside = Place::Box(BoundingBox::new(2.0, 2.0, 3.0, 3.0));
        let image = one_image(&predictor);
        let error = predictor.describe_words(&image, &outside, go_on).unwrap_err();
        assert!(error.to_string().contains("nothing of the image"), "{error}");
    }
}

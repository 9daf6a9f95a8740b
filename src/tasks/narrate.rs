//! *Narrate*: whole image → caption, with a place for every word (`spec/inference.md` §2.3).

use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{Corners, Prompt, ROWS_AT_ONCE, rows_from};
use super::writing::WrittenText;
use super::{LocatedWord, Narration};
use crate::data::sample::Task;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::prompt::adapter::PromptScope;

impl Predictor {
    /// A caption of each image. One that would be longer than the run's narratives may be is cut.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) where the model was not taught to narrate.
    pub fn narrate(&self, images: &EncodedImages) -> Result<Vec<Narration>> {
        self.narrate_as(images, self.settings(Task::Narrate)?)
    }

    /// [`Self::narrate`] with the settings of some source.
    pub(super) fn narrate_as(
        &self,
        images: &EncodedImages,
        settings: &TaskSettings,
    ) -> Result<Vec<Narration>> {
        let state =
            self.begin(images, &self.whole_images(images, settings)?, PromptScope::Image, 1);
        let (texts, features) = self.write(state, self.max_text_tokens(settings));
        let corners = self.corners(features);
        Ok(texts
            .iter()
            .zip(&corners)
            .map(|(text, corners)| self.narration(text, corners))
            .collect())
    }

    /// Where the model would place each token of given narratives, per image and row. `texts`:
    /// begin, words, end; no longer than [`Self::max_text_tokens`].
    pub(super) fn trace_as(
        &self,
        images: &EncodedImages,
        texts: &[Vec<Vec<i64>>],
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Vec<Corners>>>> {
        let prompts = self.whole_images(images, settings)?;
        let mut traces = vec![Vec::new(); texts.len()];
        let most = texts.iter().map(Vec::len).max().unwrap_or(0);
        for start in (0..most).step_by(ROWS_AT_ONCE) {
            let chunk: Vec<_> = rows_from(texts, start).into_iter().map(<[_]>::to_vec).collect();
            let num_rows = chunk.iter().map(Vec::len).max().unwrap_or(0);
            let state = self.begin(images, &prompts, PromptScope::Image, num_rows);
            for (traces, placed) in traces.iter_mut().zip(self.place(state, &chunk, num_rows)) {
                traces.extend(placed);
            }
        }
        Ok(traces)
    }

    pub(super) fn whole_images(
        &self,
        images: &EncodedImages,
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Prompt>>> {
        let prompt = self.prompt(BoundingBox::UNIT, "", settings)?;
        Ok(vec![vec![prompt]; images.len()])
    }

    pub(super) fn narration(&self, text: &WrittenText, corners: &[Corners]) -> Narration {
        let (words, caption) = self.words(text);
        let words = words.into_iter().map(|word| {
            let pieces = word.token_range;
            LocatedWord {
                text: word.text,
                bounds: mean_box(corners.get(pieces.clone()).unwrap_or_default()),
                log_prob: text.log_probs.get(pieces).unwrap_or_default().iter().sum(),
            }
        });
        let end = self.tokenizer.vocabulary().end;
        Narration {
            caption,
            words: words.collect(),
            token_log_probs: text.token_log_probs(end),
            score: text.score,
        }
    }
}

/// Where a word is: the mean of its pieces' boxes, corners sorted. In training every piece has the
/// place of its word as target, so each box is a guess at the same one; their hull would only grow.
pub(super) fn mean_box(pieces: &[Corners]) -> BoundingBox {
    let share = 1.0 / pieces.len() as f32;
    let boxes = pieces.iter().map(|[first, second]| BoundingBox::around(*first, *second));
    boxes.fold(BoundingBox::new(0.0, 0.0, 0.0, 0.0), |mean, bounds| {
        let sum = |mean: f32, value: f32| mean + value * share;
        BoundingBox::new(
            sum(mean.x0, bounds.x0),
            sum(mean.y0, bounds.y0),
            sum(mean.x1, bounds.x1),
            sum(mean.y1, bounds.y1),
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Int, Tensor};

    use super::*;
    use crate::geometry::Point;
    use crate::model::language::beam::BeamConfig;
    use crate::model::language::decoding::Decoding;
    use crate::model::language::sampling::SampleConfig;
    use crate::tasks::testing;

    #[test]
    fn the_box_of_a_word_is_the_mean_of_its_pieces_sorted() {
        let point = |x, y| Point { x, y };
        let pieces = [[point(0.5, 0.0), point(0.0, 0.5)], [point(0.25, 0.5), point(0.75, 1.0)]];
        assert_eq!(mean_box(&pieces), BoundingBox::new(0.125, 0.25, 0.625, 0.75));
    }

    /// The next token and its log-probability when `ids` are read anew: no memory, one image.
    fn next(
        predictor: &Predictor,
        images: &EncodedImages,
        image: usize,
        ids: &[i64],
    ) -> (i64, f32) {
        let settings = predictor.settings(Task::Narrate).unwrap();
        let state = predictor.begin(
            images,
            &predictor.whole_images(images, settings).unwrap(),
            PromptScope::Image,
            1,
        );
        let rows = [ids, ids].concat();
        let text = Tensor::<1, Int>::from_data(rows.as_slice(), &Device::flex());
        let language = predictor.model.language();
        let features = language.read(&mut state.clone(), text.reshape([2, ids.len()]));
        let logits = language.logits(features).slice([image..image + 1, ids.len() - 1..ids.len()]);
        let mut logits: Vec<f32> = logits.into_data().try_to_vec().unwrap();
        let previous = *ids.last().unwrap() as usize;
        logits[previous] = logits[previous].min(-10_000.0);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let best = logits.iter().position(|&logit| logit == largest).unwrap();
        let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        (best as i64, -sum.ln())
    }

    #[test]
    fn greedy_writes_what_reading_the_whole_text_anew_would_choose() {
        // Random weights may end a text at once, and then there is little to compare.
        let talkative = || {
            let predictor = testing::predictor().unwrap();
            let images = testing::images(&predictor).unwrap();
            let narrations = predictor.narrate(&images).unwrap();
            narrations.iter().all(|narration| !narration.words.is_empty()).then_some(predictor)
        };
        let predictor = (0..20).find_map(|_| talkative()).unwrap();
        let images = testing::images(&predictor).unwrap();
        let settings = predictor.settings(Task::Narrate).unwrap();
        let prompts = predictor.whole_images(&images, settings).unwrap();
        let (texts, features) =
            predictor.write(predictor.begin(&images, &prompts, PromptScope::Image, 1), 10);
        let vocabulary = predictor.tokenizer.vocabulary();
        for (image, text) in texts.iter().enumerate() {
            assert_eq!(text.ids.len(), 10);
            let mut ids = vec![vocabulary.begin];
            let mut sum = 0.0;
            while ids.len() < 9 && ids.last() != Some(&vocabulary.end) {
                let (id, log_prob) = next(&predictor, &images, image, &ids);
                let found = text.log_probs[ids.len()];
                assert!((found - log_prob).abs() < 1e-4, "{found} {log_prob}");
                sum += log_prob;
                ids.push(id);
            }
            let words = ids.iter().filter(|&&id| id != vocabulary.end).count() - 1;
            assert!((text.score - sum / words as f32).abs() < 1e-4);
            ids.resize(10, vocabulary.end);
            assert_eq!(text.ids, ids);
        }
        // The points on the way are those of the finished texts.
        let finished: Vec<_> = texts.iter().map(|text| vec![text.ids.clone()]).collect();
        let traces = predictor.trace_as(&images, &finished, settings).unwrap();
        for (on_the_way, whole) in predictor.corners(features).iter().zip(traces) {
            for (a, b) in on_the_way.iter().flatten().zip(whole[0].iter().flatten()) {
                assert!((a.x - b.x).abs() < 1e-5 && (a.y - b.y).abs() < 1e-5, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn narrations_by_beams_are_what_the_verified_decoder_writes() {
        let predictor = testing::predictor().unwrap();
        let beams = BeamConfig { beams: 3, ..BeamConfig::default() };
        let predictor = predictor.with_decoding(Decoding::Beams(beams));
        let images = testing::images(&predictor).unwrap();
        let narrations = predictor.narrate(&images).unwrap();

        let sizes = &images.sizes;
        let whole: Vec<f32> = sizes.iter().flat_map(|[w, h]| [0.0, 0.0, *w, *h]).collect();
        let boxes = Tensor::<1>::from_data(whole.as_slice(), &Device::flex());
        let visual = predictor.model.visual_tokens(
            &images.features,
            boxes.reshape([2, 1, 4]),
            PromptScope::Image,
        );
        let (texts, scores) = predictor.model.write(visual, None, 10, &predictor.decoding).best();
        let ids: Vec<i64> = texts.into_data().iter::<i64>().collect();
        let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
        let settings = predictor.settings(Task::Narrate).unwrap();
        for (image, narration) in narrations.iter().enumerate() {
            let ids = &ids[image * 10..(image + 1) * 10];
            assert_eq!(narration.caption, predictor.tokenizer.decode(ids));
            assert!((narration.score - scores[image]).abs() < 1e-5);
            let end = ids.iter().position(|&id| id == predictor.tokenizer.vocabulary().end);
            assert_eq!(narration.token_log_probs.len(), end.unwrap().min(8));
            assert!(narration.token_log_probs.iter().all(|&one| one < 0.0));
            // Places are those of the text that was chosen, read as a whole.
            let mut given = [vec![], vec![]];
            given[image] = vec![ids.to_vec()];
            let traces = predictor.trace_as(&images, &given, settings).unwrap();
            let words = predictor.tokenizer.words(ids);
            for (word, found) in words.into_iter().zip(&narration.words) {
                let expected = mean_box(&traces[image][0][word.token_range]).to_array();
                let pairs = found.bounds.to_array().into_iter().zip(expected);
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
    }

    #[test]
    fn a_seed_draws_the_same_narrations_again_and_another_draws_others() {
        let drawn = |predictor: Predictor, seed| {
            let config = SampleConfig { seed, temperature: 2.0, ..SampleConfig::default() };
            let predictor = predictor.with_decoding(Decoding::Sample(config));
            let images = testing::images(&predictor).unwrap();
            (predictor.narrate(&images).unwrap(), predictor)
        };
        let (first, predictor) = drawn(testing::predictor().unwrap(), 1);
        let (again, predictor) = drawn(predictor, 1);
        assert_eq!(first, again);
        let (other, _) = drawn(predictor, 2);
        assert_ne!(first, other);
    }

    #[test]
    fn every_word_of_a_narration_has_a_proper_box() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let narrations = predictor.narrate(&images).unwrap();
        assert_eq!(narrations.len(), 2);
        for narration in narrations {
            let words: Vec<_> = narration.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(words.join(" "), narration.caption);
            assert!(narration.score < 0.0);
            for word in narration.words {
                let bounds = word.bounds;
                assert!(bounds.to_array().iter().all(|value| value.is_finite()), "{bounds:?}");
                assert!(bounds.x0 <= bounds.x1 && bounds.y0 <= bounds.y1, "{bounds:?}");
                assert!(
                    bounds.to_array().iter().any(|&value| value != 0.0),
                    "a word without place"
                );
                assert!(word.log_prob < 0.0);
            }
        }
    }

    #[test]
    fn dropout_is_off_when_the_model_was_trained() {
        let device = Device::flex().autodiff();
        let predictor = testing::predictor_on(&device, 0.5, &[Task::Narrate]).unwrap();
        let images = testing::images(&predictor).unwrap();
        let first = predictor.narrate(&images).unwrap();
        assert_eq!(first, predictor.narrate(&images).unwrap());
    }
}

//! *Narrate*: whole image → caption, with a place for every word (`spec/inference.md` §2.3).

use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{Corners, Prompt, ROWS_AT_ONCE, rows_from};
use super::writing::WrittenText;
use super::{LocatedWord, Narration};
use crate::data::sample::Task;
use crate::error::Result;
use crate::geometry::BoundingBox;

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
        let state = self.begin(images, &self.whole_images(images, settings)?, 1);
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
            let state = self.begin(images, &prompts, num_rows);
            for (traces, placed) in traces.iter_mut().zip(self.place(state, &chunk, num_rows)) {
                traces.extend(placed);
            }
        }
        Ok(traces)
    }

    fn whole_images(
        &self,
        images: &EncodedImages,
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Prompt>>> {
        let prompt = self.prompt(BoundingBox::UNIT, "", settings)?;
        Ok(vec![vec![prompt]; images.len()])
    }

    fn narration(&self, text: &WrittenText, corners: &[Corners]) -> Narration {
        let (words, caption) = self.words(text);
        let words = words.into_iter().map(|word| {
            let pieces = word.token_range;
            LocatedWord {
                text: word.text,
                bounds: mean_box(corners.get(pieces.clone()).unwrap_or_default()),
                log_prob: text.log_probs.get(pieces).unwrap_or_default().iter().sum(),
            }
        });
        Narration { caption, words: words.collect(), score: text.score }
    }
}

/// Where a word is: the mean of its pieces' boxes, corners sorted. In training every piece has the
/// place of its word as target, so each box is a guess at the same one; their hull would only grow.
fn mean_box(pieces: &[Corners]) -> BoundingBox {
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
mod tests {
    use super::*;
    use crate::geometry::Point;

    #[test]
    fn the_box_of_a_word_is_the_mean_of_its_pieces_sorted() {
        let point = |x, y| Point { x, y };
        let pieces = [[point(0.5, 0.0), point(0.0, 0.5)], [point(0.25, 0.5), point(0.75, 1.0)]];
        assert_eq!(mean_box(&pieces), BoundingBox::new(0.125, 0.25, 0.625, 0.75));
    }
}

//! *Locate*: expression → box (`spec/inference.md` §2.1).

use super::Location;
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{Prompt, ROWS_AT_ONCE, check_one_list_per_image, rows_from};
use super::segment::CoarseMask;
use super::timing::Stage;
use crate::data::sample::Task;
use crate::data::source::AnswerForm;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::model::prompt::adapter::PromptScope;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Find {
    /// The boxes of expressions.
    Boxes,
    /// Their masks, too, where the model makes any.
    BoxesAndMasks,
}

/// What was found of an expression.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) location: Location,
    /// Where masks were looked for, and the model makes any.
    pub(super) mask: Option<CoarseMask>,
    /// Whether the model itself chose to answer with a box: always where points answer. Where boxes are
    /// written, one that is not was held to it (see [`written_box`](super::written_box)).
    pub(super) is_well_formed: bool,
}

impl Predictor {
    /// The box that each expression is about, one list per image. An expression that is longer than
    /// the run's may be is cut, and answered by the last word that is left. A model that writes boxes is
    /// held to location tokens, so that every answer is one.
    ///
    /// ```no_run
    /// # fn main() -> pixelllm::Result<()> {
    /// use pixelllm::{backend, tasks::Predictor};
    ///
    /// let predictor = Predictor::open("data/models/shapes", &backend::device("cpu")?)?;
    /// let images = predictor.encode_files(&["photo.jpg"])?;
    /// let found = predictor.locate(&images, &[vec!["the red circle".into()]])?;
    /// println!("{:?}", found[0][0].bounds);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] where the model was not taught to locate, an expression has no words, or
    /// there is not one list per image.
    pub fn locate(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
    ) -> Result<Vec<Vec<Location>>> {
        self.check_expressions(images, expressions)?;
        self.locate_as(images, expressions, self.settings(Task::Locate)?)
    }

    /// Refuses what cannot be located.
    pub(super) fn check_expressions(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
    ) -> Result<()> {
        self.settings(Task::Locate)?;
        check_one_list_per_image(images, expressions)?;
        // As the readers of annotations have it.
        let has_words = |text: &&String| text.chars().any(char::is_alphanumeric);
        if let Some(text) = expressions.iter().flatten().find(|text| !has_words(text)) {
            return Err(no_words(text));
        }
        Ok(())
    }

    /// [`Self::locate`] with the settings of some source.
    pub(super) fn locate_as(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Location>>> {
        let found = self.find(images, expressions, settings, Find::Boxes)?;
        let locations = |found: Vec<Found>| found.into_iter().map(|found| found.location).collect();
        Ok(found.into_iter().map(locations).collect())
    }

    /// Where each expression is, and its mask where asked for.
    pub(super) fn find(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
        settings: &TaskSettings,
        what: Find,
    ) -> Result<Vec<Vec<Found>>> {
        let mut found = vec![Vec::new(); expressions.len()];
        let most = expressions.iter().map(Vec::len).max().unwrap_or(0);
        for start in (0..most).step_by(ROWS_AT_ONCE) {
            let chunk = rows_from(expressions, start);
            let round = match settings.answer {
                AnswerForm::Points => self.find_at_once(images, &chunk, settings, what)?,
                AnswerForm::Text => self.write_boxes(images, &chunk, settings)?,
            };
            for (found, round) in found.iter_mut().zip(round) {
                found.extend(round);
            }
        }
        Ok(found)
    }

    /// [`Self::find`] of at most [`ROWS_AT_ONCE`] expressions per image.
    fn find_at_once(
        &self,
        images: &EncodedImages,
        expressions: &[&[String]],
        settings: &TaskSettings,
        what: Find,
    ) -> Result<Vec<Vec<Found>>> {
        let prompts: Result<Vec<Vec<Prompt>>> =
            expressions.iter().map(|expressions| self.questions(expressions, settings)).collect();
        let (mut texts, mut answers) = (Vec::new(), Vec::new());
        for expressions in expressions {
            let ids: Result<Vec<Vec<i64>>> =
                expressions.iter().map(|text| self.expression(text, settings)).collect();
            let ids = ids?;
            // Texts end with the word that answers.
            answers.push(ids.iter().map(|ids| ids.len() - 1).collect::<Vec<_>>());
            texts.push(ids);
        }
        let min_length = match what {
            Find::Boxes => 0,
            Find::BoxesAndMasks => self.complete(&mut texts, settings),
        };
        let read = self.read(images, &prompts?, PromptScope::Image, &texts, min_length);
        let [batch, num_rows, length, width] = read.features.dims();
        let corners = self.timed(&images.recorder, Stage::Heads, || {
            self.corners(read.features.clone().reshape([batch * num_rows, length, width]))
        });
        let bounds: Vec<Vec<BoundingBox>> = corners
            .chunks(num_rows)
            .zip(&answers)
            .map(|(corners, answers)| {
                let tokens = corners.iter().zip(answers).filter_map(|(row, &at)| row.get(at));
                tokens.map(|[first, second]| BoundingBox::around(*first, *second)).collect()
            })
            .collect();
        let mut masks = match what {
            Find::Boxes => None,
            Find::BoxesAndMasks => {
                self.timed(&images.recorder, Stage::Masks, || self.masks_of(images, &bounds, read))
            }
        };
        let of_image = |(image, (expressions, bounds)): (usize, (&&[String], Vec<BoundingBox>))| {
            let masks = masks.as_mut().and_then(|masks| masks.get_mut(image));
            let mut masks = masks.map(std::mem::take).unwrap_or_default().into_iter();
            let found = expressions.iter().zip(bounds).map(|(expression, bounds)| Found {
                location: Location::new(expression.clone(), bounds),
                mask: masks.next(),
                is_well_formed: true,
            });
            found.collect()
        };
        Ok(expressions.iter().zip(bounds).enumerate().map(of_image).collect())
    }

    /// Whether a text has words to answer for.
    pub(super) fn has_words(&self, text: &str) -> Result<bool> {
        // Begin, one word.
        let encoded = self.tokenizer.encode(text, 2)?;
        Ok(encoded.offsets.iter().any(Option::is_some))
    }

    /// One prompt per expression, or one for all where the instruction does not repeat them.
    pub(super) fn questions(
        &self,
        expressions: &[String],
        settings: &TaskSettings,
    ) -> Result<Vec<Prompt>> {
        let question = |text: &str| self.prompt(BoundingBox::UNIT, text, settings);
        if settings.is_shared() {
            return Ok(vec![question("")?]);
        }
        expressions.iter().map(|text| question(text)).collect()
    }

    /// Begin and words. The end is left out: the last word answers, and texts are causal.
    fn expression(&self, text: &str, settings: &TaskSettings) -> Result<Vec<i64>> {
        let mut encoded = self.tokenizer.encode(text, self.max_text_tokens(settings))?;
        let Some(last) = encoded.offsets.iter().rposition(Option::is_some) else {
            return Err(no_words(text));
        };
        encoded.ids.truncate(last + 1);
        Ok(encoded.ids)
    }
}

fn no_words(text: &str) -> Error {
    Error::Usage {
        problem: format!("the text {text:?} has no words"),
        help: "Give at least one word.".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::testing;

    fn close(a: BoundingBox, b: BoundingBox) {
        let mut pairs = a.to_array().into_iter().zip(b.to_array());
        assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }

    #[test]
    fn expressions_in_a_ragged_batch_are_found_where_each_alone_is() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let text = |text: &str| text.to_string();
        let expressions =
            [vec![text("a red circle"), text("the square we see here")], vec![text("circle")]];
        let located = predictor.locate(&images, &expressions).unwrap();
        assert_eq!(located.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        for (image, row) in [(0, 0), (0, 1), (1, 0)] {
            let mut alone = [vec![], vec![]];
            alone[image] = vec![expressions[image][row].clone()];
            let alone = predictor.locate(&images, &alone).unwrap();
            let found = &located[image][row];
            assert_eq!(found.expression, expressions[image][row]);
            close(found.bounds, alone[image][0].bounds);
            assert!(found.bounds.x0 <= found.bounds.x1 && found.bounds.y0 <= found.bounds.y1);
        }
        assert_ne!(located[0][0].bounds, located[0][1].bounds);
    }

    #[test]
    fn the_last_word_answers_whatever_comes_after_it() {
        let predictor = testing::predictor().unwrap();
        let settings = predictor.settings(Task::Locate).unwrap();
        let ids = predictor.expression("a red circle", settings).unwrap();
        let whole = predictor.tokenizer.encode("a red circle", 10).unwrap().ids;
        assert_eq!(ids, whole[..whole.len() - 1]);
        let long = "red circle ".repeat(20);
        assert_eq!(predictor.expression(&long, settings).unwrap().len(), 10, "cut");
    }

    #[test]
    fn texts_without_words_and_tasks_that_were_not_taught_are_refused() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        for empty in ["", "  \t"] {
            let error = predictor.locate(&images, &[vec![empty.into()], vec![]]).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains("no words"));
        }
        let device = burn::tensor::Device::flex();
        let narrator = testing::predictor_on(&device, 0.0, &[Task::Narrate]).unwrap();
        let images = testing::images(&narrator).unwrap();
        let error = narrator.locate(&images, &[vec![], vec![]]).unwrap_err();
        assert_eq!(error.to_string(), "the model was not taught to locate");
    }
}

//! *Locate*: expression → box (`spec/inference.md` §2.1).

use super::Location;
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{Prompt, ROWS_AT_ONCE, check_one_list_per_image, rows_from};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

impl Predictor {
    /// The box that each expression is about, one list per image. An expression that is longer than
    /// the run's may be is cut, and answered by the last word that is left.
    ///
    /// # Errors
    /// [`Error::Usage`] where the model was not taught to locate, an expression has no words, or
    /// there is not one list per image.
    pub fn locate(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
    ) -> Result<Vec<Vec<Location>>> {
        let settings = self.settings(Task::Locate)?;
        check_one_list_per_image(images, expressions)?;
        self.locate_as(images, expressions, settings)
    }

    /// [`Self::locate`] with the settings of some source.
    pub(super) fn locate_as(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Location>>> {
        let mut locations = vec![Vec::new(); expressions.len()];
        let most = expressions.iter().map(Vec::len).max().unwrap_or(0);
        for start in (0..most).step_by(ROWS_AT_ONCE) {
            let chunk = rows_from(expressions, start);
            let num_rows = chunk.iter().map(|expressions| expressions.len()).max().unwrap_or(0);
            let texts: Result<Vec<Vec<Vec<i64>>>> = chunk
                .iter()
                .map(|expressions| {
                    expressions.iter().map(|text| self.expression(text, settings)).collect()
                })
                .collect();
            let prompts: Result<Vec<Vec<Prompt>>> =
                chunk.iter().map(|expressions| self.questions(expressions, settings)).collect();
            let state = self.begin(images, &prompts?, num_rows);
            let placed = self.place(state, &texts?, num_rows);
            for ((expressions, placed), locations) in chunk.iter().zip(placed).zip(&mut locations) {
                let located = expressions.iter().zip(placed).filter_map(|(expression, corners)| {
                    // Texts end with the word that answers.
                    let [first, second] = *corners.last()?;
                    let bounds = BoundingBox::around(first, second);
                    Some(Location { expression: expression.clone(), bounds })
                });
                locations.extend(located);
            }
        }
        Ok(locations)
    }

    /// Whether a text has words to answer for.
    pub(super) fn has_words(&self, text: &str) -> Result<bool> {
        // Begin, one word.
        let encoded = self.tokenizer.encode(text, 2)?;
        Ok(encoded.offsets.iter().any(Option::is_some))
    }

    /// One prompt per expression, or one for all where the instruction does not repeat them.
    fn questions(&self, expressions: &[String], settings: &TaskSettings) -> Result<Vec<Prompt>> {
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
            return Err(Error::Usage {
                problem: format!("the text {text:?} has no words"),
                help: "Give at least one word.".into(),
            });
        };
        encoded.ids.truncate(last + 1);
        Ok(encoded.ids)
    }
}

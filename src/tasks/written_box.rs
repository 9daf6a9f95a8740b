//! *Locate* where boxes are written: the expression is in the instruction, and the answer is four location
//! tokens ([`Tokenizer::decode_box`](crate::data::tokenizer::Tokenizer::decode_box)).
//!
//! Only location tokens may be chosen, so that every answer is a box. Whether the model would have chosen
//! them by itself is noted: as long as it does, both ways of writing are the same.

use burn::tensor::{Bool, Int, Tensor};

use super::Location;
use super::locate::Found;
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::Prompt;
use super::timing::Stage;
use crate::data::tokenizer::COORDINATES;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::model::language::LanguageState;
use crate::model::language::decoding::{most_probable, write_by};
use crate::model::prompt::adapter::PromptScope;

/// The answer to an expression.
struct WrittenBox {
    bounds: BoundingBox,
    /// Whether its tokens are those that the model would have chosen among all.
    is_well_formed: bool,
}

impl Predictor {
    /// The boxes of at most [`ROWS_AT_ONCE`](super::prompt::ROWS_AT_ONCE) expressions per image.
    pub(super) fn write_boxes(
        &self,
        images: &EncodedImages,
        expressions: &[&[String]],
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Found>>> {
        let prompts: Result<Vec<Vec<Prompt>>> =
            expressions.iter().map(|expressions| self.questions(expressions, settings)).collect();
        let num_rows = expressions.iter().map(|texts| texts.len()).max().unwrap_or(0).max(1);
        let state = self.begin(images, &prompts?, PromptScope::Image, num_rows);
        let written =
            self.timed(&images.recorder, Stage::Language, || self.write_coordinates(state))?;
        let of_image = |(texts, written): (&&[String], &[WrittenBox])| {
            // Fillers are left out.
            let found = texts.iter().zip(written).map(|(text, written)| Found {
                location: Location::new(text.clone(), written.bounds),
                mask: None,
                is_well_formed: written.is_well_formed,
            });
            found.collect()
        };
        Ok(expressions.iter().zip(written.chunks(num_rows)).map(of_image).collect())
    }

    /// A box after each of the prompts that `state` has read.
    fn write_coordinates(&self, mut state: LanguageState) -> Result<Vec<WrittenBox>> {
        let (language, allowed) = (self.model.language(), self.tokenizer.location_tokens());
        if allowed.is_empty() {
            return Err(Error::Usage {
                problem: "the tokenizer of the model has no location tokens to write boxes with"
                    .into(),
                help: "Give the tokenizer.json that the model was trained with.".into(),
            });
        }
        let (rows, device) = (state.num_rows(), language.device());
        let (first, count) = (allowed.start as usize, allowed.count());
        let mut is_well_formed = Tensor::<2, Int>::ones([rows, 1], &device).equal_elem(1);
        let read = |tokens: Tensor<2, Int>| {
            let features = language.read(&mut state, tokens);
            (language.logits(features.clone()).squeeze_dim(1), features)
        };
        let choose = |log_probs: Tensor<2>| {
            let among_all = most_probable(log_probs.clone());
            let chosen = most_probable(log_probs.narrow(1, first, count)) + first as i64;
            let agrees: Tensor<2, Bool> = among_all.equal(chosen.clone());
            is_well_formed = is_well_formed.clone().bool_and(agrees);
            chosen
        };
        // Begin, the coordinates, and an end that nobody chooses.
        let length = COORDINATES + 2;
        // A coordinate may well follow itself.
        let written = write_by(read, choose, false, rows, length, &language.vocabulary(), &device);
        let ids: Vec<i64> = written.tokens.into_data().iter::<i64>().collect();
        let well_formed = is_well_formed.into_data().iter::<bool>().collect::<Vec<_>>();
        let boxes = ids.chunks(length).zip(well_formed).map(|(ids, is_well_formed)| {
            let bounds = self.tokenizer.decode_box(ids.get(1..=COORDINATES).unwrap_or_default());
            let bounds = bounds.ok_or_else(|| Error::Compute {
                problem: format!("{ids:?} is no box, though only location tokens were allowed"),
                help: "Report this as a bug.".into(),
            })?;
            Ok(WrittenBox { bounds, is_well_formed })
        });
        boxes.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::sample::Task;
    use crate::model::language::decoding::{Decoding, write};
    use crate::model::language::sampling::SampleConfig;
    use crate::tasks::testing;

    const EXPRESSIONS: [&str; 4] =
        ["a red circle", "the square we see here", "large", "blue striped"];

    /// An image with all expressions and one with the last.
    fn asked() -> [Vec<String>; 2] {
        let all = EXPRESSIONS.map(String::from).to_vec();
        [all.clone(), all[3..].to_vec()]
    }

    /// What the model writes after each expression of the first image when any token may come next.
    fn written_freely(predictor: &Predictor, images: &EncodedImages) -> Vec<Vec<i64>> {
        let settings = predictor.settings(Task::Locate).unwrap();
        let prompts = predictor.questions(&asked()[0], settings).unwrap();
        let prompts = [prompts.clone(), prompts];
        let state = predictor.begin(images, &prompts, PromptScope::Image, 4);
        let greedy =
            SampleConfig { temperature: 0.0, suppress_repeats: false, ..SampleConfig::default() };
        let language = predictor.model.language();
        let written = write(language, state, COORDINATES + 2, &Decoding::Sample(greedy));
        let ids: Vec<i64> = written.tokens.into_data().iter::<i64>().collect();
        ids.chunks(COORDINATES + 2).take(4).map(<[i64]>::to_vec).collect()
    }

    #[test]
    fn every_answer_is_a_box_and_whether_the_model_wrote_it_by_itself_is_known() {
        // Of random weights, some answers are boxes and some are not.
        let (mut boxes, mut others) = (0, 0);
        for _ in 0..40 {
            let predictor = testing::box_writer(120).unwrap();
            let images = testing::images(&predictor).unwrap();
            let expressions = asked();
            let expressions = [&expressions[0][..], &expressions[1][..]];
            let settings = predictor.settings(Task::Locate).unwrap();
            let found = predictor.write_boxes(&images, &expressions, settings).unwrap();
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1]);
            for (found, free) in found[0].iter().zip(written_freely(&predictor, &images)) {
                let free = predictor.tokenizer.decode_box(&free[1..5]);
                assert_eq!(found.is_well_formed, free.is_some());
                match free {
                    Some(bounds) => assert_eq!(found.location.bounds, bounds),
                    None => {
                        let inside = |edge: f32| (0.0..=1.0).contains(&edge);
                        let edges = found.location.bounds.to_array();
                        assert!(edges.into_iter().all(inside), "{edges:?}");
                    }
                }
                boxes += usize::from(free.is_some());
                others += usize::from(free.is_none());
            }
            if boxes > 2 && others > 2 {
                return;
            }
        }
        unreachable!("{boxes} boxes and {others} other answers: one kind was not seen");
    }

    #[test]
    fn boxes_are_written_in_a_ragged_batch_as_for_each_expression_alone() {
        let predictor = testing::box_writer(30).unwrap();
        let images = testing::images(&predictor).unwrap();
        let located = predictor.locate(&images, &asked()).unwrap();
        for (image, row) in [(0, 0), (0, 3), (1, 0)] {
            let mut alone = [vec![], vec![]];
            alone[image] = vec![asked()[image][row].clone()];
            let alone = predictor.locate(&images, &alone).unwrap();
            assert_eq!(located[image][row], alone[image][0]);
            assert_eq!(located[image][row].expression, asked()[image][row]);
        }
        assert_eq!(predictor.locate(&images, &[vec![], vec![]]).unwrap(), [vec![], vec![]]);
    }

    #[test]
    fn boxes_are_not_written_without_tokens_for_them() {
        let predictor = testing::box_writer(0).unwrap();
        let images = testing::images(&predictor).unwrap();
        let error = predictor.locate(&images, &asked()).unwrap_err().to_string();
        assert!(error.contains("no location tokens"), "{error}");
    }
}

//! *Describe*: box → caption (`spec/inference.md` §2.5), and points or a trace → caption.

use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{Prompt, ROWS_AT_ONCE, check_one_list_per_image, rows_from};
use super::writing::WrittenText;
use super::{Description, Place};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::{BoundingBox, Point};
use crate::model::prompt::adapter::PromptScope;

impl Predictor {
    /// A caption of each region; regions are normalised to their image, one list per image. A caption
    /// that would be longer than the run's may be is cut.
    ///
    /// # Errors
    /// [`Error::Usage`] where the model was not taught to describe, a region has no area or lies
    /// outside its image, or there is not one list per image.
    pub fn describe(
        &self,
        images: &EncodedImages,
        regions: &[Vec<BoundingBox>],
    ) -> Result<Vec<Vec<Description>>> {
        let place = |regions: &Vec<_>| regions.iter().copied().map(Place::Box).collect();
        self.describe_places(images, &regions.iter().map(place).collect::<Vec<_>>())
    }

    /// As [`Self::describe`], of boxes, points and traces, also side by side. A model that learnt from
    /// boxes alone has not seen tokens of points or traces.
    ///
    /// # Errors
    /// As [`Self::describe`]; also where no point is on what is meant, or one is outside its image.
    pub fn describe_places(
        &self,
        images: &EncodedImages,
        places: &[Vec<Place>],
    ) -> Result<Vec<Vec<Description>>> {
        let settings = self.settings(Task::Describe)?;
        check_one_list_per_image(images, places)?;
        places.iter().flatten().try_for_each(check_place)?;
        self.describe_as(images, places, settings)
    }

    /// [`Self::describe_places`] with the settings of some source, of places that are known to be fine.
    pub(super) fn describe_as(
        &self,
        images: &EncodedImages,
        places: &[Vec<Place>],
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Description>>> {
        let mut descriptions = vec![Vec::new(); places.len()];
        let most = places.iter().map(Vec::len).max().unwrap_or(0);
        for start in (0..most).step_by(ROWS_AT_ONCE) {
            let chunk = rows_from(places, start);
            let num_rows = chunk.iter().map(|places| places.len()).max().unwrap_or(0);
            let prompts: Result<Vec<Vec<Prompt>>> = chunk
                .iter()
                .map(|places| {
                    places.iter().map(|place| self.prompt(place.clone(), "", settings)).collect()
                })
                .collect();
            let state = self.begin(images, &prompts?, PromptScope::Region, num_rows);
            let (texts, _) = self.write(state, self.max_text_tokens(settings));
            let images = chunk.into_iter().zip(texts.chunks(num_rows.max(1)));
            for ((places, texts), descriptions) in images.zip(&mut descriptions) {
                let described = places.iter().zip(texts);
                descriptions.extend(described.map(|(place, text)| self.description(place, text)));
            }
        }
        Ok(descriptions)
    }

    /// What the model wrote about a place.
    pub(super) fn description(&self, place: &Place, text: &WrittenText) -> Description {
        let (_, caption) = self.words(text);
        let token_log_probs = text.token_log_probs(self.tokenizer.vocabulary().end);
        Description { region: place.bounds(), caption, token_log_probs, score: text.score }
    }
}

pub(super) fn check_place(place: &Place) -> Result<()> {
    let (meant, others) = match place {
        Place::Box(region) => return check_region(region),
        Place::Points { positive, negative } => (positive, &negative[..]),
        Place::Trace(line) => (line, &[][..]),
    };
    let usage = |problem: String, help: &str| Err(Error::Usage { problem, help: help.into() });
    if meant.is_empty() {
        let help = "Give at least one point on what is meant.";
        return usage("nothing is pointed at".into(), help);
    }
    let outside = |point: &&Point| !BoundingBox::UNIT.contains(**point);
    match meant.iter().chain(others).find(outside) {
        Some(Point { x, y }) => usage(
            format!("the point ({x}, {y}) is outside the image"),
            "Give points from the top-left corner of the image to the bottom-right one.",
        ),
        None => Ok(()),
    }
}

fn check_region(region: &BoundingBox) -> Result<()> {
    if region.is_valid() && region.intersection(BoundingBox::UNIT) > 0.0 {
        return Ok(());
    }
    let [x0, y0, x1, y1] = region.to_array();
    let problem = format!("nothing of the image is in the region ({x0}, {y0}, {x1}, {y1})");
    Err(Error::Usage {
        problem,
        help: "Give left, top, right, bottom, with left < right and top < bottom, in the image."
            .into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::testing;

    #[test]
    fn regions_in_a_ragged_batch_are_described_as_each_alone() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let at = |i: usize| BoundingBox::new(0.0, 0.0, 0.1 + i as f32 * 0.05, 0.5);
        // More rows than are prompted at once, and an image with fewer.
        let many: Vec<_> = (0..ROWS_AT_ONCE + 2).map(at).collect();
        let regions = [many, vec![at(3)]];
        let described = predictor.describe(&images, &regions).unwrap();
        assert_eq!(described.iter().map(Vec::len).collect::<Vec<_>>(), [ROWS_AT_ONCE + 2, 1]);
        for (image, row) in [(0, 0), (0, ROWS_AT_ONCE + 1), (1, 0)] {
            let mut alone = [vec![], vec![]];
            alone[image] = vec![regions[image][row]];
            let alone = predictor.describe(&images, &alone).unwrap();
            let (batched, alone) = (&described[image][row], &alone[image][0]);
            assert_eq!(batched.region, regions[image][row]);
            assert_eq!(batched.caption, alone.caption);
            assert!((batched.score - alone.score).abs() < 1e-4);
        }
        assert_eq!(predictor.describe(&images, &[vec![], vec![]]).unwrap(), [vec![], vec![]]);
    }

    #[test]
    fn points_and_traces_beside_boxes_are_described_as_each_alone() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        let at = |x: f32, y: f32| Point { x, y };
        let places = vec![
            Place::Box(BoundingBox::new(0.0, 0.0, 0.5, 0.5)),
            Place::Points { positive: vec![at(0.2, 0.2), at(0.3, 0.4)], negative: vec![] },
            Place::Trace(vec![at(0.1, 0.9), at(0.9, 0.1)]),
            Place::Trace(vec![at(0.9, 0.1), at(0.1, 0.9)]),
        ];
        let together = predictor.describe_places(&images, &[places.clone(), vec![]]).unwrap();
        for (place, together) in places.into_iter().zip(&together[0]) {
            let bounds = place.bounds();
            let alone = predictor.describe_places(&images, &[vec![place], vec![]]).unwrap();
            assert_eq!((&alone[0][0].caption, bounds), (&together.caption, together.region));
            assert!((alone[0][0].score - together.score).abs() < 1e-4);
        }
        for bad in [
            Place::Points { positive: vec![], negative: vec![at(0.5, 0.5)] },
            Place::Points { positive: vec![at(0.5, 1.5)], negative: vec![] },
            Place::Trace(vec![]),
            Place::Trace(vec![at(f32::NAN, 0.5)]),
        ] {
            let error = predictor.describe_places(&images, &[vec![bad], vec![]]).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{error:?}");
        }
    }

    #[test]
    fn regions_without_anything_of_the_image_are_refused() {
        let predictor = testing::predictor().unwrap();
        let images = testing::images(&predictor).unwrap();
        for bad in [
            BoundingBox::new(0.5, 0.5, 0.5, 0.9),
            BoundingBox::new(0.9, 0.0, 0.1, 1.0),
            BoundingBox::new(1.0, 0.0, 2.0, 1.0),
            BoundingBox::new(0.0, 0.0, f32::NAN, 1.0),
        ] {
            let error = predictor.describe(&images, &[vec![bad], vec![]]).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{error:?}");
        }
        let error = predictor.describe(&images, &[vec![]]).unwrap_err();
        assert_eq!(error.to_string(), "1 lists of prompts for 2 images");
    }
}

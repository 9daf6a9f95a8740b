//! How well the words of an image's narratives are placed, and whether they lie in what they name.

use super::mean;
use super::point::{ImagesWithoutPlaces, PointErrors, WordPoints};
use super::sample_set::SampleSet;
use crate::geometry::mask::Mask;
use crate::geometry::{BoundingBox, Point};

/// Scores of an image with a word that has a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordPlaces {
    /// Mean of the published error over its words.
    pub point_l1: f64,
    /// Mean IoU of the boxes around the predicted and the annotated points of a word.
    pub box_iou: f64,
    /// Words that name an object.
    pub num_naming: usize,
    /// Of these, those with the centre of their predicted points in it.
    pub num_grounded: usize,
}

/// The images so far, by their id.
pub type WordPlaceSet<I> = SampleSet<I, WordPlaces>;

impl WordPlaces {
    /// Of the words of an image of `width × height` pixels, each with the object that it names, if it names
    /// one. `None` where no word has a place.
    pub fn of_image(
        words: &[(WordPoints, Option<&Mask>)],
        width: f32,
        height: f32,
    ) -> Option<Self> {
        let (mut ious, mut num_naming, mut num_grounded) = (Vec::new(), 0, 0);
        for (word, named) in words.iter().filter(|(word, _)| word.has_place()) {
            let (predicted, reference) = (around(&word.predicted), around(&word.reference));
            ious.extend(predicted.zip(reference).map(|(a, b)| f64::from(a.iou(b))));
            if let Some(object) = named {
                let center = predicted.map(BoundingBox::center);
                num_naming += 1;
                num_grounded += usize::from(center.is_some_and(|at| object.contains(at)));
            }
        }
        let mut errors = PointErrors::new(ImagesWithoutPlaces::LeftOut);
        errors.add_image(words.iter().map(|(word, _)| word), width, height);
        let (point_l1, box_iou) = (errors.mean()?, mean(ious)?);
        Some(Self { point_l1, box_iou, num_naming, num_grounded })
    }
}

/// The smallest box around points; `None` around none.
fn around(points: &[Point]) -> Option<BoundingBox> {
    let boxes = points.iter().map(|&point| BoundingBox::around(point, point));
    boxes.reduce(|a, b| {
        let (least, most) = (f32::min, f32::max);
        BoundingBox::new(least(a.x0, b.x0), least(a.y0, b.y0), most(a.x1, b.x1), most(a.y1, b.y1))
    })
}

/// Scores of several images by name, in the order to be shown: means over the images, and recall over their
/// words that name an object, where there are some.
pub fn scores(images: &[&WordPlaces]) -> Vec<(String, f64)> {
    let of = |of: fn(&WordPlaces) -> f64| mean(images.iter().map(|one| of(one)));
    let mut scores = Vec::new();
    scores.extend(of(|one| one.point_l1).map(|value| ("point_l1".to_string(), value)));
    scores.extend(of(|one| one.box_iou).map(|value| ("word_box_iou".to_string(), value)));
    let sum = |of: fn(&WordPlaces) -> usize| images.iter().map(|one| of(one)).sum::<usize>();
    let num_naming = sum(|one| one.num_naming);
    if num_naming > 0 {
        let recall = sum(|one| one.num_grounded) as f64 / num_naming as f64;
        scores.push(("word_grounding_recall".to_string(), recall));
    }
    scores
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn recall_is_over_words_and_errors_over_images() {
        let word = |corner: f32, reference: f32| WordPoints {
            predicted: vec![Point { x: 0.0, y: 0.0 }, Point { x: corner, y: corner }],
            reference: vec![Point { x: 0.0, y: 0.0 }, Point { x: reference, y: reference }],
            is_word: true,
        };
        // 4 × 4 pixels, the upper left one inside.
        let mut pixels = [false; 16];
        pixels[0] = true;
        let object = Mask::from_pixels(&pixels, 4, 4).unwrap();
        let words = [(word(1.0, 1.0), Some(&object)), (word(4.0, 4.0), Some(&object))];
        let right = WordPlaces::of_image(&words, 4.0, 4.0).unwrap();
        assert_eq!((right.point_l1, right.box_iou), (0.0, 1.0));
        assert_eq!((right.num_grounded, right.num_naming), (1, 2));
        let far = WordPlaces::of_image(&[(word(2.0, 4.0), None)], 4.0, 4.0).unwrap();
        assert_eq!((far.box_iou, far.num_naming), (0.25, 0));
        let found: Vec<_> = scores(&[&right, &far]).into_iter().map(|(_, value)| value).collect();
        assert_eq!(found[1..], [0.625, 0.5]);
        assert_eq!(scores(&[&far]).len(), 2, "no word names an object");
        assert_eq!(WordPlaces::of_image(&[(word(1.0, 0.0), Some(&object))], 4.0, 4.0), None);
    }

    #[test]
    fn workers_find_what_one_finds_in_any_order() {
        let places = |id: usize| WordPlaces {
            point_l1: 1.0 / (id as f64 + 3.0),
            box_iou: id as f64 / 7.0,
            num_naming: id,
            num_grounded: id / 2,
        };
        let set = |ids: &[usize]| {
            WordPlaceSet::from(ids.iter().map(|&id| (id, places(id))).collect::<BTreeMap<_, _>>())
        };
        let scores_of = |set: &WordPlaceSet<usize>| {
            scores(&set.iter().map(|(_, places)| places).collect::<Vec<_>>())
        };
        let mut parts = set(&[5, 1]);
        assert_eq!(parts.merge(set(&[6, 0, 2])), Ok(()));
        assert_eq!(parts.merge(set(&[4, 3])), Ok(()));
        assert_eq!(parts.merge(set(&[3])), Err(3), "an image twice");
        assert_eq!(scores_of(&parts), scores_of(&set(&[0, 1, 2, 3, 4, 5, 6])));
    }
}

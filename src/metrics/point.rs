//! The reference's evaluator of the places of words, on points in pixels (`spec/metrics.md` §1).
//!
//! It is lenient: a predicted point may be near any of the reference's points of its word. The strict
//! distance of boxes is [`super::trace::TraceErrors::trace_error`].

use super::trace::point_l1;
use crate::geometry::Point;

/// Added to the number of words of an image, as the reference does.
const COUNT_EPSILON: f64 = 1e-8;

/// What an image is worth in which no word has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImagesWithoutPlaces {
    /// Nothing: it does not count.
    #[default]
    LeftOut,
    /// An error of 0, as in the reference: there it makes the mean smaller.
    WithoutError,
}

/// Points of one word of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct WordPoints {
    /// What is predicted, in pixels.
    pub predicted: Vec<Point>,
    /// Where it is, in pixels; all coordinates 0 where the word has no place.
    pub reference: Vec<Point>,
    /// Whether the word counts: not padding, and not masked.
    pub is_word: bool,
}

impl WordPoints {
    /// Whether it counts and has a place.
    pub fn has_place(&self) -> bool {
        self.is_word && self.reference.iter().any(|point| point.x > 0.0 || point.y > 0.0)
    }
}

/// Errors per image and their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct PointErrors {
    /// One per image that counts.
    pub per_image: Vec<f64>,
    without_places: ImagesWithoutPlaces,
}

impl PointErrors {
    /// No image yet.
    pub fn new(without_places: ImagesWithoutPlaces) -> Self {
        Self { per_image: Vec::new(), without_places }
    }

    /// An image of `width × height` pixels, without padding, with all its words.
    pub fn add_image<'a>(
        &mut self,
        words: impl IntoIterator<Item = &'a WordPoints>,
        width: f32,
        height: f32,
    ) {
        let normalised = |points: &[Point]| -> Vec<Point> {
            points.iter().map(|point| Point { x: point.x / width, y: point.y / height }).collect()
        };
        let (mut sum, mut count) = (0.0, 0.0);
        for word in words.into_iter().filter(|word| word.has_place()) {
            sum += point_l1(&normalised(&word.predicted), &normalised(&word.reference));
            count += 1.0;
        }
        if count > 0.0 || self.without_places == ImagesWithoutPlaces::WithoutError {
            self.per_image.push(sum / (count + COUNT_EPSILON));
        }
    }

    /// Adds the images of another worker behind those so far. Whoever gives them in the order of the images has
    /// the mean of one worker to the last digit.
    pub fn merge(&mut self, other: Self) {
        self.per_image.extend(other.per_image);
    }

    /// Mean over images; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        super::mean(self.per_image.iter().copied())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn word(predicted: [f32; 2], reference: [f32; 2], is_word: bool) -> WordPoints {
        let point = |[x, y]: [f32; 2]| vec![Point { x, y }];
        WordPoints { predicted: point(predicted), reference: point(reference), is_word }
    }

    #[test]
    fn masked_words_and_words_without_a_place_do_not_count() {
        let words = [
            // 2/20 to the right, 1/10 down.
            word([6.0, 3.0], [4.0, 2.0], true),
            word([20.0, 10.0], [0.0, 0.0], true),
            word([20.0, 10.0], [4.0, 2.0], false),
        ];
        let mut errors = PointErrors::new(ImagesWithoutPlaces::LeftOut);
        errors.add_image(&words, 20.0, 10.0);
        assert!((errors.mean().unwrap() - 0.1).abs() < 1e-7);
    }

    #[test]
    fn an_image_without_places_counts_only_as_in_the_reference() {
        let placed = [word([6.0, 3.0], [4.0, 2.0], true)];
        let mean = |without_places| {
            let mut errors = PointErrors::new(without_places);
            errors.add_image(&placed, 20.0, 10.0);
            errors.add_image(&[word([1.0, 1.0], [0.0, 0.0], true)], 20.0, 10.0);
            errors.mean().unwrap()
        };
        assert!((mean(ImagesWithoutPlaces::LeftOut) - 0.1).abs() < 1e-7);
        assert!((mean(ImagesWithoutPlaces::WithoutError) - 0.05).abs() < 1e-7);
        assert_eq!(PointErrors::new(ImagesWithoutPlaces::LeftOut).mean(), None);
    }

    #[test]
    fn parts_of_a_set_have_the_errors_of_the_whole() {
        let errors = |images: std::ops::Range<usize>| {
            let mut errors = PointErrors::new(ImagesWithoutPlaces::LeftOut);
            for index in images {
                let predicted = [index as f32 * 0.7, (index * index) as f32 / 3.0];
                errors.add_image(&[word(predicted, [4.0, 2.0], true)], 20.0, 10.0);
            }
            errors
        };
        let mut parts = PointErrors::new(ImagesWithoutPlaces::LeftOut);
        for part in [0..3, 3..3, 3..8, 8..11] {
            parts.merge(errors(part));
        }
        assert_eq!(parts, errors(0..11));
        assert_eq!(parts.mean(), errors(0..11).mean());
    }
}

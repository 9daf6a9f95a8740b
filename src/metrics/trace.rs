//! How far the words of a narrative are from where they were said.
//!
//! Every coordinate is normalised to the image. A "word" is a token of the text that has a reference
//! place; the errors of an image are means over its words, those of a split means over its images,
//! as the reference averages (`spec/metrics.md` §1). An image without such a word is left out; the
//! reference counts it with an error of 0.

use crate::geometry::{BoundingBox, Point};

/// A word with its predicted and its reference place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedWord {
    /// The two predicted corners, in any order.
    pub predicted: [Point; 2],
    /// Where it was said.
    pub reference: BoundingBox,
}

/// Errors of an image, or means of them over images; lower is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceErrors {
    /// Mean absolute difference of the four coordinates of the boxes, predicted corners sorted.
    pub trace_error: f64,
    /// Mean absolute difference of the two coordinates of the boxes' centres.
    pub center_error: f64,
    /// The lenient distance of the reference: see [`point_l1`].
    pub point_l1: f64,
}

impl TraceErrors {
    /// Errors of one image; `None` where no word has a place.
    pub fn of_image(words: &[PlacedWord]) -> Option<Self> {
        let of_words: Vec<Self> = words.iter().map(Self::of_word).collect();
        Self::mean(&of_words)
    }

    /// Mean over words or over images; `None` of none.
    pub fn mean(errors: &[Self]) -> Option<Self> {
        let mean = |of: fn(&Self) -> f64| super::mean(errors.iter().map(of));
        Some(Self {
            trace_error: mean(|errors| errors.trace_error)?,
            center_error: mean(|errors| errors.center_error)?,
            point_l1: mean(|errors| errors.point_l1)?,
        })
    }

    fn of_word(word: &PlacedWord) -> Self {
        let BoundingBox { x0, y0, x1, y1 } = word.reference;
        let corners = [Point { x: x0, y: y0 }, Point { x: x1, y: y1 }];
        let [first, second] = word.predicted;
        if [first.x, first.y, second.x, second.y].iter().any(|value| value.is_nan()) {
            // Sorting would drop the half of a corner that is no number.
            return Self { trace_error: f64::NAN, center_error: f64::NAN, point_l1: f64::NAN };
        }
        let predicted = BoundingBox::around(first, second);
        Self {
            trace_error: box_l1(predicted, word.reference),
            center_error: point_distance(predicted.center(), word.reference.center()),
            point_l1: point_l1(&word.predicted, &corners),
        }
    }
}

/// Mean absolute difference of four coordinates.
fn box_l1(a: BoundingBox, b: BoundingBox) -> f64 {
    let difference = |(a, b)| (f64::from(a) - f64::from(b)).abs();
    a.to_array().into_iter().zip(b.to_array()).map(difference).sum::<f64>() / 4.0
}

/// Mean absolute difference of two coordinates.
fn point_distance(a: Point, b: Point) -> f64 {
    let difference = |a, b| (f64::from(a) - f64::from(b)).abs();
    (difference(a.x, b.x) + difference(a.y, b.y)) / 2.0
}

/// Distance of each predicted point to the nearest reference point, averaged. Lenient: to predict
/// one corner twice may score well (`spec/metrics.md` §1, Quirk 1).
pub fn point_l1(predicted: &[Point], reference: &[Point]) -> f64 {
    let nearest = |point: &Point| {
        let distances = reference.iter().map(|other| point_distance(*point, *other));
        // `f64::min` would drop a coordinate that is no number.
        distances.fold(f64::INFINITY, |least, d| if d < least || d.is_nan() { d } else { least })
    };
    predicted.iter().map(nearest).sum::<f64>() / predicted.len() as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn point(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }

    #[test]
    fn errors_of_a_word_by_hand() {
        // Sorted, the prediction is (0.25, 0, 0.75, 0.5); its centre (0.5, 0.25).
        let word = PlacedWord {
            predicted: [point(0.75, 0.0), point(0.25, 0.5)],
            reference: BoundingBox::new(0.0, 0.0, 0.5, 1.0),
        };
        let errors = TraceErrors::of_image(&[word]).unwrap();
        close(errors.trace_error, (0.25 + 0.0 + 0.25 + 0.5) / 4.0);
        close(errors.center_error, (0.25 + 0.25) / 2.0);
        // (0.75, 0) is 0.375 from (0, 0) and 0.625 from (0.5, 1); (0.25, 0.5) 0.375 from both.
        close(errors.point_l1, 0.375);
    }

    #[test]
    fn images_count_the_same_however_many_words_they_have() {
        let reference = BoundingBox::UNIT;
        let right = PlacedWord { predicted: [point(0.0, 0.0), point(1.0, 1.0)], reference };
        let centre = PlacedWord { predicted: [point(0.5, 0.5); 2], reference };
        let images = [vec![right; 3], vec![centre], vec![]];
        let errors: Vec<_> =
            images.iter().filter_map(|words| TraceErrors::of_image(words)).collect();
        assert_eq!(errors.len(), 2, "an image without words has no error");
        let mean = TraceErrors::mean(&errors).unwrap();
        close(mean.trace_error, 0.25);
        close(mean.center_error, 0.0);
        assert_eq!(TraceErrors::mean(&[]), None);
    }

    #[test]
    fn the_same_corner_twice_is_lenient() {
        let corners = [point(0.0, 0.0), point(1.0, 1.0)];
        assert_eq!(point_l1(&[corners[0]; 2], &corners), 0.0);
        assert!(point_l1(&[point(f32::NAN, 0.0)], &corners).is_nan());
    }
}

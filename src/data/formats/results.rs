//! What models said beside what is right, in the layouts of the published evaluators: `pixelllm score` reads
//! them, and the golden files of those evaluators have them.
//!
//! A number may be `null`: so is read what Python writes as `NaN`. Who asks for it gets a problem in words.

use hotcoco::types::Segmentation;
use serde::Deserialize;

use super::{Id, decode_mask};
use crate::geometry::mask::{CocoMask, Mask};
use crate::geometry::{BoundingBox, Point};
use crate::metrics::dense_captions::Detection;
use crate::metrics::point::WordPoints;

/// References in the COCO format: captions or regions of images. Other fields are about other tasks.
#[derive(Debug, Deserialize)]
pub struct Annotations<A> {
    /// All images, also those without annotations; a file may do without the list.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Each about an image.
    pub annotations: Vec<A>,
}

/// An image in the COCO format.
#[derive(Debug, Deserialize)]
pub struct Image {
    /// Named by annotations and predictions.
    pub id: Id,
}

/// References in the COCO format: expressions, each about an image.
#[derive(Debug, Deserialize)]
pub struct Expressions {
    /// With their sizes, which masks have too.
    pub images: Vec<SizedImage>,
    /// The expressions.
    pub annotations: Vec<AnnotatedExpression>,
}

/// An image whose size counts.
#[derive(Debug, Deserialize)]
pub struct SizedImage {
    /// Named by annotations.
    pub id: Id,
    /// Pixels.
    pub height: u32,
    /// Pixels.
    pub width: u32,
}

/// A caption of an image, annotated or predicted.
#[derive(Debug, Deserialize)]
pub struct Caption {
    /// Its image.
    pub image_id: Id,
    /// Its text.
    pub caption: String,
}

/// A box: `[x, y, width, height]` in pixels.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Bbox([Option<f32>; 4]);

impl Bbox {
    /// Its four numbers.
    ///
    /// # Errors
    /// In words, where one is not finite.
    pub fn numbers(self) -> Result<[f32; 4], String> {
        match self.0.map(|value| value.filter(|value| value.is_finite())) {
            [Some(x), Some(y), Some(width), Some(height)] => Ok([x, y, width, height]),
            _ => Err("a coordinate of its box is not a finite number".to_string()),
        }
    }

    /// The box by its corners.
    ///
    /// # Errors
    /// As [`Self::numbers`].
    pub fn bounds(self) -> Result<BoundingBox, String> {
        let [x, y, width, height] = self.numbers()?;
        Ok(BoundingBox::from_xywh(x, y, width, height))
    }
}

/// A region with what is said about it.
#[derive(Debug, Deserialize)]
pub struct AnnotatedRegion {
    /// Its image.
    pub image_id: Id,
    /// Where.
    pub bbox: Bbox,
    /// What is said.
    pub caption: String,
}

/// A region that a model found.
#[derive(Debug, Deserialize)]
pub struct FoundRegion {
    /// Its image.
    pub image_id: Id,
    bbox: Bbox,
    score: Option<f32>,
    caption: String,
}

impl FoundRegion {
    /// As the metric reads it.
    ///
    /// # Errors
    /// In words, where a number is not finite.
    pub fn detection(&self) -> Result<Detection, String> {
        let bounds = self.bbox.numbers().map_err(|text| format!("a detection: {text}"))?;
        let score = self.score.filter(|score| score.is_finite());
        let score = score.ok_or("a score that is not a finite number")?;
        Ok(Detection { bounds, score, caption: self.caption.clone() })
    }
}

/// An expression with the place of what it names.
#[derive(Debug, Deserialize)]
pub struct AnnotatedExpression {
    /// Of the expression.
    pub id: Id,
    /// Its image.
    pub image_id: Id,
    /// Where.
    pub bbox: Bbox,
    segmentation: Option<Segmentation>,
}

impl AnnotatedExpression {
    /// The pixels of what it names; `None` where the file does not say.
    ///
    /// # Errors
    /// In words, where they cannot be decoded.
    pub fn mask(&self, image: &SizedImage) -> Result<Option<Mask>, String> {
        let segmentation = self.segmentation.as_ref();
        segmentation.map(|one| decode_mask(one, image.width, image.height)).transpose()
    }
}

/// Where a model sees what an expression names.
#[derive(Debug, Deserialize)]
pub struct LocatedExpression {
    /// Of the expression.
    pub id: Id,
    /// Where.
    pub bbox: Bbox,
    /// Which pixels, of the image's size.
    pub segmentation: Option<CocoMask>,
}

/// Points of a token, `[x, y]` in pixels. A single one may be written without a list around it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum TokenPoints {
    /// `[x, y]`
    One([Option<f32>; 2]),
    /// `[[x, y], …]`
    Many(Vec<[Option<f32>; 2]>),
}

impl TokenPoints {
    fn points(&self) -> Result<Vec<Point>, String> {
        let all = match self {
            Self::One(point) => std::slice::from_ref(point),
            Self::Many(points) => points,
        };
        let point = |point: &[Option<f32>; 2]| match *point {
            [Some(x), Some(y)] => Ok(Point { x, y }),
            _ => Err("a coordinate of a point is not a number".to_string()),
        };
        all.iter().map(point).collect()
    }
}

/// Whether a token counts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Truth {
    /// `true`, `false`
    Is(bool),
    /// Above 0 or not.
    Number(f64),
}

impl Truth {
    fn holds(&self) -> bool {
        match *self {
            Self::Is(truth) => truth,
            Self::Number(number) => number > 0.0,
        }
    }
}

/// Points of the tokens of an image, by text.
pub type TextPoints = [Vec<TokenPoints>];

/// Predicted beside annotated points, by text and token. A token counts where it is not 0, or where
/// `is_word` says so in its place.
///
/// # Errors
/// In words, where the lists differ in length or a coordinate is not a number.
pub fn words(
    predicted: &TextPoints,
    annotated: &TextPoints,
    tokens: &[Vec<i64>],
    is_word: Option<&[Vec<Truth>]>,
) -> Result<Vec<Vec<WordPoints>>, String> {
    let of_text = |(text, reference): (usize, &Vec<TokenPoints>)| {
        let differ = || "predicted and reference points differ in number".to_string();
        let predicted = predicted.get(text).ok_or_else(differ)?;
        if predicted.len() != reference.len() {
            return Err(differ());
        }
        let is_word: Option<Vec<bool>> = match is_word {
            Some(is_word) => is_word.get(text).map(|row| row.iter().map(Truth::holds).collect()),
            None => tokens.get(text).map(|row| row.iter().map(|&token| token > 0).collect()),
        };
        let is_word = is_word
            .filter(|row| row.len() == reference.len())
            .ok_or("tokens and reference points differ in number")?;
        let word = |((predicted, reference), is_word): ((&TokenPoints, &TokenPoints), bool)| {
            let (predicted, reference) = (predicted.points()?, reference.points()?);
            Ok(WordPoints { predicted, reference, is_word })
        };
        predicted.iter().zip(reference).zip(is_word).map(word).collect()
    };
    annotated.iter().enumerate().map(of_text).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_box_needs_four_numbers() {
        assert_eq!(Bbox([Some(1.0), Some(2.0), Some(3.0), Some(4.0)]).numbers().unwrap()[3], 4.0);
        for wrong in [None, Some(f32::INFINITY)] {
            assert!(Bbox([Some(1.0), wrong, Some(1.0), Some(1.0)]).numbers().is_err());
        }
    }

    #[test]
    fn every_token_needs_its_points() {
        let points = |text: &str| -> Vec<Vec<TokenPoints>> { serde_json::from_str(text).unwrap() };
        let (two, one) = (points("[[[1, 2], [[3, 4]]]]"), points("[[[1, 2]]]"));
        let found = words(&two, &two, &[vec![7, 0]], None).unwrap();
        assert_eq!(found[0].iter().map(|word| word.is_word).collect::<Vec<_>>(), [true, false]);
        assert_eq!(found[0][1].reference, [Point { x: 3.0, y: 4.0 }]);
        let masked = [vec![Truth::Is(false), Truth::Number(1.0)]];
        let found = words(&two, &two, &[], Some(&masked)).unwrap();
        assert_eq!(found[0].iter().map(|word| word.is_word).collect::<Vec<_>>(), [false, true]);
        assert!(words(&one, &two, &[vec![7, 0]], None).unwrap_err().contains("predicted"));
        assert!(words(&[], &two, &[vec![7, 0]], None).unwrap_err().contains("predicted"));
        assert!(words(&two, &two, &[vec![7]], None).unwrap_err().contains("tokens"));
        let null = points("[[[1, null]]]");
        assert!(words(&one, &null, &[vec![7]], None).unwrap_err().contains("not a number"));
    }
}

//! The answer of any task as one drawing.

use std::borrow::Cow;

use image::RgbImage;

use super::super::mask_overlay::masked;
use super::{
    Drawing, description_drawing, detections, location_drawing, narration_drawing, places,
};
use crate::error::Result;
use crate::tasks::{Answer, Description, Location, Place};

/// The drawing of an answer. What is told of several places of an image gets a number for each, as
/// detections do. `asked`: the places of *describe*, in the order of the descriptions; of a point or a
/// trace alone, it is drawn itself, else the box around it.
///
/// # Errors
/// [`Error::Usage`](crate::Error::Usage) where the image has no pixels, or a mask does not decode.
pub fn answer(image: &RgbImage, answer: &Answer, asked: &[Place]) -> Result<Drawing> {
    match answer {
        Answer::Narrate { narration } => narration_drawing(image, narration),
        Answer::Describe { descriptions } => match (&descriptions[..], asked) {
            ([description], [place]) => places::drawing(image, description, place),
            ([description], _) => description_drawing(image, description),
            (several, _) => {
                let line = |one: &Description| (one.region, one.caption.clone());
                detections::numbered(image, &several.iter().map(line).collect::<Vec<_>>())
            }
        },
        Answer::Locate { locations } => match &locations[..] {
            [location] => location_drawing(image, location, None),
            several => {
                let line = |one: &Location| (one.bounds, one.expression.clone());
                let lines: Vec<_> = several.iter().map(line).collect();
                let masked = with_masks(image, several)?;
                detections::numbered(&masked, &lines)
            }
        },
        Answer::Detect { detections } => detections::drawing(image, detections),
    }
}

/// The image with the pixels of every mask tinted.
fn with_masks<'a>(image: &'a RgbImage, locations: &[Location]) -> Result<Cow<'a, RgbImage>> {
    let masks = locations.iter().filter_map(|location| location.mask.as_ref());
    masks
        .into_iter()
        .try_fold(Cow::Borrowed(image), |image, mask| Ok(Cow::Owned(masked(&image, mask)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::geometry::BoundingBox;
    use crate::report::palette;

    #[test]
    fn several_places_have_numbers_and_one_has_none() {
        let image = RgbImage::from_pixel(64, 64, Rgb([90; 3]));
        let location = |text: &str, x: f32| {
            Location::new(text.into(), BoundingBox::new(x, 0.25, x + 0.25, 0.5))
        };
        let drawn = |locations: Vec<Location>| {
            answer(&image, &Answer::Locate { locations }, &[]).unwrap().svg().unwrap()
        };
        let one = drawn(vec![location("the star", 0.25)]);
        assert!(one.contains("star") && one.contains(&palette::ANSWER.to_string()), "{one}");
        let two = drawn(vec![location("the star", 0.0), location("the ring", 0.5)]);
        assert!(two.contains("star") && two.contains("ring"), "{two}");
        for index in 0..2 {
            // Outline, label, and three words below.
            let color = palette::word(index, 2).to_string();
            assert_eq!(two.matches(&color).count(), 5, "{two}");
        }
    }
}

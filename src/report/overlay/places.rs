//! Places that were pointed at: points and traces.

use image::RgbImage;
use maud::{Markup, html};

use super::{Canvas, Drawing, PLAIN, trace, words_of};
use crate::error::Result;
use crate::geometry::{BoundingBox, Point};
use crate::report::palette::{self, Color};
use crate::tasks::{Description, Place};

/// A place as it was pointed at, and its caption.
pub fn description_of(
    image: &RgbImage,
    description: &Description,
    place: &Place,
) -> Result<RgbImage> {
    drawing(image, description, place)?.rasterize()
}

pub(super) fn drawing(
    image: &RgbImage,
    description: &Description,
    place: &Place,
) -> Result<Drawing> {
    let (positive, negative) = match place {
        Place::Box(_) => return super::description_drawing(image, description),
        Place::Points { positive, negative } => (positive, &negative[..]),
        Place::Trace(line) => (line, &[][..]),
    };
    let at = |points: &[Point]| -> Vec<BoundingBox> {
        points.iter().map(|&point| BoundingBox::around(point, point)).collect()
    };
    let (positive, negative) = (at(positive), at(negative));
    let words = words_of(&description.caption, PLAIN);
    Drawing::new(image, &words, |canvas| match place {
        Place::Trace(_) => trace(canvas, &positive),
        _ => html! {
            (dots(canvas, &positive, palette::ANSWER))
            (dots(canvas, &negative, palette::REFERENCE))
        },
    })
}

/// The centres of boxes.
fn dots(canvas: &Canvas, bounds: &[BoundingBox], color: Color) -> Markup {
    let centers = bounds.iter().filter_map(|one| canvas.center(*one));
    html! {
        @for center in centers {
            circle cx=(center.x) cy=(center.y) r="5" stroke="#000000" stroke-opacity="0.6"
                fill=(color) {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Rgb;

    use super::*;

    const GREY: Rgb<u8> = Rgb([90, 90, 90]);

    #[test]
    fn points_are_drawn_where_they_were_given_each_kind_in_its_colour() {
        let at = |x: f32, y: f32| Point { x, y };
        let described = |place: &Place| {
            let region = place.bounds();
            let answer = Description {
                region,
                caption: "it".into(),
                words: Vec::new(),
                tokens: Vec::new(),
                token_log_probs: Vec::new(),
                score: 0.0,
            };
            description_of(&RgbImage::from_pixel(512, 512, GREY), &answer, place).unwrap()
        };
        let points = Place::Points { positive: vec![at(0.25, 0.5)], negative: vec![at(0.75, 0.5)] };
        let drawn = described(&points);
        assert_eq!(*drawn.get_pixel(128, 256), palette::ANSWER.rgb());
        assert_eq!(*drawn.get_pixel(384, 256), palette::REFERENCE.rgb());
        assert_eq!(*drawn.get_pixel(256, 256), GREY);
        let drawn = described(&Place::Trace(vec![at(0.25, 0.5), at(0.75, 0.5)]));
        assert_ne!(*drawn.get_pixel(256, 256), GREY, "the line between them");
    }
}

//! What was found in an image: every box in a colour of its own, with a number; below, the captions in
//! the same colours with the same numbers.

use image::RgbImage;
use maud::{Markup, PreEscaped, html};

use super::super::canvas::Canvas;
use super::super::palette;
use super::super::text::ColoredText;
use super::{Drawing, PANEL, QUIET, outline, words_of};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::tasks::Detection;

/// Height of a box's label, as a share of the picture's width (20 px of 512).
const LABEL_SHARE: f32 = 20.0 / 512.0;
/// Width of a digit of a label, as a share of its height.
const DIGIT_SHARE: f32 = 0.65;

/// Boxes and their captions.
pub fn detections(image: &RgbImage, found: &[Detection]) -> Result<RgbImage> {
    drawing(image, found)?.rasterize()
}

/// [`detections`] as SVG.
pub fn detections_svg(image: &RgbImage, found: &[Detection]) -> Result<String> {
    drawing(image, found)?.svg()
}

pub(super) fn drawing(image: &RgbImage, found: &[Detection]) -> Result<Drawing> {
    let line = |one: &Detection| (one.bounds, format!("{} {:.2}", one.caption, one.score));
    numbered(image, &found.iter().map(line).collect::<Vec<_>>())
}

/// Boxes, normalised to the image, with a number each, and the lines that belong to them.
pub(super) fn numbered(image: &RgbImage, boxes: &[(BoundingBox, String)]) -> Result<Drawing> {
    let count = boxes.len();
    let mut words: Vec<ColoredText> = Vec::new();
    for (index, (_, line)) in boxes.iter().enumerate() {
        let line = format!("{} {line}", index + 1);
        words.extend(words_of(&line, palette::word(index, count)));
    }
    if boxes.is_empty() {
        words = words_of("nothing was found", QUIET);
    }
    Drawing::new(image, &words, |canvas| {
        html! {
            // The surest last, so that nothing hides it.
            @for (index, (bounds, _)) in boxes.iter().enumerate().rev() {
                (outline(canvas, *bounds, palette::word(index, count), None))
                (label(canvas, *bounds, index, count))
            }
        }
    })
}

/// The number of a box, in its top left corner.
fn label(canvas: &Canvas, bounds: BoundingBox, index: usize, count: usize) -> Markup {
    let Some(bounds) = canvas.outline(bounds) else { return PreEscaped(String::new()) };
    let number = (index + 1).to_string();
    let height = (canvas.width * LABEL_SHARE).round().max(12.0);
    let width = (height * DIGIT_SHARE * (number.len() as f32 + 0.5)).round();
    html! {
        rect x=(bounds.x0) y=(bounds.y0) width=(width) height=(height)
            fill=(palette::word(index, count)) {}
        text x=(bounds.x0 + width / 2.0) y=(bounds.y0 + height * 0.8) font-size=(height * 0.85)
            text-anchor="middle" fill=(PANEL) { (number) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Rgb;

    use super::*;

    fn found(bounds: [f32; 4], caption: &str) -> Detection {
        let [x0, y0, x1, y1] = bounds;
        let bounds = BoundingBox::new(x0, y0, x1, y1);
        Detection {
            bounds,
            point: bounds.center(),
            score: 0.75,
            caption: caption.into(),
            words: Vec::new(),
            tokens: Vec::new(),
            log_prob: -0.5,
        }
    }

    #[test]
    fn every_box_has_its_number_and_its_caption_in_its_colour() {
        let image = RgbImage::from_pixel(64, 64, Rgb([90, 90, 90]));
        let all = [found([0.1, 0.1, 0.4, 0.4], "a red <circle>"), found([0.5, 0.5, 0.9, 0.9], "b")];
        let svg = detections_svg(&image, &all).unwrap();
        assert!(svg.contains("0.75") && svg.contains("&lt;circle&gt;"), "{svg}");
        for index in 0..2 {
            // Outline, label, and the words below.
            let color = palette::word(index, 2).to_string();
            assert!(svg.matches(&color).count() >= 4, "{index}");
        }
        let drawn = detections(&image, &all).unwrap();
        let pixel = *drawn.get_pixel((0.1 * 512.0) as u32 + 4, (0.1 * 512.0) as u32 + 4);
        assert_eq!(pixel, palette::word(0, 2).rgb(), "the label of the first box");
        let svg = detections_svg(&image, &[]).unwrap();
        assert!(svg.contains("nothing"), "{svg}");
    }

    #[test]
    fn a_box_that_is_no_number_is_said_and_not_drawn() {
        let image = RgbImage::from_pixel(64, 64, Rgb([90, 90, 90]));
        let svg = detections_svg(&image, &[found([f32::NAN, 0.0, 1.0, 1.0], "lost")]).unwrap();
        assert!(svg.contains("lost") && !svg.contains("NaN"), "{svg}");
    }
}

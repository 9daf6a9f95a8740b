//! Pictures of answers: boxes and traces over the image, the words below it.
//!
//! A picture is one drawing, either written as SVG or rasterised from it, so both agree.

mod answers;
mod detections;
mod places;

use std::sync::Arc;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use maud::{Markup, PreEscaped, html};
use resvg::{tiny_skia, usvg};

pub use answers::answer;
pub use detections::{detections, detections_svg};
pub use places::description_of;

use super::canvas::Canvas;
use super::data_uri::png_data_uri;
use super::mask_overlay::masked;
use super::palette::{self, Color};
use super::text::{ColoredText, FONT_FAMILY, FONTS, Paragraph, paragraph};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::tasks::{Description, Location, Narration};

/// Images are enlarged until their long side has this many pixels …
const SMALLEST_LONG_SIDE_PX: u32 = 512;
/// … and made smaller until it has no more than this many.
const LARGEST_LONG_SIDE_PX: u32 = 1024;
/// A tall, thin picture still has this much room for its words.
const SMALLEST_WIDTH_PX: u32 = 320;
/// Width of a box's line; even, so that whole coordinates make it sharp.
const LINE_PX: f32 = 2.0;
/// Font size, as a share of the picture's width (17 px of 512).
const FONT_SHARE: f32 = 17.0 / 512.0;
/// Background of the words.
const PANEL: Color = Color([0x16, 0x18, 0x1d]);
/// Text that belongs to no word.
const QUIET: Color = Color([0x9a, 0xa1, 0xac]);
/// Text that answers.
const PLAIN: Color = Color([0xf2, 0xf3, 0xf5]);

/// A narration: each word's box and centre in its own colour, the centres joined in the order of the
/// words, and the words below in the same colours.
pub fn narration(image: &RgbImage, narration: &Narration) -> Result<RgbImage> {
    narration_drawing(image, narration)?.rasterize()
}

/// [`narration`] as SVG.
pub fn narration_svg(image: &RgbImage, narration: &Narration) -> Result<String> {
    narration_drawing(image, narration)?.svg()
}

/// A region and its caption.
pub fn description(image: &RgbImage, description: &Description) -> Result<RgbImage> {
    description_drawing(image, description)?.rasterize()
}

/// [`description`] as SVG.
pub fn description_svg(image: &RgbImage, description: &Description) -> Result<String> {
    description_drawing(image, description)?.svg()
}

/// An expression's box, and its mask where there is one; the annotated box dashed, where there is one
/// (normalised to the image).
pub fn location(
    image: &RgbImage,
    location: &Location,
    reference: Option<BoundingBox>,
) -> Result<RgbImage> {
    location_drawing(image, location, reference)?.rasterize()
}

/// [`location`] as SVG.
pub fn location_svg(
    image: &RgbImage,
    location: &Location,
    reference: Option<BoundingBox>,
) -> Result<String> {
    location_drawing(image, location, reference)?.svg()
}

fn narration_drawing(image: &RgbImage, narration: &Narration) -> Result<Drawing> {
    let count = narration.words.len();
    let words = narration
        .words
        .iter()
        .enumerate()
        .map(|(i, word)| ColoredText { text: word.text.clone(), color: palette::word(i, count) });
    Drawing::new(image, &words.collect::<Vec<_>>(), |canvas| {
        let bounds: Vec<_> = narration.words.iter().map(|w| w.bounds).collect();
        html! {
            @for (i, bounds) in bounds.iter().enumerate() {
                (outline(canvas, *bounds, palette::word(i, count), None))
            }
            (trace(canvas, &bounds))
        }
    })
}

fn description_drawing(image: &RgbImage, description: &Description) -> Result<Drawing> {
    let words = words_of(&description.caption, PLAIN);
    Drawing::new(image, &words, |canvas| outline(canvas, description.region, palette::ANSWER, None))
}

fn location_drawing(
    image: &RgbImage,
    location: &Location,
    reference: Option<BoundingBox>,
) -> Result<Drawing> {
    let mut words = words_of(&location.expression, PLAIN);
    if let Some(reference) = reference {
        let iou = format!("(IoU {:.2}; annotated box dashed)", location.bounds.iou(reference));
        words.extend(words_of(&iou, QUIET));
    }
    let masked = location.mask.as_ref().map(|mask| masked(image, mask)).transpose()?;
    Drawing::new(masked.as_ref().unwrap_or(image), &words, |canvas| {
        html! {
            (outline(canvas, location.bounds, palette::ANSWER, None))
            @if let Some(reference) = reference {
                (outline(canvas, reference, palette::REFERENCE, Some("8 6")))
            }
        }
    })
}

fn words_of(text: &str, color: Color) -> Vec<ColoredText> {
    text.split_whitespace().map(|word| ColoredText { text: word.into(), color }).collect()
}

/// A box's line, with a dark one under it that sets it off from a bright image.
fn outline(canvas: &Canvas, bounds: BoundingBox, color: Color, dashes: Option<&str>) -> Markup {
    let Some(b) = canvas.outline(bounds) else { return PreEscaped(String::new()) };
    let (x, y, width, height) = (b.x0, b.y0, b.width(), b.height());
    html! {
        rect x=(x) y=(y) width=(width) height=(height) fill="none" stroke="#000000"
            stroke-opacity="0.4" stroke-width=(LINE_PX + 2.0) {}
        rect x=(x) y=(y) width=(width) height=(height) fill="none" stroke=(color)
            stroke-width=(LINE_PX) stroke-dasharray=[dashes] {}
    }
}

/// Centres of the words, joined in their order; each stretch has the colour half-way between its ends.
fn trace(canvas: &Canvas, bounds: &[BoundingBox]) -> Markup {
    let centers: Vec<_> =
        bounds.iter().enumerate().filter_map(|(i, b)| Some((i, canvas.center(*b)?))).collect();
    let last = bounds.len().saturating_sub(1).max(1) as f64;
    html! {
        @for pair in centers.windows(2) {
            @if let [(i, from), (j, to)] = pair {
                line x1=(from.x) y1=(from.y) x2=(to.x) y2=(to.y) stroke-width=(LINE_PX)
                    stroke=(palette::at((i + j) as f64 / 2.0 / last)) stroke-opacity="0.85" {}
            }
        }
        @for (i, center) in &centers {
            circle cx=(center.x) cy=(center.y) r="5" stroke="#000000" stroke-opacity="0.6"
                fill=(palette::word(*i, bounds.len())) {}
        }
    }
}

/// The image, what is drawn over it, and the words below.
#[derive(Debug)]
pub struct Drawing {
    image: RgbImage,
    width: u32,
    height: u32,
    marks: Markup,
}

impl Drawing {
    fn new(
        image: &RgbImage,
        words: &[ColoredText],
        marks: impl FnOnce(&Canvas) -> Markup,
    ) -> Result<Self> {
        let image = legible(image)?;
        let width = image.width().max(SMALLEST_WIDTH_PX);
        let size = (width as f32 * FONT_SHARE).round().max(12.0);
        let margin = size * 0.75;
        let below = paragraph(words, size, width as f32 - 2.0 * margin);
        let panel = if below.words.is_empty() { 0 } else { (below.height + margin) as u32 };
        let canvas = Canvas {
            width: image.width() as f32,
            height: image.height() as f32,
            inset: LINE_PX / 2.0,
        };
        let marks = html! {
            (marks(&canvas))
            (text_panel(&below, size, margin, image.height() as f32 + margin / 2.0))
        };
        Ok(Self { width, height: image.height() + panel, image, marks })
    }

    /// The drawing as an SVG file of its own.
    ///
    /// # Errors
    /// [`Error::Compute`] where the image cannot be encoded.
    pub fn svg(&self) -> Result<String> {
        Ok(self.document(html! {
            rect width="100%" height="100%" fill=(PANEL) {}
            image width=(self.image.width()) height=(self.image.height())
                href=(png_data_uri(&self.image)?) {}
        }))
    }

    fn document(&self, background: Markup) -> String {
        html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(self.width) height=(self.height)
                viewBox={ "0 0 " (self.width) " " (self.height) } font-family=(FONT_FAMILY) {
                (background)
                (self.marks)
            }
        }
        .into_string()
    }

    /// The drawing as pixels. The image is copied pixel by pixel, the rest drawn over it.
    ///
    /// # Errors
    /// [`Error::Compute`] where it cannot be drawn.
    pub fn rasterize(&self) -> Result<RgbImage> {
        let mut page = RgbImage::from_pixel(self.width, self.height, PANEL.rgb());
        imageops::replace(&mut page, &self.image, 0, 0);
        let options = usvg::Options { fontdb: Arc::clone(&FONTS), ..usvg::Options::default() };
        let tree = usvg::Tree::from_str(&self.document(html! {}), &options).map_err(cannot_draw)?;
        let mut marks = tiny_skia::Pixmap::new(self.width, self.height)
            .ok_or_else(|| cannot_draw("the picture is too large"))?;
        resvg::render(&tree, tiny_skia::Transform::identity(), &mut marks.as_mut());
        for (under, over) in page.pixels_mut().zip(marks.pixels()) {
            *under = blend(*under, *over);
        }
        Ok(page)
    }
}

fn text_panel(paragraph: &Paragraph, size: f32, left: f32, top: f32) -> Markup {
    html! {
        g transform={ "translate(" (left) " " (top) ")" } font-size=(size) {
            @for word in &paragraph.words {
                text x=(word.x) y=(word.y) fill=(word.color) { (word.text) }
            }
        }
    }
}

/// `over`, whose colour already carries its opacity, on `under`.
fn blend(under: Rgb<u8>, over: tiny_skia::PremultipliedColorU8) -> Rgb<u8> {
    let kept = 255 - u32::from(over.alpha());
    let mix = |under: u8, over: u8| {
        (u32::from(over) + (u32::from(under) * kept + 127) / 255).min(255) as u8
    };
    let Rgb([r, g, b]) = under;
    Rgb([mix(r, over.red()), mix(g, over.green()), mix(b, over.blue())])
}

/// The image at a size at which lines and words can be told apart.
fn legible(image: &RgbImage) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    let long_side = width.max(height);
    if width == 0 || height == 0 {
        return Err(Error::Usage {
            problem: format!("an image of {width}×{height} pixels cannot be drawn on"),
            help: "Give an image with at least one pixel.".into(),
        });
    }
    let wanted = long_side.clamp(SMALLEST_LONG_SIDE_PX, LARGEST_LONG_SIDE_PX);
    if wanted == long_side {
        return Ok(image.clone());
    }
    let scale = f64::from(wanted) / f64::from(long_side);
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    Ok(imageops::resize(image, scaled(width), scaled(height), FilterType::Triangle))
}

fn cannot_draw(cause: impl std::fmt::Display) -> Error {
    Error::Compute {
        problem: format!("an overlay could not be drawn: {cause}"),
        help: "Please report this with the image and the text it was about.".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

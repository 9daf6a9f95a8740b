//! Answers as lines to read.

use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;
use crate::tasks::{Answer, Description, Detection, ImageResult, LocatedMask, Location, Narration};

/// An answer as lines; boxes in pixels of the image.
pub(super) fn answer_text(result: &ImageResult) -> String {
    let size = [result.image.width as f32, result.image.height as f32];
    match &result.answer {
        Answer::Narrate { narration } => narrated(narration),
        Answer::Describe { descriptions } => match &descriptions[..] {
            [one] => one.caption.clone(),
            several => lines(several, |one| described(one, size)),
        },
        Answer::Locate { locations } => match &locations[..] {
            [one] => located(one, size),
            several => lines(several, |one| format!("{}: {}", one.expression, located(one, size))),
        },
        Answer::Detect { detections } => detected(detections, size),
    }
}

/// A line for each.
fn lines<T>(all: &[T], line: impl Fn(&T) -> String) -> String {
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The caption, then a line per word with its box as percentages of the image.
fn narrated(narration: &Narration) -> String {
    let width = narration.words.iter().map(|word| word.text.chars().count()).max().unwrap_or(0);
    let words = lines(&narration.words, |word| {
        let [x0, y0, x1, y1] = word.bounds.to_array().map(|value| value * 100.0);
        format!("{:<width$}  x {x0:>4.0}–{x1:<3.0} y {y0:>4.0}–{y1:<3.0} %", word.text)
    });
    format!("{}\n\n{words}", narration.caption)
}

fn described(one: &Description, size: [f32; 2]) -> String {
    format!("{}: {}", corners(one.region, size), one.caption)
}

fn located(one: &Location, size: [f32; 2]) -> String {
    let corners = corners(one.bounds, size);
    let mask = one.mask.as_ref().map(|mask| format!("\n{}", masked(mask)));
    format!("{corners} (left, top, right, bottom in pixels){}", mask.unwrap_or_default())
}

/// How large a mask is, and how good it is thought to be.
fn masked(mask: &LocatedMask) -> String {
    let [height, width] = mask.segmentation.size;
    let pixels = Mask::try_from(&mask.segmentation).map_or(0, |mask| mask.area());
    let total = u64::from(width) * u64::from(height);
    format!(
        "mask of {pixels} of {total} pixels, expected IoU with the true one {:.2}",
        mask.predicted_iou
    )
}

/// A line per box: number, score, corners in pixels of the image, caption.
fn detected(found: &[Detection], size: [f32; 2]) -> String {
    if found.is_empty() {
        return "nothing was found".into();
    }
    let line = |(index, one): (usize, &Detection)| {
        let (number, corners) = (index + 1, corners(one.bounds, size));
        format!("{number:>3}  {:.2}  {corners}  {}", one.score, one.caption)
    };
    found.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// Left, top, right and bottom edge in pixels.
fn corners(bounds: BoundingBox, [width, height]: [f32; 2]) -> String {
    bounds.scale(width, height).to_array().map(|value| format!("{value:.1}")).join(",")
}

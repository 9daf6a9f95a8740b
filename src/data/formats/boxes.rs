//! Boxes in pixels → boxes normalised to their image, and what is wrong with them.

use std::fmt::Display;

use super::skipped::{Fault, Place, Reason, Skipped};
use crate::data::image_file::MAX_SIDE_PX;
use crate::error::Result;
use crate::geometry::BoundingBox;

/// Boxes may reach out of their image by so much, in pixels, without a word: annotators' boxes are
/// rounded.
const ROUNDING_PX: f64 = 1.0;

/// Refuses images without pixels, and those that are larger than any that is decoded.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), Fault> {
    let message = || format!("{width} × {height} pixels");
    if width == 0 || height == 0 {
        return Err(Fault::new(Reason::NoPixels, message()));
    }
    if width > MAX_SIDE_PX || height > MAX_SIDE_PX {
        let message = format!("{}; at most {MAX_SIDE_PX} a side are decoded", message());
        return Err(Fault::new(Reason::AbsurdSize, message));
    }
    Ok(())
}

/// The part of a box inside its image, normalised to the image of `width × height` pixels. A box that
/// reaches out is noted.
///
/// `xywh`: left, top, width and height in pixels; `None` where there was no number.
pub(super) fn region(
    xywh: &[Option<f64>],
    (width, height): (u32, u32),
    place: Place<'_>,
    skipped: &mut Skipped,
) -> Result<BoundingBox, Fault> {
    let (bounds, overhang) = normalised(xywh, width, height)?;
    if overhang > ROUNDING_PX {
        let message = format!("by {overhang:.1} pixels");
        skipped.note(place, Fault::new(Reason::ClippedBox, message));
    }
    Ok(bounds)
}

/// The part of a box inside its image, normalised to the image, and how far the box reaches out of
/// it (pixels; negative where it does not).
fn normalised(xywh: &[Option<f64>], width: u32, height: u32) -> Result<(BoundingBox, f64), Fault> {
    let says = |reason, what: &dyn Display| Fault::new(reason, what.to_string());
    let &[Some(x), Some(y), Some(w), Some(h)] = xywh else {
        let numbers = xywh.iter().map(|v| v.map_or("not a number".to_string(), |v| v.to_string()));
        let numbers: Vec<_> = numbers.collect();
        return Err(says(Reason::BrokenBox, &format!("bbox [{}]", numbers.join(", "))));
    };
    let shown = format!("bbox [{x}, {y}, {w}, {h}] in {width} × {height} pixels");
    if w <= 0.0 || h <= 0.0 {
        return Err(says(Reason::EmptyBox, &shown));
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let overhang = (-x).max(-y).max(x + w - width).max(y + h - height);
    if !overhang.is_finite() {
        return Err(says(Reason::BrokenBox, &shown));
    }
    let along = |v: f64, length: f64| (v / length).clamp(0.0, 1.0) as f32;
    let bounds = BoundingBox::new(
        along(x, width),
        along(y, height),
        along(x + w, width),
        along(y + h, height),
    );
    match bounds.is_valid() {
        true => Ok((bounds, overhang)),
        // Thinner than single precision can tell.
        false if overhang <= 0.0 => Err(says(Reason::EmptyBox, &shown)),
        false => Err(says(Reason::BoxOutside, &shown)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_images_that_can_be_decoded() {
        assert!(check_size(1, MAX_SIDE_PX).is_ok());
        assert_eq!(check_size(0, 5).unwrap_err().reason, Reason::NoPixels);
        let fault = check_size(1_000_000, 5).unwrap_err();
        assert_eq!(fault.reason, Reason::AbsurdSize);
        assert_eq!(fault.message, "1000000 × 5 pixels; at most 16384 a side are decoded");
    }
}

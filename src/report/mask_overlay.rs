//! Masks over a picture: the pixels inside are tinted.

use image::{Rgb, RgbImage};

use super::palette;
use crate::error::{Error, Result};
use crate::geometry::mask::Mask;
use crate::tasks::LocatedMask;

/// How much of a tinted pixel is the colour of answers, of 255: enough to see it on any picture, and
/// the picture through it.
const TINT: u16 = 140;

/// The picture with the pixels of `mask` tinted. A mask of another size than the picture is stretched
/// over it.
///
/// # Errors
/// [`Error::Usage`] where the mask does not decode.
pub(super) fn masked(image: &RgbImage, mask: &LocatedMask) -> Result<RgbImage> {
    let mask = Mask::try_from(&mask.segmentation).map_err(|problem| Error::Usage {
        problem: format!("the mask cannot be drawn: {problem}"),
        help: "Give a mask as COCO writes it.".into(),
    })?;
    let (inside, palette::Color(tint)) = (mask.pixels(), palette::ANSWER);
    let nearest = |at: u32, to: u32, from: u32| u64::from(at) * u64::from(from) / u64::from(to);
    let mut picture = image.clone();
    let (width, height) = image.dimensions();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (nearest(x, width, mask.width()), nearest(y, height, mask.height()));
        let at = (y * u64::from(mask.width()) + x) as usize;
        if inside.get(at).copied().unwrap_or(false) {
            *pixel = tinted(*pixel, tint);
        }
    }
    Ok(picture)
}

fn tinted(Rgb(pixel): Rgb<u8>, tint: [u8; 3]) -> Rgb<u8> {
    let mix = |under: u8, over: u8| {
        // At most 255 · 255 / 255.
        ((u16::from(under) * (255 - TINT) + u16::from(over) * TINT) / 255) as u8
    };
    Rgb([mix(pixel[0], tint[0]), mix(pixel[1], tint[1]), mix(pixel[2], tint[2])])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::geometry::mask::CocoMask;

    fn located(pixels: &[bool], width: u32, height: u32) -> LocatedMask {
        let mask = Mask::from_pixels(pixels, width, height).unwrap();
        LocatedMask { segmentation: mask.to_coco(), predicted_iou: 0.5 }
    }

    #[test]
    fn pixels_inside_are_tinted_and_the_others_left() {
        let grey = Rgb([90; 3]);
        let image = RgbImage::from_pixel(4, 2, grey);
        let right = located(&[false, true], 2, 1);
        let picture = masked(&image, &right).unwrap();
        let inside = tinted(grey, palette::ANSWER.0);
        assert_ne!(inside, grey);
        for (x, _, pixel) in picture.enumerate_pixels() {
            assert_eq!(*pixel, if x < 2 { grey } else { inside });
        }
        assert_eq!(masked(&image, &located(&[false; 8], 4, 2)).unwrap(), image);
    }

    #[test]
    fn a_mask_that_is_none_is_refused() {
        let segmentation = CocoMask { size: [2, 4], counts: "zzzz".into() };
        let broken = LocatedMask { segmentation, predicted_iou: 0.0 };
        let error = masked(&RgbImage::new(4, 2), &broken).unwrap_err();
        assert!(error.to_string().contains("cannot be drawn"), "{error}");
    }
}

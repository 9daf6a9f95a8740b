//! An image file → the square canvas that the encoders see (`spec/data.md` §1.2).
//!
//! The longer side fills the canvas, the aspect is kept, the image lies in the top-left corner and
//! the rest is black. Boxes are held normalised to the image, so a box in pixels of the canvas is
//! the normalised box scaled by the un-padded size of the [`Canvas`].

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage};

use super::image_file::{DecodeConfig, HELP, MAX_SIDE_PX, open_rgb, to_rgb};
use super::placement::Placement;
use super::sample::ImageFile;
use crate::error::{Error, Result};

/// An image on a square canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    /// RGB interleaved, row by row: `side · side · 3` bytes, zero outside the image.
    pub pixels: Vec<u8>,
    /// Width of the image on the canvas, without padding, in pixels.
    pub width: u32,
    /// Height of the image on the canvas, without padding, in pixels.
    pub height: u32,
}

impl Canvas {
    /// Interleaved bytes → planes, `[3, S, S]`, 0–255.
    pub(crate) fn planes(&self) -> Vec<f32> {
        let mut planes = vec![0.0; self.pixels.len()];
        self.write_planes(&mut planes);
        planes
    }

    /// As [`Self::planes`], to a place that is there.
    pub(super) fn write_planes(&self, planes: &mut [f32]) {
        let (pixels, _) = self.pixels.as_chunks::<3>();
        let (red, rest) = planes.split_at_mut(pixels.len());
        let (green, blue) = rest.split_at_mut(pixels.len());
        for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
            let [r, g, b] = pixel.map(f32::from);
            (*red, *green, *blue) = (r, g, b);
        }
    }
}

/// Decodes an image file with the defaults and puts it on a canvas of `canvas_px × canvas_px`.
///
/// See [`super::image_file`] for what is decoded, [`from_image`] for the resizing.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] naming the file where it is empty,
/// no image, cut short, or larger than 16384 pixels a side or 89 million pixels.
pub fn load_canvas(image: impl Into<ImageFile>, canvas_px: usize) -> Result<Canvas> {
    load_canvas_with(image, canvas_px, &DecodeConfig::default())
}

/// As [`load_canvas`], decoded as `config` says.
///
/// # Errors
/// As [`load_canvas`], with the limit of `config`.
pub fn load_canvas_with(
    image: impl Into<ImageFile>,
    canvas_px: usize,
    config: &DecodeConfig,
) -> Result<Canvas> {
    fit(&open_rgb(image, config)?, canvas_px)
}

/// Puts a decoded image on a canvas of `canvas_px × canvas_px`.
///
/// The longer side becomes `canvas_px`, the shorter one keeps the aspect, rounded down and at least
/// one pixel. The reference resizes bilinearly *without* antialiasing (TensorFlow's default); as
/// images shrink a lot on the way to a small canvas, and single pixels would then be picked from
/// textures and outlines, we resize bilinearly *with* antialiasing: the filter widens with the
/// scale. Where images grow, both are the same.
///
/// # Errors
/// [`Error::Usage`] where the image or the canvas has no pixels, or the canvas is larger than 16384
/// pixels a side.
pub fn from_image(image: &DynamicImage, canvas_px: usize) -> Result<Canvas> {
    match image {
        DynamicImage::ImageRgb8(image) => fit(image, canvas_px),
        other => fit(&to_rgb(other.clone()), canvas_px),
    }
}

/// The whole of `image` on a canvas.
fn fit(image: &RgbImage, canvas_px: usize) -> Result<Canvas> {
    place(image, canvas_px, &Placement::fitted(image.dimensions(), canvas_side(image, canvas_px)?))
}

/// The side of a canvas that `image` can go on, in pixels.
///
/// # Errors
/// As [`from_image`].
pub(super) fn canvas_side(image: &RgbImage, canvas_px: usize) -> Result<u32> {
    let side = u32::try_from(canvas_px).ok().filter(|side| (1..=MAX_SIDE_PX).contains(side));
    match side {
        Some(side) if image.width() > 0 && image.height() > 0 => Ok(side),
        _ => Err(Error::Usage {
            problem: format!(
                "an image of {} × {} pixels does not go on a canvas of {canvas_px} × {canvas_px}",
                image.width(),
                image.height()
            ),
            help: format!("Images have pixels; canvases have 1 to {MAX_SIDE_PX} a side."),
        }),
    }
}

/// Puts `image` on a canvas as `placement` says.
///
/// # Errors
/// [`Error::Compute`] where it cannot be resized.
pub(super) fn place(image: &RgbImage, canvas_px: usize, placement: &Placement) -> Result<Canvas> {
    let (width, height) = placement.size();
    let mut rgb = resize(image, placement)?;
    if placement.is_flipped() {
        flip_rows(&mut rgb, width as usize);
    }
    Ok(Canvas { pixels: pad(&rgb, width, canvas_px), width, height })
}

/// The window of `placement`, `width · height · 3` bytes.
fn resize(image: &RgbImage, placement: &Placement) -> Result<Vec<u8>> {
    let (width, height) = placement.size();
    if placement.is_whole() && image.dimensions() == (width, height) {
        return Ok(image.as_raw().clone());
    }
    let cannot = |error: &dyn std::fmt::Display| Error::Compute {
        problem: format!("cannot resize an image to {width} × {height}: {error}"),
        help: HELP.to_string(),
    };
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|error| cannot(&error))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    if !placement.is_whole() {
        let [left, top, width, height] = placement.window_in(image.dimensions());
        options = options.crop(left, top, width, height);
    }
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| cannot(&error))?;
    Ok(target.into_vec())
}

/// Turns every row of `width` pixels around.
fn flip_rows(rgb: &mut [u8], width: usize) {
    for row in rgb.chunks_exact_mut(width * 3) {
        let (pixels, _) = row.as_chunks_mut::<3>();
        pixels.reverse();
    }
}

/// Rows of `width` pixels into the top-left corner of a square of `side` pixels.
fn pad(rgb: &[u8], width: u32, side: usize) -> Vec<u8> {
    let mut pixels = vec![0; side * side * 3];
    let rows = rgb.chunks_exact(width as usize * 3);
    for (to, from) in pixels.chunks_exact_mut(side * 3).zip(rows) {
        if let Some(to) = to.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
    }
    pixels
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{GrayImage, Luma, Rgb};

    use super::*;

    fn pixel(canvas: &Canvas, x: usize, y: usize) -> [u8; 3] {
        let side = (canvas.pixels.len() / 3).isqrt();
        let at = (y * side + x) * 3;
        canvas.pixels[at..at + 3].try_into().unwrap()
    }

    #[test]
    fn a_wide_image_lies_on_top_of_black() {
        let white = DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 20, Rgb([255; 3])));
        let canvas = from_image(&white, 8).unwrap();
        assert_eq!((canvas.width, canvas.height), (8, 4));
        let half = 8 * 4 * 3;
        assert_eq!(canvas.pixels.len(), 2 * half);
        assert!(canvas.pixels[..half].iter().all(|&v| v == 255));
        assert!(canvas.pixels[half..].iter().all(|&v| v == 0));
        let tall = from_image(&white.rotate90(), 8).unwrap();
        assert_eq!((tall.width, tall.height), (4, 8));
        assert_eq!([pixel(&tall, 3, 7), pixel(&tall, 4, 0)], [[255; 3], [0; 3]]);
    }

    #[test]
    fn an_image_of_the_size_of_the_canvas_is_unchanged() {
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([x as u8, y as u8, 7]));
        let canvas = from_image(&image.clone().into(), 4).unwrap();
        assert_eq!(canvas.pixels, image.into_raw());
    }

    #[test]
    fn shrinking_averages_and_does_not_pick_pixels() {
        let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 0 } else { 200 }]));
        let canvas = from_image(&stripes.into(), 8).unwrap();
        assert!(canvas.pixels.iter().all(|&v| (90..=110).contains(&v)), "{:?}", canvas.pixels);
    }

    #[test]
    fn nothing_does_not_go_on_a_canvas_nor_anything_on_nothing() {
        for nothing in [
            from_image(&GrayImage::new(0, 3).into(), 8),
            from_image(&GrayImage::new(3, 3).into(), 0),
        ] {
            assert!(matches!(nothing, Err(Error::Usage { .. })), "{nothing:?}");
        }
    }
}

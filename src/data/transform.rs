//! An image file → the square canvas that the encoders see (`spec/data.md` §1.2).
//!
//! The longer side fills the canvas, the aspect is kept, the image lies in the top-left corner and
//! the rest is black. Boxes are held normalised to the image, so a box in pixels of the canvas is
//! the normalised box scaled by the un-padded size of the [`Canvas`].

use std::fs;
use std::io::Cursor;
use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::error::{Error, Result};

/// Longest side of an image file that is decoded, in pixels.
const MAX_SIDE_PX: u32 = 16_384;

/// Most memory that one decoded image may take, in bytes; so much, too, a file may be long.
const MAX_BYTES: u64 = 256 << 20;

/// What a user can do about an image that cannot be used.
const HELP: &str =
    "Replace the file by a whole PNG or JPEG, or take its record out of the annotations.";

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

/// Decodes an image file and puts it on a canvas of `canvas_px × canvas_px`.
///
/// PNG and JPEG, told apart by content and not by name. Gray becomes RGB, 16 bits become 8,
/// transparent parts lie on black, and the orientation in EXIF is applied. See [`from_image`] for
/// the resizing.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] naming the file where it is empty,
/// no image, cut short, or larger than 16384 pixels a side or 256 MB decoded.
pub fn load_canvas(path: &Path, canvas_px: usize) -> Result<Canvas> {
    from_image(&decode(path)?, canvas_px)
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
    let side = u32::try_from(canvas_px).ok().filter(|side| (1..=MAX_SIDE_PX).contains(side));
    let (Some(side), true) = (side, image.width() > 0 && image.height() > 0) else {
        return Err(Error::Usage {
            problem: format!(
                "an image of {} × {} pixels does not go on a canvas of {canvas_px} × {canvas_px}",
                image.width(),
                image.height()
            ),
            help: format!("Images have pixels; canvases have 1 to {MAX_SIDE_PX} a side."),
        });
    };
    let (width, height) = fitted_size(image.width(), image.height(), side);
    let resized = resize(&on_black(image), width, height)?;
    Ok(Canvas { pixels: pad(&resized, width, canvas_px), width, height })
}

/// The size with the longer side at `side` and the shorter rounded down, at least 1 (pixels).
fn fitted_size(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = u64::from(width.max(height));
    let fit = |length: u32| {
        let scaled = u64::from(length) * u64::from(side) / longer;
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    (fit(width), fit(height))
}

/// 8-bit RGB; what is transparent lets black through.
fn on_black(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let rgba = image.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, alpha] = rgba.get_pixel(x, y).0;
        // Rounded to nearest; at most 255 · 255 / 255.
        image::Rgb([r, g, b].map(|c| ((u16::from(c) * u16::from(alpha) + 127) / 255) as u8))
    })
}

/// `width · height · 3` bytes.
fn resize(image: &RgbImage, width: u32, height: u32) -> Result<Vec<u8>> {
    if (image.width(), image.height()) == (width, height) {
        return Ok(image.as_raw().clone());
    }
    let cannot = |error: &dyn std::fmt::Display| Error::Compute {
        problem: format!("cannot resize an image to {width} × {height}: {error}"),
        help: HELP.to_string(),
    };
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|error| cannot(&error))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| cannot(&error))?;
    Ok(target.into_vec())
}

/// Rows of `width` pixels into the top-left corner of a square of `side` pixels.
fn pad(rgb: &[u8], width: u32, side: usize) -> Vec<u8> {
    let mut pixels = vec![0; side * side * 3];
    let rows = rgb.chunks_exact(width as usize * 3);
    for (to, from) in pixels.chunks_exact_mut(side * 3).zip(rows) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
    pixels
}

/// Decodes a PNG or JPEG file, turned as its EXIF orientation says.
fn decode(path: &Path) -> Result<DynamicImage> {
    let bytes = read(path)?;
    let broken = |problem: String| Error::format(path, problem, HELP);
    let mut reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(Error::io("read", path))?;
    let Some(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = reader.format() else {
        return Err(broken("this is no PNG or JPEG image, whatever its name says".to_string()));
    };
    if format == ImageFormat::Jpeg && is_cut_short(&bytes) {
        return Err(broken("the JPEG image is cut short: its end marker is missing".to_string()));
    }
    reader.limits(limits());
    let describe = |error: ImageError| match error {
        ImageError::Limits(_) => broken(too_large()),
        error => broken(format!("the image is damaged: {error}")),
    };
    let mut decoder = reader.into_decoder().map_err(describe)?;
    // The JPEG decoder does not count its output against the limit.
    limits().reserve(decoder.total_bytes()).map_err(describe)?;
    // An EXIF block that cannot be read says nothing about the orientation.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(describe)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The bytes of a file that may be an image.
fn read(path: &Path) -> Result<Vec<u8>> {
    let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
    match length {
        0 => Err(Error::format(path, "the image file is empty (0 bytes)", HELP)),
        1..=MAX_BYTES => fs::read(path).map_err(Error::io("read", path)),
        _ => Err(Error::format(path, too_large(), HELP)),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn too_large() -> String {
    format!("the image is larger than {MAX_SIDE_PX} pixels a side or {} MB", MAX_BYTES >> 20)
}

/// Whether the last end-of-image marker is missing, or a scan starts after it (the marker is then that
/// of a thumbnail). The decoder would fill what is missing with gray in silence. Compressed data
/// cannot contain a marker by chance: every `FF` in it is followed by `00`.
fn is_cut_short(jpeg: &[u8]) -> bool {
    let is_end = |pair: &[u8]| pair == [0xFF, 0xD9];
    let is_start_of_scan = |pair: &[u8]| pair == [0xFF, 0xDA];
    match jpeg.windows(2).rposition(is_end) {
        Some(end) => jpeg.windows(2).skip(end).any(is_start_of_scan),
        None => true,
    }
}

//! Image files → 8-bit RGB pixels, whatever the file holds.
//!
//! PNG and JPEG, told apart by content and not by name: gray, palettes, CMYK and YCCK, 16 bits,
//! transparency and turned photographs all end as upright RGB. What a file claims to be is checked
//! before memory is taken for it.

use std::fs;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sample::ImageFile;
use crate::error::{Error, Result};

/// Longest side of an image file that is decoded, in pixels.
pub(crate) const MAX_SIDE_PX: u32 = 16_384;

/// What Pillow warns of as a decompression bomb, in pixels: 256 MiB of 8-bit RGB.
const MAX_PIXELS: u64 = (256 << 20) / 3;

/// Most bytes of a decoded pixel: 16-bit RGB with transparency.
const MAX_PIXEL_BYTES: u64 = 8;

/// Longest image file, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// What a user can do about an image that cannot be used.
pub(super) const HELP: &str =
    "Replace the file by a whole PNG or JPEG, or take its record out of the annotations.";

/// How image files are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Which way up the boxes of the annotations see the image.
    pub orientation: ImageOrientation,
    /// Images with more pixels are refused before memory is taken for them (up to 8 bytes a pixel).
    pub max_pixels: u64,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self { orientation: ImageOrientation::Exif, max_pixels: MAX_PIXELS }
    }
}

/// Which way up an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageOrientation {
    /// As viewers show it: turned as its EXIF block says.
    Exif,
    /// As it is stored, whatever its EXIF block says.
    Stored,
}

/// Decodes a PNG or JPEG file with the defaults.
///
/// # Errors
/// As [`decode`].
pub fn open_image(image: impl Into<ImageFile>) -> Result<DynamicImage> {
    decode(image, &DecodeConfig::default())
}

/// Decodes a PNG or JPEG file to 8-bit RGB: see [`to_rgb`].
///
/// # Errors
/// As [`decode`].
pub fn open_rgb(image: impl Into<ImageFile>, config: &DecodeConfig) -> Result<RgbImage> {
    Ok(to_rgb(decode(image, config)?))
}

/// Decodes a PNG or JPEG file, the right way up.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] naming the file where it is empty, no
/// image, damaged or cut short, longer than 256 MiB, more than 16384 pixels a side, or larger than
/// `config` allows.
pub fn decode(image: impl Into<ImageFile>, config: &DecodeConfig) -> Result<DynamicImage> {
    let file = image.into();
    decode_bytes(&read(&file)?, &file.to_string(), config)
}

/// Decodes the bytes of a PNG or JPEG file, the right way up; `name` is what errors call it.
///
/// # Errors
/// As [`decode`], but for reading.
pub fn decode_bytes(bytes: &[u8], name: &str, config: &DecodeConfig) -> Result<DynamicImage> {
    let broken = |problem: String| Error::format(name, problem, HELP);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(Error::io("read", name))?;
    let Some(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = reader.format() else {
        return Err(broken("this is no PNG or JPEG image, whatever its name says".to_string()));
    };
    if format == ImageFormat::Jpeg && is_cut_short(bytes) {
        return Err(broken("the JPEG image is cut short: its end marker is missing".to_string()));
    }
    reader.limits(limits(config));
    let describe = |error: ImageError| match error {
        ImageError::Limits(_) => broken(format!(
            "the image is larger than {MAX_SIDE_PX} pixels a side, or needs more memory than its \
             pixels can"
        )),
        error => broken(format!("the image is damaged: {error}")),
    };
    let mut decoder = reader.into_decoder().map_err(describe)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > config.max_pixels {
        return Err(broken(format!(
            "the image has {width} × {height} pixels, more than the {} that decoding.max_pixels \
             of its source allows",
            config.max_pixels
        )));
    }
    // An EXIF block that cannot be read says nothing about the orientation.
    let orientation = match config.orientation {
        ImageOrientation::Exif => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        ImageOrientation::Stored => Orientation::NoTransforms,
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(describe)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The bytes of a file, or of a part of one, that may be an image.
fn read(image: &ImageFile) -> Result<Vec<u8>> {
    let path = &image.path;
    let whole = || fs::metadata(path).map(|data| data.len()).map_err(Error::io("read", path));
    match image.part.map_or_else(whole, |part| Ok(part.length))? {
        0 => Err(Error::format(image.to_string(), "the image file is empty (0 bytes)", HELP)),
        1..=MAX_FILE_BYTES => image.read().map_err(Error::io("read", path)),
        length => {
            let most = MAX_FILE_BYTES >> 20;
            let problem = format!("the image file has {length} bytes, more than {most} MiB");
            Err(Error::format(image.to_string(), problem, HELP))
        }
    }
}

fn limits(config: &DecodeConfig) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(config.max_pixels.saturating_mul(MAX_PIXEL_BYTES));
    limits
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

/// 8-bit RGB: gray is repeated, 16 bits are rounded to 8, and what is transparent lets black through
/// (Pillow's `convert("RGB")` shows the colours that were hidden there instead).
pub fn to_rgb(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, alpha] = rgba.get_pixel(x, y).0;
        // Rounded to nearest; at most 255 · 255 / 255.
        image::Rgb([r, g, b].map(|c| ((u16::from(c) * u16::from(alpha) + 127) / 255) as u8))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

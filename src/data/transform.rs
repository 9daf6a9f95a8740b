//! An image file → the square canvas that the encoders see (`spec/data.md` §1.2).
//!
//! The longer side fills the canvas, the aspect is kept, the image lies in the top-left corner and
//! the rest is black. Boxes are held normalised to the image, so a box in pixels of the canvas is
//! the normalised box scaled by the un-padded size of the [`Canvas`].

use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom};

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::sample::{FilePart, ImageFile};
use crate::error::{Error, Result};

/// Longest side of an image file that is decoded, in pixels.
pub(crate) const MAX_SIDE_PX: u32 = 16_384;

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
pub fn load_canvas(image: impl Into<ImageFile>, canvas_px: usize) -> Result<Canvas> {
    from_image(&open_image(image)?, canvas_px)
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
        if let Some(to) = to.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
    }
    pixels
}

/// Decodes a PNG or JPEG file, turned as its EXIF orientation says.
///
/// # Errors
/// As [`load_canvas`].
pub fn open_image(image: impl Into<ImageFile>) -> Result<DynamicImage> {
    let file = image.into();
    let (bytes, path) = (read(&file)?, &file.path);
    let broken = |problem: String| Error::format(file.to_string(), problem, HELP);
    let mut reader = ImageReader::new(Cursor::new(bytes.as_slice()))
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

/// The bytes of a file, or of a part of one, that may be an image.
fn read(image: &ImageFile) -> Result<Vec<u8>> {
    let path = &image.path;
    let whole = || fs::metadata(path).map(|data| data.len()).map_err(Error::io("read", path));
    match image.part.map_or_else(whole, |part| Ok(part.length))? {
        0 => Err(Error::format(image.to_string(), "the image file is empty (0 bytes)", HELP)),
        1..=MAX_BYTES => read_part(image).map_err(Error::io("read", path)),
        _ => Err(Error::format(image.to_string(), too_large(), HELP)),
    }
}

fn read_part(image: &ImageFile) -> std::io::Result<Vec<u8>> {
    let Some(FilePart { offset, length }) = image.part else { return fs::read(&image.path) };
    let mut file = fs::File::open(&image.path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use image::{GrayImage, ImageBuffer, Luma, Rgb, Rgba};

    use super::*;

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Writes `bytes` to a file called `name` and loads that onto a canvas.
    fn load(name: &str, bytes: &[u8], canvas_px: usize) -> Result<Canvas> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        load_canvas(&path, canvas_px)
    }

    /// The message of the error, which must name the file and say what to do.
    fn problem(result: Result<Canvas>, name: &str) -> String {
        let error = result.unwrap_err();
        let Error::Format { path, problem, help, .. } = &error else { unreachable!("{error:?}") };
        assert!(path.ends_with(name) && !help.is_empty(), "{error:?}");
        problem.clone()
    }

    fn pixel(canvas: &Canvas, x: usize, y: usize) -> [u8; 3] {
        let side = (canvas.pixels.len() / 3).isqrt();
        let at = (y * side + x) * 3;
        canvas.pixels[at..at + 3].try_into().unwrap()
    }

    #[test]
    fn the_longer_side_fills_the_canvas_and_the_shorter_is_rounded_down() {
        // The example of spec/data.md, where the longer side is one less for rounding.
        assert_eq!(fitted_size(427, 640, 384), (256, 384));
        assert_eq!(fitted_size(640, 480, 64), (64, 48));
        assert_eq!(fitted_size(5, 5, 64), (64, 64));
        assert_eq!(fitted_size(10_000, 1, 64), (64, 1));
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
        let canvas = load("a.png", &encode(&image.clone().into(), ImageFormat::Png), 4).unwrap();
        assert_eq!(canvas.pixels, image.into_raw());
    }

    #[test]
    fn shrinking_averages_and_does_not_pick_pixels() {
        let stripes = GrayImage::from_fn(64, 64, |x, _| Luma([if x % 2 == 0 { 0 } else { 200 }]));
        let canvas = from_image(&stripes.into(), 8).unwrap();
        assert!(canvas.pixels.iter().all(|&v| (90..=110).contains(&v)), "{:?}", canvas.pixels);
    }

    #[test]
    fn sixteen_bit_gray_becomes_eight_bit_rgb() {
        let values = [0u16, 257, 32_768, 65_535];
        let gray = ImageBuffer::from_fn(2, 2, |x, y| Luma([values[(y * 2 + x) as usize]]));
        let image = DynamicImage::ImageLuma16(gray);
        let canvas = load("gray.png", &encode(&image, ImageFormat::Png), 2).unwrap();
        let expected = [0, 1, 128, 255].map(|v| [v; 3]).concat();
        assert_eq!(canvas.pixels, expected);
    }

    #[test]
    fn what_is_transparent_is_black() {
        let colors = [[200, 100, 50, 255], [200, 100, 50, 51], [200, 100, 50, 0]];
        let image = image::RgbaImage::from_fn(3, 1, |x, _| Rgba(colors[x as usize]));
        let canvas = load("a.png", &encode(&image.into(), ImageFormat::Png), 3).unwrap();
        let found = [0, 1, 2].map(|x| pixel(&canvas, x, 0));
        assert_eq!(found, [[200, 100, 50], [40, 20, 10], [0, 0, 0]]);
    }

    /// An EXIF block that says only how the image is turned.
    fn exif(orientation: u8) -> Vec<u8> {
        let mut tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        tiff.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        let length = u16::try_from(tiff.len() + 2).unwrap();
        [&[0xFF, 0xE1], &length.to_be_bytes()[..], &tiff].concat()
    }

    #[test]
    fn a_jpeg_is_turned_as_its_exif_says() {
        // Left half red, right half blue, stored lying; upright it has red on top.
        let lying =
            RgbImage::from_fn(32, 16, |x, _| Rgb(if x < 16 { [255, 0, 0] } else { [0, 0, 255] }));
        let jpeg = encode(&lying.into(), ImageFormat::Jpeg);
        let turned = [&jpeg[..2], &exif(6), &jpeg[2..]].concat();
        let plain = load("a.jpg", &jpeg, 32).unwrap();
        let upright = load("a.jpg", &turned, 32).unwrap();
        assert_eq!((plain.width, plain.height), (32, 16));
        assert_eq!((upright.width, upright.height), (16, 32));
        let is_red = |[r, _, b]: [u8; 3]| r > 200 && b < 50;
        assert!(is_red(pixel(&upright, 8, 2)) && !is_red(pixel(&upright, 8, 29)));
    }

    #[test]
    fn content_counts_and_not_the_name() {
        let image = RgbImage::from_pixel(4, 4, Rgb([9; 3]));
        let png = encode(&image.into(), ImageFormat::Png);
        assert_eq!(pixel(&load("a.jpg", &png, 4).unwrap(), 0, 0), [9; 3]);
        let found = problem(load("a.png", b"this is a text", 4), "a.png");
        assert!(found.contains("no PNG or JPEG"), "{found}");
    }

    #[test]
    fn an_empty_file_is_named() {
        let found = problem(load("a.png", b"", 4), "a.png");
        assert_eq!(found, "the image file is empty (0 bytes)");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load_canvas(Path::new("nowhere/a.png"), 4).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("a.png")), "{error:?}");
    }

    #[test]
    fn damaged_images_are_refused() {
        let noise = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x ^ y) as u8, x as u8]));
        let noise = DynamicImage::from(noise);
        let png = encode(&noise, ImageFormat::Png);
        let found = problem(load("a.png", &png[..png.len() / 2], 8), "a.png");
        assert!(found.contains("damaged"), "{found}");
        let jpeg = encode(&noise, ImageFormat::Jpeg);
        let found = problem(load("a.jpg", &jpeg[..jpeg.len() / 2], 8), "a.jpg");
        assert!(found.contains("cut short"), "{found}");
        assert!(load("a.jpg", &jpeg, 8).is_ok());
    }

    #[test]
    fn absurd_sizes_are_refused_before_they_are_decoded() {
        let mut png = encode(&GrayImage::new(1, 1).into(), ImageFormat::Png);
        // Width of the header, and its checksum for 2^24 × 1 pixels.
        png[16..20].copy_from_slice(&(1u32 << 24).to_be_bytes());
        let checksum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.to_be_bytes());
        let found = problem(load("a.png", &png, 8), "a.png");
        assert!(found.contains("larger than 16384 pixels a side"), "{found}");
        for nothing in [
            from_image(&GrayImage::new(0, 3).into(), 8),
            from_image(&GrayImage::new(3, 3).into(), 0),
        ] {
            assert!(matches!(nothing, Err(Error::Usage { .. })), "{nothing:?}");
        }
    }

    /// The checksum of PNG chunks.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
            })
        })
    }
}

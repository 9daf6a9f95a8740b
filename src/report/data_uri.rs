//! Images inside a page, so that it needs no other file.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageResult, RgbImage, imageops};

use crate::error::{Error, Result};

/// Images up to this long a side are kept exactly; larger ones become JPEG.
const EXACT_SIDE_PX: u32 = 256;
/// Longest side of an image in the page; it is shown at about half of this, so that it stays sharp
/// on a screen of double density.
const LONGEST_SIDE_PX: u32 = 1024;
/// Quality of the JPEG, of 100: no artefacts to be seen, an eighth of the size of a PNG.
const JPEG_QUALITY: u8 = 88;

/// The image, pixel by pixel, as `data:image/png;base64,…`.
pub(super) fn png_data_uri(image: &RgbImage) -> Result<String> {
    let bytes = png(image).map_err(cannot_encode)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

/// The image at a size fit for a page: exact where it is small, a JPEG where it is not.
pub(super) fn page_data_uri(image: &RgbImage) -> Result<String> {
    let (width, height) = image.dimensions();
    if width.max(height) <= EXACT_SIDE_PX {
        return png_data_uri(image);
    }
    let scale = (f64::from(LONGEST_SIDE_PX) / f64::from(width.max(height))).min(1.0);
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let small =
        imageops::resize(image, scaled(width), scaled(height), imageops::FilterType::Triangle);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode_image(&small)
        .map_err(cannot_encode)?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}

/// PNG, packed well.
pub(super) fn png(image: &RgbImage) -> ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(image, image.width(), image.height(), ExtendedColorType::Rgb8)?;
    Ok(bytes.into_inner())
}

fn cannot_encode(cause: image::ImageError) -> Error {
    Error::Compute {
        problem: format!("an image of the report could not be encoded: {cause}"),
        help: "Look at the image; it must have at least one pixel.".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Rgb;

    use super::*;

    fn decoded(uri: &str) -> RgbImage {
        let (_, data) = uri.split_once(',').unwrap();
        image::load_from_memory(&STANDARD.decode(data).unwrap()).unwrap().to_rgb8()
    }

    #[test]
    fn a_small_image_comes_back_exactly() {
        let image = RgbImage::from_fn(9, 5, |x, y| Rgb([x as u8 * 20, y as u8 * 40, 7]));
        let uri = page_data_uri(&image).unwrap();
        assert!(uri.starts_with("data:image/png;base64,"));
        assert_eq!(decoded(&uri), image);
    }

    #[test]
    fn a_large_image_comes_back_smaller_and_alike() {
        let image = RgbImage::from_pixel(2048, 1024, Rgb([200, 100, 50]));
        let uri = page_data_uri(&image).unwrap();
        assert!(uri.starts_with("data:image/jpeg;base64,"));
        let back = decoded(&uri);
        assert_eq!(back.dimensions(), (1024, 512));
        assert!(back.get_pixel(500, 250).0[0].abs_diff(200) < 6);
    }

    #[test]
    fn an_image_without_pixels_is_an_error() {
        assert!(page_data_uri(&RgbImage::new(0, 0)).is_err());
    }
}

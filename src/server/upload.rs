//! Images that come in: told by their bytes, measured before memory is taken for their pixels.

use std::io::Cursor;

use axum::http::StatusCode;
use image::{DynamicImage, ImageFormat, ImageReader, Limits as DecoderLimits};

use super::error::ApiError;
use crate::data::image_file::{DecodeConfig, MAX_SIDE_PX, decode_bytes};
use crate::error::Error;

/// Memory for the head of an image, color profile included.
const HEAD_BYTES: u64 = 4 << 20;

const HELP: &str = "Send a whole PNG or JPEG image.";

/// Refuses bytes that are no PNG or JPEG, or of an image of more than `max_pixels`. Reads the head alone.
pub(super) fn inspect(bytes: &[u8], max_pixels: u64) -> Result<(), ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::bad_request("the image is empty (0 bytes)", HELP));
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        _ => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let message = "the bytes are no PNG or JPEG image, whatever their name or type says";
            return Err(ApiError::new(status, "unsupported_image", message, HELP));
        }
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = DecoderLimits::default();
    limits.max_alloc = Some(HEAD_BYTES);
    reader.limits(limits);
    let (width, height) = reader.into_dimensions().map_err(damaged)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels || width.max(height) > MAX_SIDE_PX {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_pixels",
            format!("the image has {width} × {height} pixels"),
            format!(
                "Send one of at most {max_pixels} pixels (--max-pixels), and {MAX_SIDE_PX} a side."
            ),
        ));
    }
    Ok(())
}

/// The pixels of an image that [`inspect`] let pass, the right way up.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<DynamicImage, ApiError> {
    let config = DecodeConfig { max_pixels, ..DecodeConfig::default() };
    decode_bytes(bytes, "the upload", &config).map_err(|error| match error {
        Error::Format { problem, .. } => damaged(problem),
        other => other.into(),
    })
}

fn damaged(cause: impl std::fmt::Display) -> ApiError {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    ApiError::new(status, "damaged_image", format!("the image cannot be read: {cause}"), HELP)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{GrayImage, RgbImage};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn images_are_told_by_their_bytes_and_measured_by_their_head() {
        let image = DynamicImage::ImageRgb8(RgbImage::new(30, 20));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encoded(&image, format);
            assert_eq!(inspect(&bytes, 600), Ok(()));
            assert_eq!(inspect(&bytes, 599).unwrap_err().code, "too_many_pixels");
            let size = decode(&bytes, 600).unwrap();
            assert_eq!((size.width(), size.height()), (30, 20));
        }
        assert_eq!(inspect(b"", 600).unwrap_err().code, "bad_request");
        assert_eq!(inspect(b"GIF89a......", 600).unwrap_err().code, "unsupported_image");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        // 64 million black pixels in less than 100 kilobytes.
        let bomb = DynamicImage::ImageLuma8(GrayImage::new(8000, 8000));
        let bytes = encoded(&bomb, ImageFormat::Png);
        let error = inspect(&bytes, 32_000_000).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (413, "too_many_pixels"));
    }

    #[test]
    fn a_cut_image_is_said_to_be_damaged() {
        let image = DynamicImage::ImageRgb8(RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb([(x * y) as u8, (x ^ y) as u8, x as u8])
        }));
        let bytes = encoded(&image, ImageFormat::Png);
        assert_eq!(inspect(&bytes[..20], 1 << 20).unwrap_err().code, "damaged_image");
        let half = &bytes[..bytes.len() / 2];
        assert_eq!(inspect(half, 1 << 20), Ok(()));
        assert_eq!(decode(half, 1 << 20).unwrap_err().code, "damaged_image");
    }
}

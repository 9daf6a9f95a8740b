//! Images as the encoders saw them, kept for a while: who asks one question about an image asks more.

use std::collections::VecDeque;

use axum::body::Bytes;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::error::ApiError;
use super::upload;
use crate::data::transform::from_image;
use crate::tasks::predictor::{EncodedImages, Predictor};

/// An image as it came, upright, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct ImageSize {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The images that were looked at last, the latest in front.
pub(super) struct KeptImages {
    most: usize,
    images: VecDeque<KeptImage>,
}

struct KeptImage {
    /// Of the bytes of its file.
    hash: u128,
    size: ImageSize,
    encoded: EncodedImages,
}

impl KeptImages {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { most, images: VecDeque::new() }
    }

    /// The image of a file, looked at now or before.
    pub(super) fn encoded(
        &mut self,
        predictor: &Predictor,
        bytes: &Bytes,
        max_pixels: u64,
    ) -> Result<(EncodedImages, ImageSize), ApiError> {
        let hash = xxh3_128(bytes);
        let kept = self.images.iter().position(|kept| kept.hash == hash);
        let image = match kept.and_then(|at| self.images.remove(at)) {
            Some(image) => image,
            None => {
                let image = upload::decode(bytes, max_pixels)?;
                let size = ImageSize { width: image.width(), height: image.height() };
                let canvas = from_image(&image, predictor.canvas_px())?;
                KeptImage { hash, size, encoded: predictor.encode(&[canvas])? }
            }
        };
        let answer = (image.encoded.clone(), image.size);
        self.images.push_front(image);
        self.images.truncate(self.most);
        Ok(answer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, RgbImage};

    use super::*;
    use crate::tasks::testing;

    pub(in crate::server) fn image(shade: u8) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(20, 10, image::Rgb([shade; 3]));
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner().into()
    }

    #[test]
    fn the_last_images_are_kept_and_no_more() {
        let predictor = testing::predictor().unwrap();
        let mut kept = KeptImages::new(2);
        let mut look = |shade| {
            kept.encoded(&predictor, &image(shade), 1000).unwrap();
            kept.images.iter().map(|image| image.hash).collect::<Vec<_>>()
        };
        let [first, second, third] = [1, 2, 3].map(|shade| xxh3_128(&image(shade)));
        look(1);
        assert_eq!(look(2), [second, first]);
        assert_eq!(look(1), [first, second]);
        assert_eq!(look(3), [third, first]);
    }
}

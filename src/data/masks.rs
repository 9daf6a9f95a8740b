//! Masks on their way into a batch: brought to the canvas with the image, one per row.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use super::batch::{BatchDims, part, tensor};
use crate::geometry::mask::Mask;
use crate::model::loss::mask::MaskTargets;

/// Masks of a batch before they are on a device: `B` images, `N` rows per image.
#[derive(Debug, Clone, PartialEq)]
pub struct HostMasks {
    /// `[B, N, S, S]`: 1 inside, 0 outside, on the padding, and in rows without a mask.
    pub pixels: Vec<u8>,
    /// `[B, N]`: 1 for a row with a pixel inside, else 0. There is nothing to learn from a row without
    /// a mask, nor from an object that is smaller than the pixels of the canvas can show.
    pub valid: Vec<f32>,
}

impl HostMasks {
    /// None yet, with room for those of a batch.
    pub(super) fn with_capacity(dims: &BatchDims) -> Self {
        let rows = dims.images * dims.rows;
        Self {
            pixels: Vec::with_capacity(rows * dims.canvas_px * dims.canvas_px),
            valid: Vec::with_capacity(rows),
        }
    }

    /// Adds the mask of the next row; `size`: un-padded width and height of its image on the canvas, in
    /// pixels.
    pub(super) fn push(&mut self, mask: Option<&Mask>, size: [u32; 2], canvas_px: usize) {
        let begin = self.pixels.len();
        self.pixels.resize(begin + canvas_px * canvas_px, 0);
        let Some((mask, pixels)) = mask.zip(self.pixels.get_mut(begin..)) else {
            self.valid.push(0.0);
            return;
        };
        let has_pixels = draw(mask, size.map(|side| side as usize), pixels, canvas_px);
        self.valid.push(f32::from(u8::from(has_pixels)));
    }

    /// Those of some of the images.
    pub(super) fn images(&self, range: &Range<usize>, dims: &BatchDims) -> Self {
        let area = dims.canvas_px * dims.canvas_px;
        Self {
            pixels: part(&self.pixels, range, dims.rows * area),
            valid: part(&self.valid, range, dims.rows),
        }
    }

    /// Copies them to `device`; `padding_mask`: `[B, S, S]`, 1 on the image, 0 on the padding.
    pub(super) fn to_device(
        &self,
        dims: &BatchDims,
        padding_mask: Tensor<3>,
        device: &Device,
    ) -> MaskTargets {
        let BatchDims { images, rows, canvas_px, .. } = *dims;
        let pixels = self.pixels.iter().copied().map(f32::from).collect();
        MaskTargets {
            masks: tensor(pixels, [images, rows, canvas_px, canvas_px], device),
            row_valid: tensor(self.valid.clone(), [images, rows], device),
            padding_mask,
        }
    }
}

/// Draws a mask where its image lies on the canvas, `width × height` pixels at the top left; whether any
/// pixel is inside. A pixel takes what is at its centre (`spec/data.md` §1.2: nearest), so that the
/// mask lies on the image, which was resized about the centres of pixels too.
fn draw(mask: &Mask, [width, height]: [usize; 2], pixels: &mut [u8], canvas_px: usize) -> bool {
    let [mask_width, mask_height] = [mask.width(), mask.height()].map(|side| side as usize);
    let inside = mask.pixels();
    // ⌊(i + ½) · from / to⌋, in whole numbers.
    let nearest = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    let columns: Vec<usize> = (0..width).map(|x| nearest(x, mask_width, width)).collect();
    let mut has_pixels = false;
    for (y, row) in pixels.chunks_exact_mut(canvas_px).take(height).enumerate() {
        let line = nearest(y, mask_height, height) * mask_width;
        for (pixel, column) in row.iter_mut().zip(&columns) {
            let is_inside = inside.get(line + column).copied().unwrap_or(false);
            has_pixels |= is_inside;
            *pixel = u8::from(is_inside);
        }
    }
    has_pixels
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn dims(images: usize, rows: usize) -> BatchDims {
        BatchDims { images, canvas_px: 4, rows, prompts: 1, text_tokens: 2, context_tokens: 0 }
    }

    /// 4 × 2 with its right half inside.
    fn right_half() -> Mask {
        let pixels = [false, false, true, true].repeat(2);
        Mask::from_pixels(&pixels, 4, 2).unwrap()
    }

    #[test]
    fn a_mask_goes_with_its_image_and_leaves_the_padding_out() {
        let mut masks = HostMasks::with_capacity(&dims(3, 1));
        // As it is, at half the size, and at twice the size of a lower image.
        masks.push(Some(&right_half()), [4, 2], 4);
        masks.push(Some(&right_half()), [2, 1], 4);
        let narrow = Mask::from_pixels(&[true, false], 2, 1).unwrap();
        masks.push(Some(&narrow), [4, 2], 4);
        let rows: Vec<_> = masks.pixels.chunks(4).collect();
        let none = [0; 4];
        assert_eq!(rows[..4], [[0, 0, 1, 1], [0, 0, 1, 1], none, none]);
        assert_eq!(rows[4..8], [[0, 1, 0, 0], none, none, none]);
        assert_eq!(rows[8..], [[1, 1, 0, 0], [1, 1, 0, 0], none, none]);
        assert_eq!(masks.valid, [1.0; 3]);
    }

    #[test]
    fn rows_without_a_mask_and_masks_that_no_pixel_shows_teach_nothing() {
        let mut masks = HostMasks::with_capacity(&dims(1, 3));
        masks.push(None, [4, 4], 4);
        // The centres of two pixels are those of pixels 1 and 3 of the mask's four.
        let speck = Mask::from_pixels(&[true, false, false, false], 4, 1).unwrap();
        masks.push(Some(&speck), [2, 1], 4);
        let empty = Mask::from_pixels(&[false; 4], 4, 1).unwrap();
        masks.push(Some(&empty), [4, 1], 4);
        assert_eq!(masks.valid, [0.0; 3]);
        assert!(masks.pixels.iter().all(|&pixel| pixel == 0));
        assert_eq!(masks.pixels.len(), 3 * 16);
    }

    #[test]
    fn parts_and_tensors_have_the_masks_of_their_images() {
        let mut masks = HostMasks::with_capacity(&dims(2, 2));
        for (image, row) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mask = right_half();
            masks.push((image == row).then_some(&mask), [4, 2], 4);
        }
        let second = masks.images(&(1..2), &dims(2, 2));
        assert_eq!(second.valid, [0.0, 1.0]);
        let device = Device::flex();
        let padding_mask = Tensor::ones([1, 4, 4], &device);
        let targets = second.to_device(&dims(1, 2), padding_mask, &device);
        assert_eq!(targets.masks.dims(), [1, 2, 4, 4]);
        assert_eq!(targets.masks.clone().narrow(1, 1, 1).sum().into_scalar::<f32>(), 4.0);
        assert_eq!(targets.masks.sum().into_scalar::<f32>(), 4.0);
    }
}

//! From the logits of masks on the canvas to logits on the image: the padding cut off, and as many
//! cells as the image has pixels. A pixel is inside where its logit is above 0
//! (`spec/inference.md` §2.2).

use burn::tensor::Tensor;

use crate::model::vision::Resampling;
use crate::model::vision::resize::{Kernel, resize_map};

/// Rows and columns of the images that masks are about, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Of the padded canvas.
    pub canvas: [usize; 2],
    /// Of the image on the canvas, at its top left.
    pub content: [usize; 2],
    /// Of the image as it was.
    pub image: [usize; 2],
}

/// As Segment Anything does: logits are brought to the size of the canvas, cropped, and brought to the
/// size of the image.
///
/// # Shapes
/// - `logits`: `[R, K, h, w]`, over the whole canvas
/// - result: `[R, K, height, width]` of the image
pub fn crop_pixels(logits: Tensor<4>, frame: Frame) -> Tensor<4> {
    let whole = resize(logits, frame.canvas);
    let [height, width] = frame.content;
    resize(whole.narrow(2, 0, height).narrow(3, 0, width), frame.image)
}

/// As the reference's evaluation does (`spec/metrics.md`): the cells of the padding are cut off, and
/// what is left is brought to the size of the image. Part of a cell is no cell.
///
/// Shapes as in [`crop_pixels`].
pub fn crop_cells(logits: Tensor<4>, frame: Frame) -> Tensor<4> {
    let [_, _, height, width] = logits.dims();
    let kept =
        |cells: usize, axis: usize| (cells * frame.content[axis] / frame.canvas[axis]).max(1);
    let kept = [kept(height, 0), kept(width, 1)];
    resize(logits.narrow(2, 0, kept[0]).narrow(3, 0, kept[1]), frame.image)
}

/// Bilinear, as PyTorch and OpenCV do it: never antialiased.
fn resize(logits: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    resize_map(logits, size, Kernel::Linear, Resampling::Torch)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// A canvas of 4 × 4 with an image of 2 rows on it, which was 4 × 8.
    const FRAME: Frame = Frame { canvas: [4, 4], content: [2, 4], image: [4, 8] };

    fn row(logits: &Tensor<4>, y: usize) -> Vec<f32> {
        logits.clone().narrow(2, y, 1).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn padding_is_cut_off_before_or_after_it_has_reached_the_image() {
        let device = Device::flex();
        // The left half of the image is inside, the padding is far outside.
        let logits = Tensor::<4>::from_data([[[[1.0, -1.0], [-9.0, -9.0]]]], &device);
        let pixels = crop_pixels(logits.clone(), FRAME);
        let cells = crop_cells(logits, FRAME);
        assert_eq!((pixels.dims(), cells.dims()), ([1, 1, 4, 8], [1, 1, 4, 8]));
        // On the canvas a row is 1, ½, −½, −1, and the second is a quarter padding.
        let first = row(&pixels, 0);
        for (found, expected) in
            first.iter().zip([1.0, 0.875, 0.625, 0.25, -0.25, -0.625, -0.875, -1.0])
        {
            assert!((found - expected).abs() < 1e-6, "{first:?}");
        }
        assert!(row(&pixels, 3)[0] < -1.4);
        // Two cells become eight columns; the padding is nowhere.
        let expected = [1.0, 1.0, 0.75, 0.25, -0.25, -0.75, -1.0, -1.0];
        for y in [0, 3] {
            for (found, expected) in row(&cells, y).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6);
            }
        }
    }
}

//! Batches: on the host as they are made, and as tensors on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::sample::Task;
use crate::model::pixel_llm::RowInput;

/// A batch before it is on a device: `B` images, `N` rows per image, `M` prompts per image (`N`, or 1
/// where rows share theirs), `L` text tokens, `C` context tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// What the rows are for.
    pub task: Task,
    /// Shape of everything below.
    pub dims: BatchDims,
    /// `[B, 3, S, S]`, RGB 0–255, zero on the padding.
    pub images: Vec<f32>,
    /// `[B, 2]`, un-padded width and height in pixels of the canvas.
    pub sizes: Vec<f32>,
    /// `[B, M, 4]`, xyxy in pixels of the canvas.
    pub prompt_boxes: Vec<f32>,
    /// `[B, M, C]`; empty where `C` is 0.
    pub context: Vec<i64>,
    /// `[B, N, L]`: begin, words, end, padding.
    pub text: Vec<i64>,
    /// `[B, N]`, 1 for a row of the data, 0 for a filler.
    pub row_valid: Vec<f32>,
    /// `[B, N, L, 2, 2]`, both corners of the place of each token, normalised to the un-padded image;
    /// zeros where it has none.
    pub points: Vec<f32>,
}

/// Sizes of a batch, by the letters of `docs/src/notation.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDims {
    /// Images, `B`.
    pub images: usize,
    /// Side of the canvas in pixels, `S`.
    pub canvas_px: usize,
    /// Rows per image, `N`.
    pub rows: usize,
    /// Prompts per image, `M`.
    pub prompts: usize,
    /// Text tokens, `L`.
    pub text_tokens: usize,
    /// Context tokens, `C`.
    pub context_tokens: usize,
}

/// A batch on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What the rows are for.
    pub task: Task,
    /// `[B, 3, S, S]`, RGB 0–255.
    pub images: Tensor<4>,
    /// `[B, S, S]`, 1 on the image, 0 on the padding.
    pub padding_mask: Tensor<3>,
    /// `[B, 2]`, un-padded width and height in pixels of the canvas.
    pub sizes: Tensor<2>,
    /// Prompts, contexts and texts.
    pub rows: RowInput,
    /// `[B, N]`, 1 for a row of the data, 0 for a filler.
    pub row_valid: Tensor<2>,
    /// `[B, N, L, 2, 2]`, normalised to the un-padded image; zeros are no place.
    pub points: Tensor<5>,
}

impl HostBatch {
    /// Copies the batch to `device`.
    pub fn to_device(&self, device: &Device) -> Batch {
        let BatchDims { images, canvas_px, rows, prompts, text_tokens, context_tokens } = self.dims;
        let has_context = context_tokens > 0;
        let context =
            || int_tensor(self.context.clone(), [images, prompts, context_tokens], device);
        Batch {
            task: self.task,
            images: tensor(self.images.clone(), [images, 3, canvas_px, canvas_px], device),
            padding_mask: padding_mask(&self.sizes, canvas_px, device),
            sizes: tensor(self.sizes.clone(), [images, 2], device),
            rows: RowInput {
                prompt_boxes: tensor(self.prompt_boxes.clone(), [images, prompts, 4], device),
                context: has_context.then(context),
                text: int_tensor(self.text.clone(), [images, rows, text_tokens], device),
            },
            row_valid: tensor(self.row_valid.clone(), [images, rows], device),
            points: tensor(self.points.clone(), [images, rows, text_tokens, 2, 2], device),
        }
    }
}

/// 1 on the image, 0 on the padding, `[B, S, S]`; `sizes`: `[B, 2]`, un-padded width and height in
/// pixels of the canvas.
pub(crate) fn padding_mask(sizes: &[f32], canvas_px: usize, device: &Device) -> Tensor<3> {
    let area = canvas_px * canvas_px;
    let mut mask = vec![0.0; sizes.len() / 2 * area];
    for (canvas, size) in mask.chunks_exact_mut(area).zip(sizes.chunks_exact(2)) {
        let (width, height) = (size[0] as usize, size[1] as usize);
        canvas.chunks_exact_mut(canvas_px).take(height).for_each(|row| row[..width].fill(1.0));
    }
    tensor(mask, [sizes.len() / 2, canvas_px, canvas_px], device)
}

/// Values on the host → a tensor on `device`.
pub(crate) fn tensor<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Ids on the host → a tensor on `device`.
pub(crate) fn int_tensor<const D: usize>(
    values: Vec<i64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

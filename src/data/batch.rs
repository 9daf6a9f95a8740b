//! Batches: on the host as they are made, and as tensors on a device.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::feature_cache::{CachedFeatures, FeatureShape};
use super::masks::HostMasks;
use super::sample::Task;
use super::source::AnswerForm;
use crate::geometry::BoundingBox;
use crate::model::loss::mask::MaskTargets;
use crate::model::pixel_llm::RowInput;
use crate::model::prompt::adapter::PromptScope;
use crate::model::prompt::location::{IGNORED, POSITIVE};
use crate::model::prompt::points::PointPrompts;
use crate::model::vision::VisionFeatures;

/// A batch before it is on a device: `B` images, `N` rows per image, `M` prompts per image (`N`, or 1
/// where rows share theirs), `L` text tokens, `C` context tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// What the rows are for.
    pub task: Task,
    /// How those of *locate* are answered.
    pub answer: AnswerForm,
    /// Shape of everything below.
    pub dims: BatchDims,
    /// `[B, 3, S, S]`, RGB 0–255, zero on the padding; empty where there are features.
    pub images: Vec<f32>,
    /// What frozen encoders make of the images, where that is known.
    pub features: Option<HostFeatures>,
    /// `[B, 2]`, un-padded width and height in pixels of the canvas.
    pub sizes: Vec<f32>,
    /// `[B, M, 4]`, xyxy in pixels of the canvas; zeros where a prompt is a trace.
    pub prompt_boxes: Vec<f32>,
    /// `[B, M, T, 2]`, traces in pixels of the canvas; empty where no prompt is one.
    pub prompt_traces: Vec<f32>,
    /// `[B, M, C]`; empty where `C` is 0.
    pub context: Vec<i64>,
    /// `[B, N, L]`: begin, words, end, padding.
    pub text: Vec<i64>,
    /// `[B, N]`, 1 for a row of the data, 0 for a filler.
    pub row_valid: Vec<f32>,
    /// `[B, N, L, 2, 2]`, both corners of the place of each token, normalised to the un-padded image;
    /// zeros where it has none.
    pub points: Vec<f32>,
    /// Seed of what a step draws on the host: the boxes from which *detect* learns.
    pub seed: u64,
    /// What the rows' masks should be; `None` where they are not to be learnt.
    pub masks: Option<HostMasks>,
}

impl HostBatch {
    /// A batch of `dims` without content: its lists are empty, and *locate* answers by points.
    pub fn empty(task: Task, dims: BatchDims) -> Self {
        Self {
            task,
            answer: AnswerForm::default(),
            dims,
            images: Vec::new(),
            features: None,
            sizes: Vec::new(),
            prompt_boxes: Vec::new(),
            prompt_traces: Vec::new(),
            context: Vec::new(),
            text: Vec::new(),
            row_valid: Vec::new(),
            points: Vec::new(),
            seed: 0,
            masks: None,
        }
    }
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

/// Features of images before they are on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFeatures {
    /// Of one image.
    pub shape: FeatureShape,
    /// `[B, D, H, W]`, the fused map.
    pub fused: Vec<f32>,
    /// `[B, D, H, W]`, SAM's own; empty where there is none.
    pub sam: Vec<f32>,
}

impl HostFeatures {
    /// Those of several images; `None` of none.
    pub(super) fn stack<'a>(images: impl Iterator<Item = &'a CachedFeatures>) -> Option<Self> {
        let mut stacked: Option<Self> = None;
        for image in images {
            let shape = *image.shape();
            let stacked = stacked.get_or_insert(Self { shape, fused: vec![], sam: vec![] });
            let mut values = image.values();
            stacked.fused.extend(values.by_ref().take(shape.num_fused()));
            stacked.sam.extend(values);
        }
        stacked
    }

    fn part(&self, images: &Range<usize>) -> Self {
        let (fused, all) = (self.shape.num_fused(), self.shape.num_values());
        Self {
            shape: self.shape,
            fused: part(&self.fused, images, fused),
            sam: part(&self.sam, images, all - fused),
        }
    }

    fn to_device(&self, device: &Device) -> VisionFeatures {
        let map = |values: &[f32], [channels, height, width]: [usize; 3]| {
            let images = values.len() / (channels * height * width).max(1);
            tensor(values.to_vec(), [images, channels, height, width], device)
        };
        VisionFeatures {
            fused: map(&self.fused, self.shape.fused),
            sam: self.shape.sam.map(|sam| map(&self.sam, sam)),
        }
    }
}

/// The values of some images, of which each has `size`.
pub(super) fn part<T: Copy>(values: &[T], images: &Range<usize>, size: usize) -> Vec<T> {
    values[images.start * size..images.end * size].to_vec()
}

/// What the prompts of a task are about.
pub(crate) fn prompt_scope(task: Task) -> PromptScope {
    match task {
        Task::Describe | Task::Detect => PromptScope::Region,
        Task::Narrate | Task::Locate => PromptScope::Image,
    }
}

/// A batch on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What the rows are for.
    pub task: Task,
    /// How those of *locate* are answered.
    pub answer: AnswerForm,
    /// What there is to see.
    pub pictures: Pictures,
    /// `[B, 2]`, un-padded width and height in pixels of the canvas.
    pub sizes: Tensor<2>,
    /// Prompts, contexts and texts.
    pub rows: RowInput,
    /// `[B, N]`, 1 for a row of the data, 0 for a filler.
    pub row_valid: Tensor<2>,
    /// `[B, N, L, 2, 2]`, normalised to the un-padded image; zeros are no place.
    pub points: Tensor<5>,
    /// On the host: the `N` annotated boxes of each of `B` images of *detect*, in pixels of the canvas;
    /// zeros for fillers and for what is not on the image. Empty for other tasks.
    pub annotated: Vec<Vec<BoundingBox>>,
    /// As in [`HostBatch::seed`].
    pub seed: u64,
    /// What the rows' masks should be; `None` where they are not to be learnt.
    pub masks: Option<MaskTargets>,
}

/// The images of a batch, or what encoders made of them.
#[derive(Debug, Clone)]
pub enum Pictures {
    /// Pixels.
    Images {
        /// `[B, 3, S, S]`, RGB 0–255.
        images: Tensor<4>,
        /// `[B, S, S]`, 1 on the image, 0 on the padding.
        padding_mask: Tensor<3>,
    },
    /// Maps of frozen encoders.
    Features(VisionFeatures),
}

impl HostBatch {
    /// Copies the batch to `device`.
    pub fn to_device(&self, device: &Device) -> Batch {
        let BatchDims { images, canvas_px, rows, prompts, text_tokens, context_tokens } = self.dims;
        let has_context = context_tokens > 0;
        let context =
            || int_tensor(self.context.clone(), [images, prompts, context_tokens], device);
        let padding_mask = || padding_mask(&self.sizes, canvas_px, device);
        let pictures = match &self.features {
            Some(features) => Pictures::Features(features.to_device(device)),
            None => Pictures::Images {
                images: tensor(self.images.clone(), [images, 3, canvas_px, canvas_px], device),
                padding_mask: padding_mask(),
            },
        };
        let masks = self.masks.as_ref();
        Batch {
            task: self.task,
            answer: self.answer,
            pictures,
            masks: masks.map(|masks| masks.to_device(&self.dims, padding_mask(), device)),
            sizes: tensor(self.sizes.clone(), [images, 2], device),
            rows: RowInput {
                scope: prompt_scope(self.task),
                prompt_boxes: tensor(self.prompt_boxes.clone(), [images, prompts, 4], device),
                prompt_points: self.traces(device),
                context: has_context.then(context),
                text: int_tensor(self.text.clone(), [images, rows, text_tokens], device),
            },
            row_valid: tensor(self.row_valid.clone(), [images, rows], device),
            points: tensor(self.points.clone(), [images, rows, text_tokens, 2, 2], device),
            annotated: if self.task == Task::Detect { self.annotated() } else { Vec::new() },
            seed: self.seed,
        }
    }

    /// The prompts of the rows that are valid, as boxes on their image.
    fn annotated(&self) -> Vec<Vec<BoundingBox>> {
        let rows = self.dims.rows;
        let boxes = self.prompt_boxes.chunks_exact(4).zip(&self.row_valid).enumerate();
        let on_image = |(row, (corners, valid)): (usize, (&[f32], &f32))| {
            let image = row / rows.max(1);
            let [width, height] = [self.sizes[2 * image], self.sizes[2 * image + 1]];
            let one = BoundingBox::new(corners[0], corners[1], corners[2], corners[3]);
            let one = one.clip(width, height);
            let counts = *valid > 0.0 && one.is_valid();
            if counts { one } else { BoundingBox::new(0.0, 0.0, 0.0, 0.0) }
        };
        let boxes: Vec<BoundingBox> = boxes.map(on_image).collect();
        boxes.chunks(rows.max(1)).map(<[BoundingBox]>::to_vec).collect()
    }

    /// Points of a trace, `T`; 0 where no prompt is one.
    fn trace_points(&self) -> usize {
        self.prompt_traces.len() / (self.dims.images * self.dims.prompts * 2).max(1)
    }

    /// Prompts with a box have padding in place of a trace.
    fn traces(&self, device: &Device) -> Option<PointPrompts> {
        if self.prompt_traces.is_empty() {
            return None;
        }
        let (BatchDims { images, prompts, .. }, count) = (self.dims, self.trace_points());
        let label = |corners: &[f32]| match corners.iter().any(|corner| *corner != 0.0) {
            true => IGNORED,
            false => POSITIVE,
        };
        let labels = self.prompt_boxes.chunks_exact(4).map(label);
        let labels = labels.flat_map(|label| std::iter::repeat_n(label, count)).collect();
        let points = tensor(self.prompt_traces.clone(), [images, prompts, count, 2], device);
        Some(PointPrompts {
            labels: int_tensor(labels, [images, prompts, count], device),
            ..PointPrompts::traces(points)
        })
    }

    /// At most `count` batches of nearly equal numbers of images, in their order.
    pub fn split(&self, count: usize) -> Vec<Self> {
        let total = self.dims.images;
        let count = count.clamp(1, total.max(1));
        (0..count).map(|i| self.images(i * total / count..(i + 1) * total / count)).collect()
    }

    /// The batch of some of its images.
    fn images(&self, range: Range<usize>) -> Self {
        let BatchDims { canvas_px, rows, prompts, text_tokens, context_tokens, .. } = self.dims;
        let dims = BatchDims { images: range.len(), ..self.dims };
        let pixels = match &self.features {
            Some(_) => Vec::new(),
            None => part(&self.images, &range, 3 * canvas_px * canvas_px),
        };
        Self {
            task: self.task,
            answer: self.answer,
            dims,
            images: pixels,
            features: self.features.as_ref().map(|features| features.part(&range)),
            sizes: part(&self.sizes, &range, 2),
            prompt_boxes: part(&self.prompt_boxes, &range, prompts * 4),
            prompt_traces: part(&self.prompt_traces, &range, prompts * self.trace_points() * 2),
            context: part(&self.context, &range, prompts * context_tokens),
            text: part(&self.text, &range, rows * text_tokens),
            row_valid: part(&self.row_valid, &range, rows),
            points: part(&self.points, &range, rows * text_tokens * 4),
            // Parts draw apart from each other.
            seed: self.seed.wrapping_add(range.start as u64),
            masks: self.masks.as_ref().map(|masks| masks.images(&range, &self.dims)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_all_images_in_their_order() {
        let dims = BatchDims {
            images: 5,
            canvas_px: 1,
            rows: 2,
            prompts: 1,
            text_tokens: 3,
            context_tokens: 0,
        };
        let numbers = |size: usize| (0..5 * size).map(|i| i as f32).collect::<Vec<_>>();
        let batch = HostBatch {
            images: numbers(3),
            sizes: numbers(2),
            prompt_boxes: numbers(4),
            prompt_traces: numbers(6),
            text: (0..30).collect(),
            row_valid: numbers(2),
            points: numbers(24),
            seed: 7,
            ..HostBatch::empty(Task::Locate, dims)
        };
        let parts = batch.split(2);
        assert_eq!(parts.iter().map(|part| part.dims.images).collect::<Vec<_>>(), [2, 3]);
        let joined = |of: fn(&HostBatch) -> &Vec<f32>| -> Vec<f32> {
            parts.iter().flat_map(|part| of(part).clone()).collect()
        };
        assert_eq!(joined(|batch| &batch.points), batch.points);
        assert_eq!(joined(|batch| &batch.images), batch.images);
        assert_eq!(joined(|batch| &batch.prompt_traces), batch.prompt_traces);
        assert_eq!(parts[1].text, (12..30).collect::<Vec<_>>());
        assert_eq!(batch.split(1), std::slice::from_ref(&batch));
        assert_eq!(batch.split(9).len(), 5, "no part is empty");
    }
}

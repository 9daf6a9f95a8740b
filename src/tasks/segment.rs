//! *Locate* with masks: expression → box → mask (`spec/inference.md` §2.2). The box of an expression's
//! last word is the prompt of the mask decoder; what it answers is brought from the canvas to the image.

use super::locate::{Find, Found};
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{ReadTexts, floats};
use super::{LocatedMask, Location};
use crate::data::batch::tensor;
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;
use crate::metrics::referring_masks::CoarseLogits;

/// A mask as the decoder answers: on a canvas, with fewer cells than that has pixels.
#[derive(Debug, Clone)]
pub(super) struct CoarseMask {
    /// Inside where above 0, row by row.
    logits: Vec<f32>,
    rows: usize,
    columns: usize,
    /// Side of the canvas in pixels.
    canvas_px: usize,
    /// Height and width of the image on the canvas, in pixels.
    content: [usize; 2],
    /// The IoU with the true mask that the model expects.
    predicted_iou: f32,
}

impl CoarseMask {
    /// The mask on an image of `width × height` pixels, which was put on the canvas.
    pub(super) fn on_image(&self, [width, height]: [u32; 2]) -> Result<Mask> {
        let Self { logits, rows, columns, canvas_px, content, .. } = self;
        let coarse = CoarseLogits { logits, rows: *rows, columns: *columns };
        coarse.on_image([*canvas_px; 2], *content, [height, width]).map_err(|problem| {
            let help = "Give an image of at most 16384 pixels a side.";
            Error::Usage { problem, help: help.into() }
        })
    }

    /// The IoU with the true mask that the model expects.
    pub(super) fn predicted_iou(&self) -> f32 {
        self.predicted_iou
    }

    /// The mask on an image of `size`, as it is told to a user.
    fn located(&self, size: [u32; 2]) -> Result<LocatedMask> {
        let segmentation = self.on_image(size)?.to_coco();
        Ok(LocatedMask { segmentation, predicted_iou: self.predicted_iou })
    }
}

#[cfg(test)]
impl CoarseMask {
    /// Of an image that fills its canvas.
    pub(super) fn example(logits: Vec<f32>, rows: usize, columns: usize) -> Self {
        let content = [4, 4];
        Self { logits, rows, columns, canvas_px: 4, content, predicted_iou: 0.5 }
    }
}

impl Predictor {
    /// Whether the model makes masks.
    pub fn makes_masks(&self) -> bool {
        self.model.makes_masks()
    }

    /// [`Self::locate`] with the mask of what each expression is about, on images of `sizes`: width and
    /// height of each as it was before it was put on the canvas, in pixels.
    ///
    /// # Errors
    /// As [`Self::locate`]; [`Error::Usage`] where the model makes no masks, or there is not one size per
    /// image.
    pub fn segment(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
        sizes: &[[u32; 2]],
    ) -> Result<Vec<Vec<Location>>> {
        self.check_expressions(images, expressions)?;
        let settings = self.settings(Task::Locate)?;
        if !self.makes_masks() {
            return Err(Error::Usage {
                problem: "the model makes no masks".into(),
                help: "Locate boxes only, or train a model with [model.masks] and a source with \
                       `masks = true`."
                    .into(),
            });
        }
        if sizes.len() != images.len() {
            return Err(Error::Usage {
                problem: format!("{} sizes for {} images", sizes.len(), images.len()),
                help: "Give the width and height of each image.".into(),
            });
        }
        let found = self.find(images, expressions, settings, Find::BoxesAndMasks)?;
        let with_mask = |found: Found, size| {
            let mask = found.mask.as_ref().map(|mask| mask.located(size)).transpose()?;
            Ok(Location { mask, ..found.location })
        };
        let of_image = |(found, &size): (Vec<Found>, _)| {
            found.into_iter().map(|found| with_mask(found, size)).collect()
        };
        found.into_iter().zip(sizes).map(of_image).collect()
    }

    /// Adds to texts that end with their last word what the mask branch has read in training: the end,
    /// where a text was not cut, and as much padding as always. The length of all texts, in tokens.
    pub(super) fn complete(&self, texts: &mut [Vec<Vec<i64>>], settings: &TaskSettings) -> usize {
        let length = self.max_text_tokens(settings);
        let end = self.model.language().vocabulary().end;
        for text in texts.iter_mut().flatten().filter(|text| text.len() < length) {
            text.push(end);
        }
        length
    }

    /// The masks of boxes, normalised to the images, of which there are at most `N` per image; `None`
    /// where the model makes none.
    pub(super) fn masks_of(
        &self,
        images: &EncodedImages,
        bounds: &[Vec<BoundingBox>],
        read: ReadTexts,
    ) -> Option<Vec<Vec<CoarseMask>>> {
        let [batch, num_rows, ..] = read.features.dims();
        let mut boxes = Vec::with_capacity(batch * num_rows * 4);
        for (bounds, &[width, height]) in bounds.iter().zip(&images.sizes) {
            // The box of a filler says nothing: its mask is not read.
            let filled = (0..num_rows).map(|row| bounds.get(row).copied());
            let filled = filled.map(|bounds| bounds.unwrap_or(BoundingBox::UNIT));
            boxes.extend(filled.flat_map(|bounds| bounds.scale(width, height).to_array()));
        }
        let boxes = tensor(boxes, [batch, num_rows, 4], &self.device());
        let masks = self.model.masks(&images.features, boxes, read.visual, read.features)?;
        let (logits, ious) = masks.best();
        let [_, _, rows, columns] = logits.dims();
        let (logits, ious) = (floats(logits), floats(ious));
        let mut masks = logits.chunks(rows * columns).zip(ious);
        let of_image = |(bounds, size): (&Vec<BoundingBox>, &[f32; 2])| {
            let [width, height] = size.map(|side| side as usize);
            let masks = masks.by_ref().take(num_rows).map(|(logits, predicted_iou)| CoarseMask {
                logits: logits.to_vec(),
                rows,
                columns,
                canvas_px: self.canvas_px(),
                content: [height, width],
                predicted_iou,
            });
            // Fillers are taken and left out.
            let masks: Vec<_> = masks.collect();
            masks.into_iter().take(bounds.len()).collect()
        };
        Some(bounds.iter().zip(&images.sizes).map(of_image).collect())
    }
}

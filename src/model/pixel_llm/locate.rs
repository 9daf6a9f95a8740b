//! Points, boxes and masks out.

use burn::tensor::{Bool, Tensor};

use super::PixelLlm;
use crate::model::heads::boxes::BoxDecoder;
use crate::model::heads::boxes::nms::Detection;
use crate::model::heads::masks::{MaskInput, Masks};
use crate::model::places::box_around;
use crate::model::vision::VisionFeatures;

impl PixelLlm {
    /// `features`: `[B, N, L, D]` → `[B, N, L, P, 2]`, normalised to the un-padded image; `None` without
    /// a point head.
    pub fn points(&self, features: Tensor<4>) -> Option<Tensor<5>> {
        let points = self.points.as_ref()?;
        Some(points.forward(self.language.point_features(features)))
    }

    /// Scores of the classes of points, `[B, N, L, P, 1 + classes]`, which nothing in the model reads.
    pub fn point_scores(&self, features: Tensor<4>) -> Option<Tensor<5>> {
        let points = self.points.as_ref()?;
        Some(points.class_scores(self.language.point_features(features)))
    }

    /// The decoder that finds boxes; `None` where the model has none.
    pub fn box_decoder(&self) -> Option<&BoxDecoder> {
        self.boxes.as_ref()
    }

    /// The boxes of every image, by falling score ([`BoxDecoder::detect`]); `None` without a decoder.
    pub fn detect(&self, features: &VisionFeatures) -> Option<Vec<Vec<Detection>>> {
        Some(self.boxes.as_ref()?.detect(features.fused.clone()))
    }

    /// The masks of boxes; `None` without a mask branch or without SAM. No gradient goes back through
    /// the boxes.
    ///
    /// # Shapes
    /// - `boxes`: `[B, N, 4]`, xyxy in pixels of the canvas
    /// - `visual`: `[B, N, Q, D]`, what the language model saw of each prompt
    /// - `text`: `[B, N, L, D]`, features of what it read
    pub fn masks(
        &self,
        features: &VisionFeatures,
        boxes: Tensor<3>,
        visual: Tensor<4>,
        text: Tensor<4>,
    ) -> Option<Masks> {
        let (masks, image) = (self.masks.as_ref()?, features.sam.clone()?);
        let [_, _, height, width] = image.dims();
        Some(masks.forward(MaskInput {
            image,
            grid: self.location.grid(height, width),
            no_mask: self.location.no_mask(),
            boxes: self.location.box_corners(boxes.detach(), [self.reference_px.sam; 2]),
            visual,
            text: self.language.point_features(text),
        }))
    }
}

/// The box around the points of the selected tokens of each text; of a text without any, an inverted
/// one. Of points of an offset grid, `points_per_side` says how many there are; else 0.
///
/// # Shapes
/// - `points`: `[B, N, L, P, 2]`
/// - `selected`: `[B, N, L]`
/// - result: `[B, N, 4]`, xyxy
pub fn box_of_points(
    points: Tensor<5>,
    selected: Tensor<3, Bool>,
    points_per_side: i64,
) -> Tensor<3> {
    let [batch, rows, length, count, _] = points.dims();
    let selected = selected.unsqueeze_dim::<4>(3).expand([batch, rows, length, count]);
    let selected = selected.reshape([batch, rows, length * count]);
    box_around(points.reshape([batch, rows, length * count, 2]), Some(selected), points_per_side)
}

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
        let features = self.beside(points, self.language.point_features(features));
        Some(points.forward(features))
    }

    /// Scores of the classes of points, `[B, N, L, P, 1 + classes]`, which nothing in the model reads.
    pub fn point_scores(&self, features: Tensor<4>) -> Option<Tensor<5>> {
        let points = self.points.as_ref()?;
        let features = self.beside(points, self.language.point_features(features));
        Some(points.class_scores(features))
    }

    /// The decoder that finds boxes; `None` where the model has none.
    pub fn box_decoder(&self) -> Option<&BoxDecoder> {
        self.boxes.as_ref()
    }

    /// The boxes of every image, by falling score ([`BoxDecoder::detect`]); `None` without a decoder.
    pub fn detect(&self, features: &VisionFeatures) -> Option<Vec<Vec<Detection>>> {
        Some(self.boxes.as_ref()?.detect(self.beside_boxes(features)))
    }

    /// Whether the model makes masks.
    pub fn makes_masks(&self) -> bool {
        self.masks.is_some()
    }

    /// The masks of boxes; `None` without a mask branch or without SAM. No gradient goes back through
    /// the boxes.
    ///
    /// # Shapes
    /// - `boxes`: `[B, N, 4]`, xyxy in pixels of the canvas
    /// - `visual`: `[B, M, Q, D]`, what the language model saw of each prompt; `M` is `N`, or 1 where rows
    ///   share theirs
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
        let [batch, rows, _] = boxes.dims();
        let [_, _, num_visual, visual_width] = visual.dims();
        let visual = visual.expand([batch, rows, num_visual, visual_width]);
        let boxes = self.beside(&self.location, boxes.detach());
        let boxes = self.location.box_corners(boxes, [self.reference_px.sam; 2]);
        Some(masks.forward(MaskInput {
            image: self.beside(masks, image),
            grid: self.beside(masks, self.location.grid(height, width)),
            no_mask: self.beside(masks, self.location.no_mask()),
            boxes: self.beside(masks, boxes),
            visual: self.beside(masks, visual),
            text: self.beside(masks, self.language.point_features(text)),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::model::heads::boxes::head::HeadConfig;
    use crate::model::heads::boxes::pyramid::PyramidConfig;
    use crate::model::heads::boxes::roi_head::RoiHeadConfig;
    use crate::model::heads::boxes::{BoxDecoderConfig, DetectionConfig};
    use crate::model::heads::masks::MaskConfig;
    use crate::model::heads::masks::mask_adapter::MaskAdapterConfig;
    use crate::model::heads::masks::mask_decoder::MaskDecoderConfig;
    use crate::model::language::beam::BeamConfig;
    use crate::model::language::decoding::{Decoding, write};
    use crate::model::pixel_llm::{PixelLlmConfig, PromptScope};
    use crate::model::testing::{VOCABULARY, tiny_config};

    /// A model with every part.
    fn complete() -> PixelLlmConfig {
        let mut config = tiny_config();
        config.vision.sam.iter_mut().for_each(|sam| sam.output_channels = 8);
        let boxes = BoxDecoderConfig {
            pyramid: PyramidConfig { inner_width: 8, channels: 8, ..PyramidConfig::default() },
            head: HeadConfig { channels: 8, layers: 1, groups: 2 },
            roi: RoiHeadConfig { widths: vec![12], ..RoiHeadConfig::default() },
            detections: DetectionConfig { count: 3, ..DetectionConfig::default() },
            ..BoxDecoderConfig::default()
        };
        let decoder = MaskDecoderConfig {
            width: 8,
            num_heads: 2,
            mlp_width: 16,
            hyper_width: 8,
            iou_width: 8,
            ..MaskDecoderConfig::default()
        };
        let adapter =
            MaskAdapterConfig { width: 8, num_heads: 2, mlp_width: 16, ..Default::default() };
        let masks = MaskConfig { decoder, adapter: Some(adapter) };
        PixelLlmConfig { boxes: Some(boxes), masks: Some(masks), ..config }
    }

    #[test]
    fn boxes_that_are_found_are_described_and_masked() {
        let device = Device::flex();
        assert_eq!(complete().validate(), []);
        let model = complete().init(VOCABULARY, &device);
        let images = Tensor::random([2, 3, 16, 16], Distribution::Uniform(0.0, 255.0), &device);
        let features = model.encode(images, Tensor::ones([2, 16, 16], &device));
        let found = model.detect(&features).unwrap();
        assert!(found.len() == 2 && found.iter().all(|found| found.len() == 3));
        let boxes: Vec<f32> =
            found.iter().flatten().flat_map(|one| one.bounding_box.to_array()).collect();
        let boxes = Tensor::<1>::from_data(boxes.as_slice(), &device).reshape([2, 3, 4]);

        let visual = model.visual_tokens(&features, boxes.clone(), PromptScope::Region);
        let state = model.begin(&features, boxes.clone(), PromptScope::Region, None, 3);
        let beams = BeamConfig { beams: 2, ..BeamConfig::default() };
        let written = write(model.language(), state, 6, &Decoding::Beams(beams));
        assert_eq!(written.tokens.dims(), [6, 6]);
        let text = written.tokens.reshape([2, 3, 6]);

        let text = model.read_text(visual.clone(), None, text);
        let masks = model.masks(&features, boxes, visual, text).unwrap();
        assert_eq!(masks.logits.dims(), [2, 3, 1, 16, 16]);
    }

    #[test]
    fn parts_that_are_not_there_say_nothing() {
        let device = Device::flex();
        let config = PixelLlmConfig { points: None, ..tiny_config() };
        let model = config.init(VOCABULARY, &device);
        let features = model
            .encode(Tensor::zeros([1, 3, 16, 16], &device), Tensor::ones([1, 16, 16], &device));
        assert!(model.points(Tensor::zeros([1, 1, 2, 16], &device)).is_none());
        assert!(model.detect(&features).is_none());
    }

    #[test]
    fn the_box_of_a_text_is_around_the_points_of_its_selected_tokens() {
        let device = Device::flex();
        let points = Tensor::<5>::from_data(
            [[[[[5.0, 1.0], [3.0, 2.0]], [[0.0, 0.0], [9.0, 9.0]]]]],
            &device,
        );
        let selected = Tensor::<3, Bool>::from_data([[[true, false]]], &device);
        let found = box_of_points(points, selected, 0).into_data();
        assert_eq!(found.iter::<f32>().collect::<Vec<_>>(), [3.0, 1.0, 5.0, 2.0]);
    }
}

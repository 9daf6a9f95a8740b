//! Masks out (`spec/model.md` §11): the tokens of a box, corrected by what the language model has seen
//! and read, become a mask on SAM's map.
//!
//! | file | subject |
//! |---|---|
//! | [`mask_adapter`] | the correction |
//! | [`mask_decoder`] | SAM's mask decoder |
//! | [`restore`] | from the canvas to the image |

pub mod mask_adapter;
pub mod mask_decoder;
pub mod restore;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use mask_adapter::{MaskAdapter, MaskAdapterConfig};
use mask_decoder::{Candidates, MaskDecoder, MaskDecoderConfig};

/// Sizes of the mask branch; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// SAM's mask decoder.
    pub decoder: MaskDecoderConfig,
    /// What corrects the tokens of boxes; without it they are decoded as they are.
    pub adapter: Option<MaskAdapterConfig>,
}

impl Default for MaskConfig {
    fn default() -> Self {
        let adapter = Some(MaskAdapterConfig::default());
        Self { decoder: MaskDecoderConfig::default(), adapter }
    }
}

impl MaskConfig {
    /// What cannot be built, with keys relative to this table. The decoder reads a map of
    /// `image_channels` and tokens of `prompt_width`; the other widths are those of
    /// [`MaskAdapterConfig::init`].
    pub fn validate(
        &self,
        image_channels: usize,
        prompt_width: usize,
        visual_width: usize,
        text_width: usize,
    ) -> Vec<ConfigProblem> {
        let mut problems = ConfigProblem::under("decoder", self.decoder.validate());
        let mut same = |key: &str, width: usize| {
            let inputs = [("SAM's map", image_channels), ("prompt tokens", prompt_width)];
            problems.extend(inputs.into_iter().filter(|(_, wanted)| *wanted != width).map(
                |(input, wanted)| ConfigProblem {
                    key: format!("{key}.width"),
                    problem: format!("{input} have a width of {wanted}, not {width}"),
                    allowed: format!("{wanted}"),
                },
            ));
        };
        same("decoder", self.decoder.width);
        if let Some(adapter) = &self.adapter {
            same("adapter", adapter.width);
            let found = adapter.validate(visual_width, text_width);
            problems.extend(ConfigProblem::under("adapter", found));
        }
        problems
    }

    /// Builds the branch on `device`, for visual tokens of `visual_width` and text features of
    /// `text_width`.
    pub fn init(&self, visual_width: usize, text_width: usize, device: &Device) -> MaskHead {
        let adapter = self.adapter.as_ref();
        MaskHead {
            decoder: self.decoder.init(device),
            adapter: adapter.map(|adapter| adapter.init(visual_width, text_width, device)),
        }
    }
}

/// Says which cells of the canvas each box is about.
#[derive(Module, Debug)]
pub struct MaskHead {
    decoder: MaskDecoder,
    adapter: Option<MaskAdapter>,
}

/// What masks are decoded from.
#[derive(Debug, Clone)]
pub struct MaskInput {
    /// SAM's map, `[B, D, H, W]`.
    pub image: Tensor<4>,
    /// The encoding of its cells' places, `[D, H, W]`.
    pub grid: Tensor<3>,
    /// The vector that stands for "no mask prompt", `[D]`.
    pub no_mask: Tensor<1>,
    /// The tokens of the boxes' two corners, `[B, N, 2, D]`.
    pub boxes: Tensor<4>,
    /// What the language model saw, `[B, N, Q, V]`.
    pub visual: Tensor<4>,
    /// Features of what it read, `[B, N, L, T]`.
    pub text: Tensor<4>,
}

/// Masks of prompts, on the whole canvas.
#[derive(Debug, Clone)]
pub struct Masks {
    /// Inside where above 0: `[B, N, K, 4·H, 4·W]`.
    pub logits: Tensor<5>,
    /// How well each is expected to overlap the truth, as IoU: `[B, N, K]`.
    pub ious: Tensor<3>,
}

impl MaskHead {
    /// One mask per box.
    pub fn forward(&self, input: MaskInput) -> Masks {
        let MaskInput { image, grid, no_mask, boxes, visual, text } = input;
        let boxes = match &self.adapter {
            Some(adapter) => adapter.forward(boxes, visual, text),
            None => boxes,
        };
        let [width] = no_mask.dims();
        let dense = no_mask.reshape([1, 1, width, 1, 1]);
        self.decoder.forward(image, grid, boxes, dense, Candidates::One)
    }
}

impl Masks {
    /// The mask of each prompt that is expected to be the best, and what is expected of it:
    /// `[B, N, 4·H, 4·W]` and `[B, N]`.
    pub fn best(self) -> (Tensor<4>, Tensor<2>) {
        let [batch, rows, _, height, width] = self.logits.dims();
        let best = self.ious.clone().argmax(2);
        let ious = self.ious.gather(2, best.clone()).reshape([batch, rows]);
        let best = best.reshape([batch, rows, 1, 1, 1]).expand([batch, rows, 1, height, width]);
        (self.logits.gather(2, best).reshape([batch, rows, height, width]), ious)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_best_mask_is_the_one_with_the_highest_expected_overlap() {
        let device = Device::flex();
        let logits = Tensor::<1>::from_data([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &device);
        let logits = logits.reshape([1, 2, 3, 1, 1]).expand([1, 2, 3, 2, 2]);
        let ious = Tensor::<3>::from_data([[[0.1, 0.9, 0.5], [0.8, 0.2, 0.3]]], &device);
        let (mask, iou) = Masks { logits, ious }.best();
        let values: Vec<f32> = mask.into_data().try_to_vec().unwrap();
        assert_eq!(values, [2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0]);
        let ious: Vec<f32> = iou.into_data().try_to_vec().unwrap();
        assert_eq!(ious, [0.9, 0.8]);
    }

    #[test]
    fn every_box_has_a_mask_and_widths_must_agree() {
        let device = Device::flex();
        let decoder = MaskDecoderConfig {
            width: 8,
            depth: 1,
            num_heads: 2,
            mlp_width: 4,
            ..Default::default()
        };
        let adapter = MaskAdapterConfig {
            width: 8,
            depth: 1,
            num_heads: 2,
            mlp_width: 4,
            ..Default::default()
        };
        let config = MaskConfig { decoder, adapter: Some(adapter) };
        assert!(config.validate(8, 8, 5, 6).is_empty());
        assert_eq!(config.validate(16, 8, 5, 6)[0].key, "decoder.width");
        let masks = config.init(5, 6, &device).forward(MaskInput {
            image: Tensor::ones([2, 8, 3, 3], &device),
            grid: Tensor::ones([8, 3, 3], &device),
            no_mask: Tensor::ones([8], &device),
            boxes: Tensor::ones([2, 4, 2, 8], &device),
            visual: Tensor::ones([2, 4, 3, 5], &device),
            text: Tensor::ones([2, 4, 7, 6], &device),
        });
        assert_eq!(masks.logits.dims(), [2, 4, 1, 12, 12]);
        assert_eq!(masks.ious.dims(), [2, 4, 1]);
    }
}

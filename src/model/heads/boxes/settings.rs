//! Settings of the box decoder.

use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BoxDecoder;
use super::head::HeadConfig;
use super::nms::Selection;
use super::proposals::ProposalConfig;
use super::pyramid::{PyramidConfig, Scale};
use super::roi_head::RoiHeadConfig;
use super::targets::{Cells, TargetRule};
use crate::model::ConfigProblem;

/// Sizes of the box decoder; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BoxDecoderConfig {
    /// Maps of several sizes from one.
    pub pyramid: PyramidConfig,
    /// First stage.
    pub head: HeadConfig,
    /// How large a cell of a map is.
    pub strides: Strides,
    /// For each level, least and greatest half diagonal of its boxes, in pixels of the canvas.
    pub level_ranges: Vec<[f32; 2]>,
    /// How annotated boxes become targets of the first stage.
    pub targets: TargetRule,
    /// From the first stage to the second.
    pub proposals: ProposalConfig,
    /// Second stage.
    pub roi: RoiHeadConfig,
    /// What comes out.
    pub detections: DetectionConfig,
    /// Overlap with an annotated box from which on a box is given its caption in training.
    pub caption_iou: f32,
    /// Boxes per image that are captioned in training, at most: the first of those from which the second
    /// stage learns. The paper has 64, 32 with T5, and 16 where tasks are mixed.
    pub captioned: usize,
}

/// How large a cell of a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strides {
    /// 16 pixels for the image encoder's map, whatever its grid (the reference). With patches of 14
    /// pixels, its maps reach beyond the canvas.
    Nominal,
    /// What the grid has: the canvas divided by the cells.
    Effective,
}

/// Which boxes come out; defaults are the paper's for dense captioning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionConfig {
    /// Boxes with no more than this score −1.
    pub score_threshold: f32,
    /// Overlap with a better box at which one goes.
    pub max_overlap: f32,
    /// How many there are.
    pub count: usize,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        Self { score_threshold: 0.05, max_overlap: 0.5, count: 100 }
    }
}

impl Default for BoxDecoderConfig {
    fn default() -> Self {
        Self {
            pyramid: PyramidConfig::default(),
            head: HeadConfig::default(),
            strides: Strides::Nominal,
            level_ranges: vec![
                [0.0, 40.0],
                [32.0, 80.0],
                [64.0, 160.0],
                [128.0, 320.0],
                [256.0, 50000.0],
            ],
            targets: TargetRule::default(),
            proposals: ProposalConfig::default(),
            roi: RoiHeadConfig::default(),
            detections: DetectionConfig::default(),
            caption_iou: 0.6,
            captioned: 64,
        }
    }
}

impl BoxDecoderConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = ConfigProblem::under("pyramid", self.pyramid.validate());
        problems.extend(ConfigProblem::under("head", self.head.validate()));
        problems.extend(ConfigProblem::under("roi", self.roi.validate()));
        if self.captioned == 0 {
            problems.push(ConfigProblem {
                key: "captioned".into(),
                problem: "no box would be captioned in training".into(),
                allowed: "at least 1".into(),
            });
        }
        let levels = self.pyramid.levels().len();
        if self.level_ranges.len() != levels {
            problems.push(ConfigProblem {
                key: "level_ranges".into(),
                problem: format!("{} ranges for {levels} levels", self.level_ranges.len()),
                allowed: "one range for each level".into(),
            });
        }
        problems
    }

    /// Builds the decoder for a map of `image_channels` of a canvas of `canvas_px` pixels on `device`.
    pub fn init(&self, image_channels: usize, canvas_px: usize, device: &Device) -> BoxDecoder {
        let (channels, levels) = (self.pyramid.channels, self.pyramid.levels().len());
        BoxDecoder {
            pyramid: self.pyramid.init(image_channels, device),
            head: self.head.init(channels, levels, device),
            roi_head: self.roi.init(channels, device),
            config: self.clone(),
            canvas_px,
        }
    }

    /// Where the cells of the pyramid's `maps` `[B, channels, H, W]` are, made from a map of `rows` rows.
    pub(super) fn cells(&self, maps: &[Tensor<4>], canvas_px: usize, rows: usize) -> Vec<Cells> {
        let cells = |(level, map): (usize, &Tensor<4>)| {
            let [_, _, height, width] = map.dims();
            let nominal = 2.0f32.powi(level as i32);
            match self.strides {
                Strides::Nominal => Cells::nominal(nominal, height, width),
                Strides::Effective => {
                    // A level's cells are to the encoder's as their nominal sizes are.
                    let relative = nominal / 2.0f32.powi(Scale::Same.level() as i32);
                    let stride = canvas_px as f32 / rows as f32 * relative;
                    Cells { stride, first_center: stride / 2.0, height, width }
                }
            }
        };
        self.pyramid.levels().into_iter().zip(maps).map(cells).collect()
    }

    pub(super) fn selection(&self) -> Selection {
        let DetectionConfig { score_threshold, max_overlap, count } = self.detections;
        Selection { score_threshold, max_overlap, count }
    }
}

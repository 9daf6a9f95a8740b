//! Second stage (`spec/model.md` §10.5): looks at the features under a box, says how likely it holds an
//! object, and corrects the box.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};
use rand::Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::box_coding::BoxCoding;
use super::matching::{Label, best_matches};
use super::roi_align::Grid;
use crate::geometry::BoundingBox;
use crate::model::ConfigProblem;
use crate::model::mixed_precision::linear;

/// Classes of the second stage: background and object.
pub const NUM_CLASSES: usize = 2;
/// The grid of features under a box.
pub const POOLED: Grid = Grid { side: 7, samples: 2 };
/// Standard deviations of the initial kernels of the two outputs.
const CLASS_DEVIATION: f64 = 0.01;
const BOX_DEVIATION: f64 = 0.001;

/// Sizes of the second stage and which boxes it learns from; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoiHeadConfig {
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// Boxes per image in training.
    pub samples: usize,
    /// Most of them that hold an object, as a share.
    pub positive_fraction: f32,
    /// Overlap with an annotated box from which on a box holds its object.
    pub positive_iou: f32,
    /// How a correction is written.
    pub coding: BoxCoding,
}

impl Default for RoiHeadConfig {
    fn default() -> Self {
        Self {
            widths: vec![1024, 1024],
            samples: 512,
            positive_fraction: 0.25,
            positive_iou: 0.6,
            coding: BoxCoding::default(),
        }
    }
}

/// A box from which the second stage learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// In pixels of the canvas.
    pub bounding_box: BoundingBox,
    /// The annotated box with which it overlaps most.
    pub annotated: usize,
    /// Whether it holds that object, nothing, or was left out and only fills up.
    pub label: Label,
}

impl RoiHeadConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let shares =
            [("positive_fraction", self.positive_fraction), ("positive_iou", self.positive_iou)];
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                problems.push(ConfigProblem {
                    key: key.into(),
                    problem: format!("{share} is no share"),
                    allowed: "0 to 1".into(),
                });
            }
        }
        if self.samples == 0 {
            problems.push(ConfigProblem {
                key: "samples".into(),
                problem: "there is nothing to learn from".into(),
                allowed: "at least 1".into(),
            });
        }
        problems
    }

    /// Builds the head for levels of `channels` on `device`.
    pub fn init(&self, channels: usize, device: &Device) -> RoiHead {
        let inputs = POOLED.side * POOLED.side * channels;
        let linear = |from, to, initializer| {
            let mut linear = LinearConfig::new(from, to).with_initializer(initializer).init(device);
            linear.bias = Some(Initializer::Zeros.init([to], device));
            linear
        };
        // Keeps the variance of what comes in.
        let hidden = |from: usize, to| {
            let bound = (3.0 / from as f64).sqrt();
            linear(from, to, Initializer::Uniform { min: -bound, max: bound })
        };
        let widths = [&[inputs], self.widths.as_slice()].concat();
        let last = widths[widths.len() - 1];
        let output = |to, std| linear(last, to, Initializer::Normal { mean: 0.0, std });
        RoiHead {
            hidden: widths.windows(2).map(|pair| hidden(pair[0], pair[1])).collect(),
            classes: output(NUM_CLASSES, CLASS_DEVIATION),
            deltas: output(4, BOX_DEVIATION),
        }
    }

    /// The boxes of an image that are learnt from: `proposals` and, behind them, the annotated boxes
    /// themselves (also those without an area, which then are background). Boxes with an object come
    /// first, then those without, then what is left over; otherwise their order stays.
    pub fn sample(
        &self,
        proposals: &[BoundingBox],
        annotated: &[BoundingBox],
        rng: &mut impl Rng,
    ) -> Vec<Sample> {
        let boxes = [proposals, annotated].concat();
        let matches = best_matches(&boxes, annotated);
        let mut samples: Vec<Sample> = boxes
            .iter()
            .zip(&matches)
            .map(|(&bounding_box, found)| Sample {
                bounding_box,
                annotated: found.index,
                label: found.label(self.positive_iou, self.positive_iou),
            })
            .collect();
        let most = (self.samples as f32 * self.positive_fraction) as usize;
        let positives = keep_some(&mut samples, Label::Positive, most, rng);
        keep_some(&mut samples, Label::Negative, self.samples - positives, rng);
        samples.sort_by_key(|sample| match sample.label {
            Label::Positive => 0,
            Label::Negative => 1,
            Label::Ignored => 2,
        });
        samples.truncate(self.samples);
        samples
    }
}

/// Leaves `most` samples with `label`, drawn by chance; the others are ignored. How many are left.
fn keep_some(samples: &mut [Sample], label: Label, most: usize, rng: &mut impl Rng) -> usize {
    let mut all: Vec<usize> =
        (0..samples.len()).filter(|&index| samples[index].label == label).collect();
    if all.len() <= most {
        return all.len();
    }
    all.shuffle(rng);
    for &index in &all[most..] {
        samples[index].label = Label::Ignored;
    }
    most
}

/// The second stage.
#[derive(Module, Debug)]
pub struct RoiHead {
    hidden: Vec<Linear>,
    classes: Linear,
    deltas: Linear,
}

impl RoiHead {
    /// Logits of background and object `[B, N, 2]`, and corrections of the boxes `[B, N, 4]`.
    ///
    /// # Shapes
    /// - `pooled`: `[B, N, 7, 7, D]`, the features under `N` boxes
    pub fn forward(&self, pooled: Tensor<5>) -> (Tensor<3>, Tensor<3>) {
        let [batch, rows, height, width, channels] = pooled.dims();
        let flat = pooled.reshape([batch, rows, height * width * channels]);
        let hidden = self.hidden.iter().fold(flat, |x, layer| activation::relu(linear(layer, x)));
        (linear(&self.classes, hidden.clone()), linear(&self.deltas, hidden))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn square(x: f32) -> BoundingBox {
        BoundingBox::new(x, 0.0, x + 10.0, 10.0)
    }

    #[test]
    fn objects_come_first_and_annotated_boxes_behind_proposals() {
        let config =
            RoiHeadConfig { samples: 9, positive_fraction: 1.0, ..RoiHeadConfig::default() };
        let annotated = [square(0.0), BoundingBox::new(0.0, 0.0, 0.0, 0.0)];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let samples = config.sample(&[square(50.0), square(1.0)], &annotated, &mut rng);
        let boxes: Vec<_> = samples.iter().map(|sample| sample.bounding_box).collect();
        assert_eq!(boxes, [square(1.0), annotated[0], square(50.0), annotated[1]]);
        let labels: Vec<_> = samples.iter().map(|sample| sample.label).collect();
        assert_eq!(labels[..2], [Label::Positive; 2]);
        assert_eq!(labels[2..], [Label::Negative; 2]);
    }

    #[test]
    fn of_too_many_some_are_drawn() {
        let config =
            RoiHeadConfig { samples: 4, positive_fraction: 0.25, ..RoiHeadConfig::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let far: Vec<_> = (2..20).map(|index| square(20.0 * index as f32)).collect();
        let proposals = [vec![square(0.0), square(1.0), square(2.0)], far].concat();
        let labels = |samples: Vec<Sample>, label| {
            samples.into_iter().filter(|sample| sample.label == label).count()
        };
        let samples = config.sample(&proposals, &[square(0.0)], &mut rng);
        assert_eq!(samples.len(), 4);
        assert_eq!(labels(samples.clone(), Label::Positive), 1);
        assert_eq!(labels(samples, Label::Negative), 3);
        // Too few negatives: what was left out fills up, and is not learnt from.
        let samples = config.sample(&proposals[..3], &[square(0.0)], &mut rng);
        assert_eq!(labels(samples, Label::Ignored), 3);
    }
}

//! Box decoder: CenterNet2 without classes (`spec/model.md` §10; Zhou et al., *Probabilistic two-stage
//! detection*, 2021). Nothing here but boxes: what is in them, the language model says.
//!
//! | file | subject |
//! |---|---|
//! | [`pyramid`] | maps of several sizes |
//! | [`head`] | at every cell: is an object's centre here, how far are its edges |
//! | [`targets`] | what the head should have said |
//! | [`proposals`], [`nms`] | the surest boxes, without those that say the same |
//! | [`roi_align`], `roi_groups` | the features under a box, and boxes that are looked at together |
//! | `host_roi_align` | the same features on the processor, without gradients |
//! | `device_detection` | all of it on a GPU that is not asked before the end; `device_candidates`, `device_nms`, `device_roi_align` and `device_rows` are its parts |
//! | [`roi_head`] | the second look at a box |
//! | [`rescoring`] | boxes ranked with their captions |
//! | [`box_coding`], [`matching`] | corrections of boxes; which annotated box a box stands for |

pub mod box_coding;
mod convolution;
mod device_candidates;
mod device_detection;
mod device_nms;
mod device_roi_align;
mod device_rows;
pub mod head;
mod host_roi_align;
pub mod matching;
pub mod nms;
pub mod proposals;
pub mod pyramid;
pub mod rescoring;
pub mod roi_align;
mod roi_groups;
pub mod roi_head;
mod settings;
pub mod targets;
mod training;

use burn::module::Module;
use burn::tensor::{Tensor, activation};

pub use settings::{BoxDecoderConfig, DetectionConfig, Strides};
pub use training::{CaptionRow, DetectionLosses, Training, target_tensors};

use crate::backend;
use crate::geometry::BoundingBox;
use head::{Head, LevelOutput, flatten};
use nms::Detection;
use proposals::Proposal;
use pyramid::Pyramid;
use roi_align::{Region, assign, roi_align};
use roi_head::{POOLED, RoiHead};
use targets::Cells;

/// Finds boxes in the image encoder's map.
#[derive(Module, Debug)]
pub struct BoxDecoder {
    pyramid: Pyramid,
    head: Head,
    roi_head: RoiHead,
    #[module(skip)]
    config: BoxDecoderConfig,
    #[module(skip)]
    canvas_px: usize,
}

/// What the first stage sees in a batch of images.
#[derive(Debug, Clone)]
pub struct FirstLook {
    /// The pyramid: `[B, channels, H, W]` each, finest first.
    pub maps: Vec<Tensor<4>>,
    /// What the head says of each.
    pub outputs: Vec<LevelOutput>,
    /// Where the cells of each are on the canvas.
    pub cells: Vec<Cells>,
}

impl FirstLook {
    /// Logits of centres `[B, M]` and distances to edges `[B, M, 4]` at the `M` cells of all levels.
    pub fn flat(&self) -> (Tensor<2>, Tensor<3>) {
        flatten(&self.outputs)
    }

    /// The surest `count` boxes of every image; they may overlap.
    pub fn candidates(&self, count: usize) -> Vec<Vec<Proposal>> {
        let (heatmap, distances) = self.flat();
        proposals::candidates(heatmap, distances, &self.cells, count)
    }
}

impl BoxDecoder {
    /// The first stage.
    ///
    /// # Shapes
    /// - `map`: `[B, D, H, W]`, the image encoder's
    pub fn first_look(&self, map: Tensor<4>) -> FirstLook {
        let [_, _, rows, _] = map.dims();
        let maps = self.pyramid.forward(map);
        let outputs = self.head.forward(&maps);
        let cells = self.config.cells(&maps, self.canvas_px, rows);
        FirstLook { maps, outputs, cells }
    }

    /// Proposals without clipping: the surest `candidates`, of which `kept` that do not overlap much.
    pub fn proposals(
        &self,
        look: &FirstLook,
        candidates: usize,
        kept: usize,
    ) -> Vec<Vec<Proposal>> {
        let max_overlap = self.config.proposals.max_overlap;
        let of_image = |one: Vec<Proposal>| proposals::select(&one, max_overlap, kept);
        look.candidates(candidates).into_iter().map(of_image).collect()
    }

    /// The second stage: logits of background and object `[B, N, 2]`, and corrections `[B, N, 4]`.
    ///
    /// `boxes` are `N` for each image, in pixels of the canvas.
    pub fn second_look(
        &self,
        look: &FirstLook,
        boxes: &[Vec<BoundingBox>],
    ) -> (Tensor<3>, Tensor<3>) {
        let strides: Vec<f32> = look.cells.iter().map(|cells| cells.stride).collect();
        let first = self.config.pyramid.levels()[0];
        let regions: Vec<Vec<Region>> = boxes
            .iter()
            .map(|boxes| boxes.iter().map(|one| assign(*one, &strides, first)).collect())
            .collect();
        self.roi_head.forward(roi_align(&look.maps, &regions, POOLED))
    }

    /// The part of a box on the canvas.
    fn clip(&self, one: BoundingBox) -> BoundingBox {
        let side = self.canvas_px as f32;
        one.clip(side, side)
    }

    /// The proposals of [`Self::proposals`] as boxes on the canvas.
    pub fn on_canvas(&self, proposals: &[Vec<Proposal>]) -> Vec<Vec<BoundingBox>> {
        let clip = |one: &Proposal| self.clip(one.bounding_box);
        proposals.iter().map(|proposals| proposals.iter().map(clip).collect()).collect()
    }

    /// The boxes of every image, in pixels of the canvas, by falling score; always
    /// `detections.count`, of which those with a score of 0 or below are none.
    ///
    /// On a GPU, values are read once for the whole batch, at the end ([`Self::detect_on_device`]). What
    /// cannot be decided there, and there only, is decided on the host with two reads more
    /// ([`Self::detect_on_host`]). That is also the way on the processor, whose memory is the host's, so that
    /// no read waits for a device.
    ///
    /// # Shapes
    /// - `map`: `[B, D, H, W]`, the image encoder's
    pub fn detect(&self, map: Tensor<4>) -> Vec<Vec<Detection>> {
        let look = self.first_look(map);
        let on_device = reading_costs(&look).then(|| self.detect_on_device(&look)).flatten();
        on_device.unwrap_or_else(|| self.detect_on_host(&look))
    }

    /// [`Self::detect`] with suppression, and where the second stage looks, decided on the host.
    ///
    /// Values leave the device twice for a batch: after the first stage, and after the second.
    pub fn detect_on_host(&self, look: &FirstLook) -> Vec<Vec<Detection>> {
        let settings = self.config.proposals;
        let proposals = self.proposals(look, settings.candidates, settings.kept);
        let boxes = self.on_canvas(&proposals);
        let (logits, deltas) = self.second_look(look, &boxes);
        let [_, rows, _] = logits.dims();
        // One read for all.
        let values = Tensor::cat(vec![object_probability(logits), deltas], 2).into_data();
        let values: Vec<f32> = values.iter().collect();
        let values: Vec<&[f32]> = values.chunks_exact(5).collect();
        let of_image =
            |(image, (proposals, boxes)): (usize, (&Vec<Proposal>, &Vec<BoundingBox>))| {
                let values = &values[image * rows..(image + 1) * rows];
                let judge = |((proposal, &bounding_box), values): ((&Proposal, _), &&[f32])| {
                    let [object, dx, dy, dw, dh] = [0, 1, 2, 3, 4].map(|index| values[index]);
                    let proposal = Proposal { bounding_box, ..*proposal };
                    Judged { proposal, object, deltas: [dx, dy, dw, dh] }
                };
                let judged = proposals.iter().zip(boxes).zip(values).map(judge);
                self.refine(&judged.collect::<Vec<_>>())
            };
        proposals.iter().zip(&boxes).enumerate().map(of_image).collect()
    }

    /// Detections of one image.
    fn refine(&self, judged: &[Judged]) -> Vec<Detection> {
        let coding = self.config.roi.coding;
        let refined = judged
            .iter()
            .map(|one| self.clip(coding.decode(one.deltas, one.proposal.bounding_box)));
        let scores = judged.iter().map(|one| {
            let score = (one.object * one.proposal.score).sqrt();
            vec![1.0 - score, score]
        });
        let selection = self.config.selection();
        selection.select(&refined.collect::<Vec<_>>(), &scores.collect::<Vec<_>>())
    }
}

/// A proposal, on the canvas, and what the second stage says of it.
struct Judged {
    proposal: Proposal,
    /// How likely it holds an object.
    object: f32,
    /// Four corrections.
    deltas: [f32; 4],
}

/// The probability of an object, `[B, N, 1]`, from logits of background and object `[B, N, 2]`.
fn object_probability(logits: Tensor<3>) -> Tensor<3> {
    activation::softmax(logits, 2).narrow(2, 1, 1)
}

/// Whether the host must wait for the device where it reads values from it.
fn reading_costs(look: &FirstLook) -> bool {
    look.maps.first().is_some_and(|map| !backend::is_host(&map.device().inner()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::pyramid::PyramidConfig;
    use super::roi_head::RoiHeadConfig;
    use super::*;
    use crate::model::loss::detection::DetectionLossConfig;
    use crate::model::testing::tiny_boxes;

    fn small() -> BoxDecoderConfig {
        let tiny = tiny_boxes();
        BoxDecoderConfig {
            pyramid: PyramidConfig { inner_width: 8, channels: 8, ..PyramidConfig::default() },
            head: tiny.head,
            proposals: tiny.proposals,
            roi: RoiHeadConfig { widths: vec![12, 12], samples: 8, ..RoiHeadConfig::default() },
            detections: tiny.detections,
            ..BoxDecoderConfig::default()
        }
    }

    fn map(device: &Device) -> Tensor<4> {
        Tensor::random([2, 5, 6, 6], Distribution::Normal(0.0, 1.0), device)
    }

    #[test]
    fn training_reaches_the_image_encoder_also_beside_an_image_without_boxes() {
        let device = Device::flex().autodiff();
        let config = small();
        assert!(config.validate().is_empty());
        let decoder = config.init(5, 96, &device);
        let object = BoundingBox::new(20.0, 20.0, 60.0, 70.0);
        let none = BoundingBox::new(0.0, 0.0, 0.0, 0.0);
        let annotated = [vec![object, none], vec![none, none]];
        let map = map(&device).require_grad();
        let weights = DetectionLossConfig::default();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let step = decoder.forward_train(map.clone(), &annotated, &weights.focal, &mut rng);
        assert!(step.samples.iter().all(|samples| samples.len() == 8));
        let loss = step.losses.total(&weights);
        assert!(loss.clone().into_scalar::<f32>().is_finite());
        let gradient = map.grad(&loss.backward()).unwrap();
        assert!(gradient.clone().abs().sum().into_scalar::<f32>() > 0.0);
        // The annotated box itself is always among the candidates, and comes first.
        let rows = decoder.caption_rows(&step.samples[0], &annotated[0], 4);
        assert_eq!(rows.len(), 4);
        assert!(rows[0].matched && rows[0].annotated == 0);
        let rows = decoder.caption_rows(&step.samples[1], &annotated[1], 4);
        assert!(rows.iter().all(|row| !row.matched));
    }

    #[test]
    fn strange_boxes_are_looked_at_without_numbers_that_are_none() {
        let device = Device::flex();
        let decoder = small().init(5, 96, &device);
        let look = decoder.first_look(map(&device));
        let strange = [
            [0.0; 4],
            [10.0, 10.0, 10.0, 40.0],
            [50.0, 50.0, 20.0, 20.0],
            [200.0, 200.0, 300.0, 300.0],
            [-90.0, -90.0, -10.0, -10.0],
            [-1e9, -1e9, 1e9, 1e9],
            [f32::NAN, 0.0, 5.0, f32::INFINITY],
        ];
        let boxes: Vec<_> =
            strange.iter().map(|b| BoundingBox::new(b[0], b[1], b[2], b[3])).collect();
        let (logits, deltas) = decoder.second_look(&look, &[boxes.clone(), boxes.clone()]);
        assert_eq!((logits.dims(), deltas.dims()), ([2, 7, 2], [2, 7, 4]));
        let values = Tensor::cat(vec![logits, deltas], 2).into_data();
        assert!(values.iter::<f32>().all(f32::is_finite));
        // None of them is an object to learn, and no annotation at all is fine, too.
        let weights = DetectionLossConfig::default();
        for annotated in [[boxes[..5].to_vec(), vec![]], [vec![], vec![]]] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let step = decoder.forward_train(map(&device), &annotated, &weights.focal, &mut rng);
            let total = step.losses.total(&weights).into_scalar::<f32>();
            assert!(total.is_finite() && total > 0.0, "{total}");
            let rows = decoder.caption_rows(&step.samples[1], &annotated[1], 3);
            assert!(rows.len() == 3 && rows.iter().all(|row| !row.matched));
        }
    }

    #[test]
    fn detections_lie_on_the_canvas_and_the_surest_comes_first() {
        let device = Device::flex();
        let found = small().init(5, 96, &device).detect(map(&device));
        assert_eq!(found.len(), 2);
        for found in found {
            assert_eq!(found.len(), 6);
            assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            let inside = |value: f32| (0.0..=96.0).contains(&value);
            assert!(found.iter().all(|one| one.bounding_box.to_array().into_iter().all(inside)));
        }
    }

    #[test]
    fn effective_strides_are_those_of_the_grid() {
        let device = Device::flex();
        // 6 cells on a canvas of 84 pixels: 14 pixels each.
        let config = BoxDecoderConfig { strides: Strides::Effective, ..small() };
        let look = config.init(5, 84, &device).first_look(map(&device));
        let strides: Vec<f32> = look.cells.iter().map(|cells| cells.stride).collect();
        assert_eq!(strides, [7.0, 14.0, 28.0, 56.0, 112.0]);
        assert_eq!(look.cells[0].first_center, 3.5);
        assert_eq!((look.cells[0].height, look.cells[4].height), (12, 1));
        let look = small().init(5, 84, &device).first_look(map(&device));
        assert_eq!(look.cells[0].stride, 8.0);
    }
}

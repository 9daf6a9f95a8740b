//! Detection on a device that is not asked before the end: both stages and everything between them are
//! tensors, and one read brings what they found to the host.
//!
//! On a GPU, a read waits for all that was asked for before, and the device then waits for the host; here it
//! has work until the end. The results are those of the host: [`device_candidates`] and [`device_nms`]
//! decide by comparisons and exact counts, and say with the same read where they cannot.
//!
//! [`device_candidates`]: super::device_candidates
//! [`device_nms`]: super::device_nms

use burn::tensor::{DType, Int, Tensor};

use super::device_candidates::{Candidates, candidates};
use super::device_nms::{has_same_rule, survivors};
use super::device_roi_align::{Levels, roi_align};
use super::device_rows::{first_chosen, indices, take};
use super::nms::Detection;
use super::proposals::Proposal;
use super::roi_head::POOLED;
use super::{BoxDecoder, FirstLook, Judged, object_probability};
use crate::geometry::BoundingBox;

/// Numbers that are read of each proposal: its box, its score, the probability of an object, four
/// corrections, and what is undecided.
const READ: usize = 11;

/// What [`BoxDecoder::proposals`] are, on the device.
struct Proposals {
    /// `[B, N, 4]`, clipped to the canvas.
    boxes: Tensor<3>,
    /// `[B, N]`
    scores: Tensor<2>,
    /// `[1]`: greater than 0 where the host must decide.
    undecided: Tensor<1>,
}

impl BoxDecoder {
    /// [`Self::detect`] with one read from the device for the whole batch, at the end. `None` where the host
    /// must decide: where
    ///
    /// - proposals may overlap by a half or less (the rule of [`super::nms::suppress`] is another then; nothing
    ///   is read),
    /// - there is nothing to look at, or the numbers are not of 32 bits (nothing is read),
    /// - a chain of proposals that suppress one another is too long, or places or distances are not numbers
    ///   or are beyond all measure. This is known after the read only.
    ///
    /// The boxes are those of [`Self::detect_on_host`] in the same order. Where a device rounds as the host
    /// does, proposals agree bit for bit, and scores as far as sums of the same numbers in another order.
    pub fn detect_on_device(&self, look: &FirstLook) -> Option<Vec<Vec<Detection>>> {
        let (heatmap, _) = look.flat();
        let [batch, places] = heatmap.dims();
        let settings = self.config.proposals;
        let is_empty = batch * places * settings.candidates * settings.kept == 0;
        let is_known = heatmap.dtype() == DType::F32 && has_same_rule(settings.max_overlap);
        if is_empty || !is_known {
            return None;
        }
        let Proposals { boxes, scores, undecided } = self.proposals_on_device(look);
        let strides: Vec<f32> = look.cells.iter().map(|cells| cells.stride).collect();
        let levels = Levels { strides: &strides, first: self.config.pyramid.levels()[0] };
        let pooled = roi_align(&look.maps, &levels, boxes.clone(), POOLED);
        let (logits, deltas) = self.roi_head.forward(pooled);
        let rows = settings.kept;
        let undecided = undecided.reshape([1, 1, 1]).expand([batch, rows, 1]);
        let scores = scores.unsqueeze_dim(2);
        let parts = vec![boxes, scores, object_probability(logits), deltas, undecided];
        // The only read.
        let values: Vec<f32> = Tensor::cat(parts, 2).into_data().iter().collect();
        let values: Vec<&[f32]> = values.chunks_exact(READ).collect();
        if values.iter().any(|values| values[READ - 1] != 0.0) {
            tracing::debug!("proposals were not decided on the device; the host decides");
            return None;
        }
        let of_image = |values: &[&[f32]]| {
            self.refine(&values.iter().map(|values| judged(values)).collect::<Vec<_>>())
        };
        Some(values.chunks_exact(rows).map(of_image).collect())
    }

    /// [`Self::proposals`], on the canvas and on the device.
    fn proposals_on_device(&self, look: &FirstLook) -> Proposals {
        let (heatmap, distances) = look.flat();
        let [batch, places] = heatmap.dims();
        let settings = self.config.proposals;
        let (count, kept) = (settings.candidates.min(places), settings.kept);
        let Candidates { boxes, scores, undecided } =
            candidates(heatmap, distances, &look.cells, count);
        let (standing, unsettled) = survivors(&boxes, settings.max_overlap);
        // As on the host: a box without a coordinate above 0 is not kept.
        let has_positive = boxes.clone().max_dim(2).squeeze_dim::<2>(2).greater_elem(0.0);
        let chosen = standing.bool_and(has_positive);
        let number = chosen.clone().int().sum_dim(1);
        // Where fewer are left, the last candidate fills up with a score of 0.
        let is_filler = indices([batch, kept], 1, &boxes.device()).greater_equal(number);
        let filled: Tensor<2, Int> =
            first_chosen(chosen, kept).mask_fill(is_filler.clone(), count as i64 - 1);
        Proposals {
            boxes: take(boxes, filled.clone()).clamp(0.0, self.canvas_px as f32),
            scores: scores.gather(1, filled).mask_fill(is_filler, 0.0),
            undecided: undecided + unsettled,
        }
    }
}

/// From the numbers that are read of a proposal.
fn judged(values: &[f32]) -> Judged {
    let [x0, y0, x1, y1, score, object, dx, dy, dw, dh] =
        std::array::from_fn(|index| values[index]);
    let proposal = Proposal { bounding_box: BoundingBox::new(x0, y0, x1, y1), score };
    Judged { proposal, object, deltas: [dx, dy, dw, dh] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;
    use crate::model::heads::boxes::head::LevelOutput;
    use crate::model::heads::boxes::proposals::ProposalConfig;
    use crate::model::heads::boxes::pyramid::PyramidConfig;
    use crate::model::heads::boxes::roi_head::RoiHeadConfig;
    use crate::model::heads::boxes::{BoxDecoderConfig, DetectionConfig, Strides};
    use crate::model::testing::tiny_boxes;

    const CHANNELS: usize = 8;
    const CANVAS_PX: usize = 256;

    fn config() -> BoxDecoderConfig {
        BoxDecoderConfig {
            pyramid: PyramidConfig {
                inner_width: 8,
                channels: CHANNELS,
                ..PyramidConfig::default()
            },
            head: tiny_boxes().head,
            proposals: ProposalConfig { candidates: 200, kept: 40, ..ProposalConfig::default() },
            roi: RoiHeadConfig { widths: vec![24, 24], ..RoiHeadConfig::default() },
            detections: DetectionConfig { count: 20, score_threshold: 0.01, max_overlap: 0.5 },
            ..BoxDecoderConfig::default()
        }
    }

    fn decoder(config: &BoxDecoderConfig) -> BoxDecoder {
        config.init(5, CANVAS_PX, &Device::flex())
    }

    fn map(images: usize) -> Tensor<4> {
        let shape = [images, 5, 16, 16];
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    /// A first look at two images that says `heatmap` and `distances` of each cell.
    fn look(
        decoder: &BoxDecoder,
        heatmap: impl Fn(Tensor<4>) -> Tensor<4>,
        distances: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> FirstLook {
        let look = decoder.first_look(map(2));
        let outputs = look.outputs.iter().map(|output| LevelOutput {
            heatmap: heatmap(output.heatmap.clone()),
            distances: distances(output.distances.clone()),
        });
        FirstLook { outputs: outputs.collect(), ..look }
    }

    fn uniform(lo: f64, hi: f64) -> impl Fn(Tensor<4>) -> Tensor<4> {
        move |like| Tensor::random(like.dims(), Distribution::Uniform(lo, hi), &like.device())
    }

    fn assert_same(found: &[Vec<Detection>], expected: &[Vec<Detection>]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found.score - expected.score).abs() < 1e-5, "{found:?} {expected:?}");
            assert_eq!(found.class, expected.class);
            let pairs =
                found.bounding_box.to_array().into_iter().zip(expected.bounding_box.to_array());
            for (a, b) in pairs {
                assert!((a - b).abs() < 1e-3, "{found:?} {expected:?}");
            }
        }
        assert!(found.iter().zip(expected).all(|(a, b)| a.len() == b.len()));
    }

    fn assert_as_on_the_host(decoder: &BoxDecoder, look: &FirstLook) -> Vec<Vec<Detection>> {
        let expected = decoder.detect_on_host(look);
        assert_same(&decoder.detect_on_device(look).unwrap(), &expected);
        expected
    }

    #[test]
    fn detections_are_those_of_the_host() {
        for strides in [Strides::Nominal, Strides::Effective] {
            let decoder = decoder(&BoxDecoderConfig { strides, ..config() });
            for images in [1, 3] {
                let found = assert_as_on_the_host(&decoder, &decoder.first_look(map(images)));
                assert!(found.iter().all(|found| found[0].score > 0.01));
            }
            // Boxes of all sizes that overlap in all ways, with scores that differ.
            assert_as_on_the_host(&decoder, &look(&decoder, uniform(-6.0, 4.0), uniform(0.0, 9.0)));
        }
    }

    #[test]
    fn proposals_are_those_of_the_host_bit_for_bit() {
        let decoder = decoder(&config());
        // Mostly the same box from cells beside one another: much is suppressed, and fillers are needed.
        let heavy = look(&decoder, uniform(-6.0, 4.0), uniform(30.0, 31.0));
        let other = look(&decoder, uniform(-6.0, 4.0), uniform(0.0, 5.0));
        for look in [heavy, other] {
            let expected = decoder.proposals(&look, 200, 40);
            let boxes = decoder.on_canvas(&expected).concat();
            let found = decoder.proposals_on_device(&look);
            assert_eq!(found.undecided.into_scalar::<f32>(), 0.0);
            let scores: Vec<f32> = found.scores.into_data().try_to_vec().unwrap();
            let expected: Vec<f32> = expected.concat().iter().map(|one| one.score).collect();
            assert_eq!(scores, expected);
            let found: Vec<f32> = found.boxes.into_data().try_to_vec().unwrap();
            let expected: Vec<f32> = boxes.iter().flat_map(|one| one.to_array()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn equal_scores_and_boxes_without_an_area() {
        let decoder = decoder(&config());
        let constant = |value: f32| move |like: Tensor<4>| like.full_like(value);
        for heatmap in [-4.6, 0.0, 90.0, -200.0] {
            for distance in [0.0, 1.0, 3.0] {
                assert_as_on_the_host(
                    &decoder,
                    &look(&decoder, constant(heatmap), constant(distance)),
                );
            }
        }
        let few_scores = |like: Tensor<4>| uniform(-2.0, 2.0)(like).round();
        assert_as_on_the_host(&decoder, &look(&decoder, few_scores, uniform(0.0, 5.0)));
    }

    #[test]
    fn fewer_places_than_candidates_and_fewer_candidates_than_proposals() {
        let mut config = config();
        config.proposals = ProposalConfig { candidates: 9999, kept: 2000, ..config.proposals };
        let decoder = decoder(&config);
        assert_as_on_the_host(&decoder, &decoder.first_look(map(2)));
        config.proposals = ProposalConfig { candidates: 3, kept: 7, ..config.proposals };
        let decoder = self::decoder(&config);
        assert_as_on_the_host(&decoder, &look(&decoder, uniform(-6.0, 4.0), uniform(0.0, 9.0)));
    }

    #[test]
    fn what_is_not_decided_on_the_device_is_left_to_the_host() {
        let decoder = decoder(&config());
        let strange = |value: f32| {
            move |like: Tensor<4>| {
                let first = like.clone().narrow(3, 0, 1).full_like(value);
                let [_, _, _, width] = like.dims();
                match width {
                    1 => first,
                    _ => Tensor::cat(vec![first, like.narrow(3, 1, width - 1)], 3),
                }
            }
        };
        for value in [f32::NAN, f32::INFINITY, 1e30] {
            let look = look(&decoder, |like| like, strange(value));
            assert!(decoder.detect_on_device(&look).is_none());
        }
        assert!(
            decoder.detect_on_device(&look(&decoder, strange(f32::NAN), |like| like)).is_none()
        );
        // A rule that only the host knows.
        for max_overlap in [0.5, 0.3] {
            let mut config = config();
            config.proposals.max_overlap = max_overlap;
            let decoder = self::decoder(&config);
            assert!(decoder.detect_on_device(&decoder.first_look(map(1))).is_none());
        }
    }

    #[test]
    fn a_long_chain_of_proposals_is_left_to_the_host() {
        let mut config = config();
        config.proposals.max_overlap = 0.8;
        let decoder = decoder(&config);
        // In the rows of the finest map, scores fall from left to right, and each box overlaps the next by
        // 9/11 = 0.82, that after it by 8/12.
        let chain = |like: Tensor<4>| {
            let [batch, _, height, width] = like.dims();
            let score = |index: usize| match width {
                32 => 5.0 - (index % width) as f32 * 0.2,
                _ => -90.0,
            };
            let scores: Vec<f32> = (0..batch * height * width).map(score).collect();
            let data = TensorData::new(scores, [batch, 1, height, width]);
            Tensor::<4>::from_data(data, &like.device())
        };
        let five_cells = |like: Tensor<4>| like.full_like(5.0);
        let look = look(&decoder, chain, five_cells);
        assert_eq!(look.maps[0].dims()[3], 32);
        assert!(decoder.detect_on_device(&look).is_none());
        assert_eq!(decoder.detect_on_host(&look).len(), 2);
    }
}

//! Prompts beyond the paper's boxes: points on and off what is meant, and traces, which are points in
//! order.
//!
//! A point has SAM's token: the code of its place and the vector of its label. A point of a trace has a
//! code of its place in the order beside it, sines and cosines as Transformers code positions (Vaswani et
//! al., *Attention is all you need*, 2017), so that nothing is learnt for traces that the reference does
//! not have. Prompts of a batch may have different numbers of points: padding is hidden from attention,
//! and changes nothing.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::location::{IGNORED, LocationEncoder, POSITIVE};

/// Place in the order of a point that is of no trace.
pub const NO_ORDER: f32 = -1.0;

/// Longest wavelength of the code of an order, in points, divided by 2π (Vaswani et al., §3.5).
const LONGEST_WAVE: f64 = 10_000.0;

/// What is pointed at: `M` prompts per image.
#[derive(Debug, Clone)]
pub struct Prompts {
    /// `[B, M, 4]`, xyxy in pixels of the canvas; zeros where a prompt has points and no box.
    pub boxes: Tensor<3>,
    /// Beside or in place of boxes; `None` where every prompt is its box, as in the paper.
    pub points: Option<PointPrompts>,
}

impl From<Tensor<3>> for Prompts {
    fn from(boxes: Tensor<3>) -> Self {
        Self { boxes, points: None }
    }
}

/// Points of prompts, `K` each.
#[derive(Debug, Clone)]
pub struct PointPrompts {
    /// `[B, M, K, 2]`, (x, y) in pixels of the canvas.
    pub points: Tensor<4>,
    /// `[B, M, K]`: [`POSITIVE`], 0 for a point that is off what is meant, [`IGNORED`] for padding.
    pub labels: Tensor<3, Int>,
    /// `[B, M, K]`: place in the order of a trace, from 0; [`NO_ORDER`] for a point of none.
    pub order: Tensor<3>,
}

impl PointPrompts {
    /// Traces alone.
    ///
    /// `points`: `[B, M, K, 2]`, in order, in pixels of the canvas
    pub fn traces(points: Tensor<4>) -> Self {
        let [batch, prompts, count, _] = points.dims();
        let device = points.device();
        let order = Tensor::<1, Int>::arange(0..count as i64, &device).float();
        Self {
            points,
            labels: Tensor::full([batch, prompts, count], POSITIVE, &device),
            order: order.reshape([1, 1, count]).expand([batch, prompts, count]),
        }
    }
}

/// Tokens of prompts, `K` each.
#[derive(Debug, Clone)]
pub struct PromptTokens {
    /// `[B, M, K, W]`
    pub tokens: Tensor<4>,
    /// `[B, M, K]`, true for padding; `None` where nothing is.
    pub hidden: Option<Tensor<3, Bool>>,
}

impl From<Tensor<4>> for PromptTokens {
    fn from(tokens: Tensor<4>) -> Self {
        Self { tokens, hidden: None }
    }
}

impl LocationEncoder {
    /// The tokens of prompts: those of the box, then those of the points. Where a prompt has points and
    /// no box, the tokens of the box are hidden; points that are ignored always are.
    pub fn prompts(&self, prompts: Prompts, canvas_px: usize) -> PromptTokens {
        let Prompts { boxes, points } = prompts;
        let of_boxes = self.boxes(boxes.clone(), canvas_px);
        let Some(PointPrompts { points, labels, order }) = points else { return of_boxes.into() };
        let [batch, rows, num_box_tokens, width] = of_boxes.dims();
        let ignored = labels.clone().equal_elem(IGNORED);
        let has_no_box = boxes.max_dim(2).lower_equal_elem(0.0);
        let has_points = ignored.clone().bool_not().float().max_dim(2).greater_elem(0.0);
        let without_box = has_no_box.bool_and(has_points).expand([batch, rows, num_box_tokens]);
        let code = order_code(order, width);
        let of_points = self.points(points, labels, [canvas_px; 2]) + code;
        PromptTokens {
            tokens: Tensor::cat(vec![of_boxes, of_points], 2),
            hidden: Some(Tensor::cat(vec![without_box, ignored], 2)),
        }
    }
}

/// `order`: `[B, M, K]` → its code, `[B, M, K, width]`; zeros for points of no trace.
fn order_code(order: Tensor<3>, width: usize) -> Tensor<4> {
    let is_ordered = order.clone().greater_equal_elem(0.0).float().unsqueeze_dim::<4>(3);
    let angles = order.unsqueeze_dim::<4>(3) * rates(width / 2, &is_ordered.device());
    Tensor::cat(vec![angles.clone().sin(), angles.cos()], 3) * is_ordered
}

/// Radians per point of each pair of sine and cosine: `[1, 1, 1, count]`.
fn rates(count: usize, device: &Device) -> Tensor<4> {
    let rate = |pair: usize| LONGEST_WAVE.powf(-(pair as f64) / count as f64) as f32;
    let rates: Vec<f32> = (0..count).map(rate).collect();
    Tensor::from_data(TensorData::new(rates, [1, 1, 1, count]), device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::model::prompt::adapter::PromptScope;
    use crate::model::testing::{VOCABULARY, tiny_config};

    const CANVAS: usize = 16;

    /// `[1, M, K, 2]`
    fn points(prompts: &[&[[f32; 2]]]) -> Tensor<4> {
        let count = prompts[0].len();
        let values = prompts.iter().flat_map(|points| points.concat()).collect();
        let data = TensorData::new(values, [1, prompts.len(), count, 2]);
        Tensor::from_data(data, &Device::flex())
    }

    /// Points of one prompt, without order.
    fn unordered(places: &[[f32; 2]], labels: &[i64]) -> PointPrompts {
        let device = Device::flex();
        let count = places.len();
        PointPrompts {
            points: points(&[places]),
            labels: Tensor::from_data(TensorData::new(labels.to_vec(), [1, 1, count]), &device),
            order: Tensor::full([1, 1, count], NO_ORDER, &device),
        }
    }

    fn no_box() -> Tensor<3> {
        Tensor::zeros([1, 1, 4], &Device::flex())
    }

    /// What a tiny model sees from one prompt, for prompts about the same image.
    fn seen(prompts: Vec<Prompts>) -> Vec<Vec<f32>> {
        let device = Device::flex();
        let model = tiny_config().init(VOCABULARY, &device);
        let images =
            Tensor::random([1, 3, CANVAS, CANVAS], Distribution::Uniform(0.0, 255.0), &device);
        let features = model.encode(images, Tensor::ones([1, CANVAS, CANVAS], &device));
        let see = |one| model.visual_tokens(&features, one, PromptScope::Region);
        prompts.into_iter().map(|one| see(one).into_data().iter().collect()).collect()
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    const LINE: [[f32; 2]; 3] = [[2.0, 3.0], [9.0, 4.0], [12.0, 13.0]];

    fn reversed() -> [[f32; 2]; 3] {
        let [a, b, c] = LINE;
        [c, b, a]
    }

    #[test]
    fn order_matters_for_a_trace_and_not_for_points() {
        let with = |points| Prompts { boxes: no_box(), points: Some(points) };
        let trace = |line: &[[f32; 2]]| with(PointPrompts::traces(points(&[line])));
        let set = |line: &[[f32; 2]]| with(unordered(line, &[1, 1, 1]));
        let seen = seen(vec![trace(&LINE), trace(&reversed()), set(&LINE), set(&reversed())]);
        assert!(distance(&seen[0], &seen[1]) > 1e-3);
        assert!(distance(&seen[2], &seen[3]) < 1e-5);
        assert!(distance(&seen[0], &seen[2]) > 1e-3, "a trace is not its points");
    }

    #[test]
    fn padding_changes_nothing_and_labels_do() {
        let with = |places: &[[f32; 2]], labels: &[i64]| Prompts {
            boxes: no_box(),
            points: Some(unordered(places, labels)),
        };
        let padded = [[2.0, 3.0], [7.0, 7.0], [0.0, 0.0]];
        let seen = seen(vec![
            with(&LINE[..1], &[1]),
            with(&padded, &[1, -1, -1]),
            with(&LINE[..1], &[0]),
            with(&LINE[..2], &[1, 1]),
            with(&LINE[..2], &[1, 0]),
        ]);
        assert!(distance(&seen[0], &seen[1]) < 1e-5);
        for (a, b) in [(0, 2), (0, 3), (3, 4)] {
            assert!(distance(&seen[a], &seen[b]) > 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn a_box_beside_padding_is_the_box_alone_and_nothing_at_all_is_still_finite() {
        let device = Device::flex();
        let boxes = Tensor::<3>::from_data([[[1.0, 2.0, 9.0, 12.0]]], &device);
        let padding = unordered(&LINE, &[-1; 3]);
        let with =
            |boxes: &Tensor<3>| Prompts { boxes: boxes.clone(), points: Some(padding.clone()) };
        let both = Prompts { boxes: boxes.clone(), points: Some(unordered(&LINE[..1], &[0])) };
        let seen =
            seen(vec![boxes.clone().into(), with(&boxes), both, no_box().into(), with(&no_box())]);
        assert!(distance(&seen[0], &seen[1]) < 1e-5);
        assert!(distance(&seen[0], &seen[2]) > 1e-3, "a point adds to a box");
        assert!(distance(&seen[3], &seen[4]) < 1e-5);
        assert!(seen.iter().flatten().all(|value| value.is_finite()));
    }

    #[test]
    fn the_code_of_an_order_is_sines_and_cosines_of_falling_rates() {
        let order = Tensor::<3>::from_data([[[0.0, 2.0, NO_ORDER]]], &Device::flex());
        let code: Vec<f32> = order_code(order, 4).into_data().try_to_vec().unwrap();
        // Rates 1 and 1/100.
        let expected = [
            [0.0, 0.0, 1.0, 1.0],
            [2f32.sin(), 0.02f32.sin(), 2f32.cos(), 0.02f32.cos()],
            [0.0; 4],
        ];
        for (found, expected) in code.iter().zip(expected.as_flattened()) {
            assert!((found - expected).abs() < 1e-6, "{code:?}");
        }
    }
}

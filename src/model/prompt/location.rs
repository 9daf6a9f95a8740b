//! Location prompt encoder (`spec/model.md` §5): points and boxes → sparse tokens, grids → dense ones.

use std::f64::consts::TAU;

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Distribution, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::places::box_points;

/// Sizes of the location prompt encoder; defaults are SAM's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocationConfig {
    /// Width of a prompt token; even.
    pub width: usize,
    /// A box prompt has the tokens of this many points squared, and one more; below 1, of two points.
    pub points_per_side: i64,
    /// Whether the points are in the middles of as many cells of the box rather than from edge to edge.
    pub point_offset: bool,
    /// How a box prompt is told.
    pub box_tokens: BoxTokens,
    /// What coordinates are a share of.
    pub reference_size: ReferenceSize,
    /// A trace has the tokens of this many points along it, in order; 0 tells it by its box. The
    /// reference has no traces.
    pub trace_points: usize,
}

/// How a box prompt is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoxTokens {
    /// By its corners, and fillers (the paper).
    Corners,
    /// By points in it, as a box without coordinates above 0 always is.
    Points,
}

/// What coordinates are a share of. Without a size of its own, the input of an encoder is the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceSize {
    /// The canvas, in whose pixels they are.
    Canvas,
    /// The input of the image encoders, though they are in pixels of the canvas (the reference).
    EncoderInput,
}

impl Default for LocationConfig {
    fn default() -> Self {
        Self {
            width: 256,
            points_per_side: 2,
            point_offset: false,
            box_tokens: BoxTokens::Corners,
            reference_size: ReferenceSize::Canvas,
            trace_points: 16,
        }
    }
}

/// Kinds of points that have a learned vector each.
const NUM_KINDS: usize = 4;
/// Label of a point on what is meant, and index of its vector; a point that is not on it has 0.
pub const POSITIVE: i64 = 1;
/// Label of a point that is to be ignored.
pub const IGNORED: i64 = -1;
/// Index of the vector of a box's top-left corner; the bottom-right corner's follows.
const TOP_LEFT: usize = 2;

impl LocationConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let odd = self.width == 0 || !self.width.is_multiple_of(2);
        let odd = odd.then(|| ConfigProblem {
            key: "width".into(),
            problem: format!("a width of {} has no sine for every cosine", self.width),
            allowed: "an even width".into(),
        });
        let pointless = (self.trace_points == 1).then(|| ConfigProblem {
            key: "trace_points".into(),
            problem: "1 point has no order".into(),
            allowed: "at least 2, or 0 for boxes around traces".into(),
        });
        odd.into_iter().chain(pointless).collect()
    }

    /// Builds the encoder on `device`.
    pub fn init(&self, device: &Device) -> LocationEncoder {
        let normal = |shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
        LocationEncoder {
            frequencies: Param::from_tensor(normal([2, self.width / 2])).no_grad(),
            kinds: Param::from_tensor(normal([NUM_KINDS, self.width])),
            not_a_point: Param::from_tensor(normal([1, self.width])),
            no_mask: Param::from_tensor(normal([1, self.width])),
            points_per_side: self.points_per_side,
            point_offset: self.point_offset,
            box_tokens: self.box_tokens,
            trace_points: self.trace_points,
        }
    }
}

/// Turns places into tokens.
#[derive(Module, Debug)]
pub struct LocationEncoder {
    /// Gaussian matrix of the coordinate encoding, `[2, W / 2]`; never trained.
    frequencies: Param<Tensor<2>>,
    /// A vector for each kind of point (negative, positive, top-left, bottom-right), `[4, W]`.
    kinds: Param<Tensor<2>>,
    /// The vector of a point that is to be ignored, `[1, W]`.
    not_a_point: Param<Tensor<2>>,
    /// The vector that stands for "no mask prompt", `[1, W]`.
    no_mask: Param<Tensor<2>>,
    #[module(skip)]
    points_per_side: i64,
    #[module(skip)]
    point_offset: bool,
    #[module(skip)]
    box_tokens: BoxTokens,
    #[module(skip)]
    trace_points: usize,
}

impl LocationEncoder {
    /// The tokens of box prompts as the paper's model reads them (§5.1): both corners, and fillers in
    /// place of the rest of the points that stand for a box without coordinates above 0: those of a
    /// grid, by default its corners, and one that is to be ignored.
    ///
    /// # Shapes
    /// - `boxes`: `[B, N, 4]`, xyxy in pixels of the canvas
    /// - result: `[B, N, K, W]`, by default `K = 5`
    pub fn boxes(&self, boxes: Tensor<3>, canvas_px: usize) -> Tensor<4> {
        let width = self.no_mask.dims()[1];
        let canvas = [canvas_px; 2];
        let points = box_points(boxes.clone(), self.points_per_side, self.point_offset);
        let [batch, rows, count, _] = points.dims();
        let labels = Tensor::full([batch, rows, count], POSITIVE, &points.device());
        let as_points = self.padded_points(points, labels, canvas);
        if self.box_tokens == BoxTokens::Points {
            return as_points;
        }

        let filler = self.no_mask.val().reshape([1, 1, 1, width]);
        let corners = self.box_corners(boxes.clone(), canvas);
        // A single point and the ignored one are as many tokens as corners.
        let as_box = match count - 1 {
            0 => corners,
            fillers => Tensor::cat(vec![corners, filler.expand([batch, rows, fillers, width])], 2),
        };
        let is_box: Tensor<4> = boxes.max_dim(2).greater_elem(0.0).float().unsqueeze_dim(3);
        as_box * is_box.clone() + as_points * (is_box.neg() + 1.0)
    }

    /// The two corners of each box.
    ///
    /// # Shapes
    /// - `boxes`: `[B, N, 4]`, xyxy in pixels of a canvas of `[width, height]`
    /// - result: `[B, N, 2, W]`
    pub fn box_corners(&self, boxes: Tensor<3>, canvas: [usize; 2]) -> Tensor<4> {
        let [batch, rows, _] = boxes.dims();
        let corners = self.encode_pixels(boxes.reshape([batch, rows, 2, 2]), canvas);
        corners + self.kinds.val().narrow(0, TOP_LEFT, 2).unsqueeze()
    }

    /// Points, each with the vector of its label; one that is to be ignored has nothing but its own.
    ///
    /// # Shapes
    /// - `points`: `[B, N, K, 2]`, (x, y) in pixels of a canvas of `[width, height]`
    /// - `labels`: `[B, N, K]`: [`POSITIVE`], 0 for negative, [`IGNORED`]
    /// - result: `[B, N, K, W]`
    pub fn points(
        &self,
        points: Tensor<4>,
        labels: Tensor<3, Int>,
        canvas: [usize; 2],
    ) -> Tensor<4> {
        let [batch, rows, count, _] = points.dims();
        let width = self.no_mask.dims()[1];
        let kinds = labels.clone().clamp(0, POSITIVE).reshape([batch * rows * count]);
        let kinds = self.kinds.val().select(0, kinds).reshape([batch, rows, count, width]);
        let encoded = self.encode_pixels(points, canvas) + kinds;
        let ignored = labels.equal_elem(IGNORED).unsqueeze_dim::<4>(3);
        let not_a_point = self.not_a_point.val().reshape([1, 1, 1, width]);
        encoded.mask_where(
            ignored.expand([batch, rows, count, width]),
            not_a_point.expand([batch, rows, count, width]),
        )
    }

    /// [`Self::points`] and one more that is to be ignored, as SAM expects where no box follows:
    /// `[B, N, K + 1, W]`.
    pub fn padded_points(
        &self,
        points: Tensor<4>,
        labels: Tensor<3, Int>,
        canvas: [usize; 2],
    ) -> Tensor<4> {
        let [batch, rows, _, _] = points.dims();
        let width = self.no_mask.dims()[1];
        let points = self.points(points, labels, canvas);
        let ignored = self.not_a_point.val().reshape([1, 1, 1, width]);
        Tensor::cat(vec![points, ignored.expand([batch, rows, 1, width])], 2)
    }

    /// The encoding of every cell's centre: `[W, height, width]`.
    pub fn grid(&self, height: usize, width: usize) -> Tensor<3> {
        let centers: Vec<f32> = (0..height)
            .flat_map(|y| {
                (0..width).flat_map(move |x| {
                    [(x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32]
                })
            })
            .collect();
        let centers = TensorData::new(centers, [1, 1, height * width, 2]);
        let encoded = self.encode(Tensor::from_data(centers, &self.no_mask.val().device()));
        let [.., channels] = encoded.dims();
        encoded.reshape([height, width, channels]).permute([2, 0, 1])
    }

    /// Points that a trace is told by; 0 where it is told by its box.
    pub fn trace_points(&self) -> usize {
        self.trace_points
    }

    /// The vector that stands for "no mask prompt": `[W]`.
    pub fn no_mask(&self) -> Tensor<1> {
        self.no_mask.val().squeeze_dim(0)
    }

    /// `points`: `[B, N, K, 2]` in pixels of a canvas of `[width, height]` → `[B, N, K, W]`. A pixel
    /// is where its centre is.
    fn encode_pixels(&self, points: Tensor<4>, [width, height]: [usize; 2]) -> Tensor<4> {
        let size = Tensor::<1>::from_data([width as f32, height as f32], &points.device());
        self.encode((points + 0.5) / size.unsqueeze())
    }

    /// `points`: `[B, N, K, 2]`, normalised to the canvas → `[B, N, K, W]`.
    fn encode(&self, points: Tensor<4>) -> Tensor<4> {
        let centered = points * 2.0 - 1.0;
        let angles = centered.matmul(self.frequencies.val().unsqueeze()) * TAU;
        Tensor::cat(vec![angles.clone().sin(), angles.cos()], 3)
    }
}

/// Labels of `count` points per prompt, `[B, N, count]`: positive where the prompt is `valid`
/// (`[B, N]`), else to be ignored.
pub fn point_labels(valid: Tensor<2, Bool>, count: usize) -> Tensor<3, Int> {
    let [batch, rows] = valid.dims();
    let labels = valid.int().mul_scalar(POSITIVE - IGNORED).add_scalar(IGNORED);
    labels.unsqueeze_dim::<3>(2).expand([batch, rows, count])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_box_has_two_corners_and_fillers_and_an_empty_box_is_four_points() {
        let device = Device::flex();
        let encoder = LocationConfig { width: 8, ..LocationConfig::default() }.init(&device);
        let boxes = Tensor::<3>::from_data([[[2.0, 3.0, 8.0, 9.0], [0.0; 4]]], &device);
        let tokens = encoder.boxes(boxes, 16);
        assert_eq!(tokens.dims(), [1, 2, 5, 8]);
        let token = |row: usize, i: usize| -> Vec<f32> {
            let token = tokens.clone().slice([0..1, row..row + 1, i..i + 1, 0..8]);
            token.into_data().try_to_vec().unwrap()
        };
        let vector = |t: Tensor<1>| -> Vec<f32> { t.into_data().try_to_vec().unwrap() };
        assert_eq!(token(0, 2), vector(encoder.no_mask()));
        assert_eq!(token(0, 4), vector(encoder.no_mask()));
        assert_eq!(token(1, 0), token(1, 3));
        assert_eq!(token(1, 4), vector(encoder.not_a_point.val().squeeze_dim(0)));
        let config =
            LocationConfig { width: 8, box_tokens: BoxTokens::Points, ..Default::default() };
        let boxes = Tensor::<3>::from_data([[[2.0, 3.0, 8.0, 9.0]]], &device);
        let encoder = config.init(&device);
        let last = encoder.boxes(boxes, 16).narrow(2, 4, 1).reshape([8]);
        assert_eq!(vector(last), vector(encoder.not_a_point.val().squeeze_dim(0)));
        for (points_per_side, expected) in [(-1, 3), (1, 2), (3, 10)] {
            let config = LocationConfig {
                width: 8,
                points_per_side,
                point_offset: true,
                ..LocationConfig::default()
            };
            let tokens = config.init(&device).boxes(Tensor::ones([1, 2, 4], &device), 16);
            assert_eq!(tokens.dims(), [1, 2, expected, 8]);
        }
    }

    #[test]
    fn a_point_has_the_vector_of_its_label_and_an_ignored_one_no_place() {
        let device = Device::flex();
        let encoder = LocationConfig { width: 4, ..LocationConfig::default() }.init(&device);
        let points = Tensor::<4>::from_data([[[[2.0, 3.0], [2.0, 3.0], [2.0, 3.0]]]], &device);
        let labels = Tensor::<3, Int>::from_data([[[0, 1, -1]]], &device);
        let tokens = encoder.padded_points(points.clone(), labels, [8, 4]);
        let token = |i: usize| tokens.clone().narrow(2, i, 1).reshape([4]);
        let kind = |i: usize| encoder.kinds.val().narrow(0, i, 1).reshape([4]);
        let near = |a: Tensor<1>, b: Tensor<1>| (a - b).abs().max().into_scalar::<f32>() < 1e-5;
        assert!(near(token(0) - kind(0), token(1) - kind(1)));
        for ignored in [2, 3] {
            assert!(near(token(ignored), encoder.not_a_point.val().reshape([4])));
        }
        // Width and height are not mixed up: the same place on a canvas of twice the width.
        let wide = (points + 0.5) * Tensor::<1>::from_data([2.0, 1.0], &device).unsqueeze() - 0.5;
        let labels = Tensor::<3, Int>::from_data([[[0, 1, -1]]], &device);
        assert!(near(encoder.points(wide, labels, [16, 4]).narrow(2, 0, 1).reshape([4]), token(0)));
    }

    #[test]
    fn the_middle_of_the_canvas_has_angle_zero() {
        let device = Device::flex();
        let encoder = LocationConfig { width: 6, ..LocationConfig::default() }.init(&device);
        let grid: Vec<f32> = encoder.grid(1, 1).into_data().try_to_vec().unwrap();
        assert_eq!(grid, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }
}

//! Places that are asked about, on their way to the model: boxes, points and traces side by side.

use burn::tensor::Device;

use super::Place;
use super::prompt::Prompt;
use crate::data::batch::{int_tensor, tensor};
use crate::geometry::polyline::resample;
use crate::geometry::{BoundingBox, Point};
use crate::model::prompt::location::{IGNORED, POSITIVE};
use crate::model::prompt::points::{NO_ORDER, PointPrompts, Prompts};

/// Label of a point that is off what is meant.
const NEGATIVE: i64 = 0;
/// The box of a prompt that has points.
const NO_BOX: BoundingBox = BoundingBox::new(0.0, 0.0, 0.0, 0.0);

/// The prompts of a batch, one after the other, as plain numbers.
pub(super) struct PromptPlaces {
    /// Points that a trace is told by; 0 tells it by its box.
    trace_points: usize,
    /// Points that every prompt has, padding included.
    num_points: usize,
    boxes: Vec<f32>,
    points: Vec<f32>,
    labels: Vec<i64>,
    order: Vec<f32>,
}

/// A point with its label and its place in the order.
type Labelled = (Point, i64, f32);

impl PromptPlaces {
    /// With room for the points of `prompts`.
    pub(super) fn new(trace_points: usize, prompts: &[Vec<Prompt>]) -> Self {
        let places = prompts.iter().flatten().map(|prompt| &prompt.place);
        let counts = places.map(|place| match place {
            Place::Box(_) => 0,
            Place::Points { positive, negative } => positive.len() + negative.len(),
            Place::Trace(_) => trace_points,
        });
        let num_points = counts.max().unwrap_or(0);
        let (boxes, points, labels, order) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { trace_points, num_points, boxes, points, labels, order }
    }

    /// The next prompt, on an image of `[width, height]` pixels of the canvas.
    pub(super) fn push(&mut self, place: &Place, [width, height]: [f32; 2]) {
        let points = self.labelled(place);
        let bounds = if points.is_empty() { place.bounds() } else { NO_BOX };
        self.boxes.extend(bounds.scale(width, height).to_array());
        let padding = (Point { x: 0.0, y: 0.0 }, IGNORED, NO_ORDER);
        let num_padding = self.num_points - points.len();
        let all = points.into_iter().chain(std::iter::repeat_n(padding, num_padding));
        for (point, label, order) in all {
            self.points.extend([point.x * width, point.y * height]);
            self.labels.push(label);
            self.order.push(order);
        }
    }

    fn labelled(&self, place: &Place) -> Vec<Labelled> {
        match place {
            Place::Box(_) => Vec::new(),
            Place::Points { positive, negative } => {
                let positive = positive.iter().map(|&point| (point, POSITIVE, NO_ORDER));
                let negative = negative.iter().map(|&point| (point, NEGATIVE, NO_ORDER));
                positive.chain(negative).collect()
            }
            Place::Trace(line) => {
                let points = resample(line, self.trace_points).into_iter().enumerate();
                points.map(|(index, point)| (point, POSITIVE, index as f32)).collect()
            }
        }
    }

    /// `[B, M]` prompts on `device`.
    pub(super) fn to_device(&self, [images, prompts]: [usize; 2], device: &Device) -> Prompts {
        let count = self.num_points;
        let points = || PointPrompts {
            points: tensor(self.points.clone(), [images, prompts, count, 2], device),
            labels: int_tensor(self.labels.clone(), [images, prompts, count], device),
            order: tensor(self.order.clone(), [images, prompts, count], device),
        };
        Prompts {
            boxes: tensor(self.boxes.clone(), [images, prompts, 4], device),
            points: (count > 0).then(points),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    #[test]
    fn places_of_every_kind_lie_side_by_side_with_padding() {
        let places = [
            Place::Box(BoundingBox::new(0.0, 0.5, 1.0, 1.0)),
            Place::Points { positive: vec![at(0.5, 0.5)], negative: vec![at(1.0, 0.0)] },
            Place::Trace(vec![at(0.0, 0.0), at(0.2, 0.0), at(1.0, 0.0)]),
        ];
        let prompt = |place: &Place| Prompt { place: place.clone(), context: Vec::new() };
        let mut all = PromptPlaces::new(3, &[places.iter().map(prompt).collect()]);
        places.iter().for_each(|place| all.push(place, [8.0, 4.0]));
        assert_eq!(all.boxes, [&[0.0, 2.0, 8.0, 4.0][..], &[0.0; 8]].concat());
        assert_eq!(all.labels, [-1, -1, -1, 1, 0, -1, 1, 1, 1]);
        assert_eq!(all.order[3..], [-1.0, -1.0, -1.0, 0.0, 1.0, 2.0]);
        assert_eq!(all.points[6..10], [4.0, 2.0, 8.0, 0.0]);
        assert_eq!(all.points[12..], [0.0, 0.0, 4.0, 0.0, 8.0, 0.0]);
    }

    #[test]
    fn without_points_for_traces_a_trace_is_its_box() {
        let trace = Place::Trace(vec![at(0.25, 0.5), at(0.75, 0.25)]);
        let prompts = [vec![Prompt { place: trace.clone(), context: Vec::new() }]];
        let mut all = PromptPlaces::new(0, &prompts);
        all.push(&trace, [8.0, 4.0]);
        assert_eq!(all.boxes, [2.0, 1.0, 6.0, 2.0]);
        assert!(all.to_device([1, 1], &Device::flex()).points.is_none());
    }
}

//! Points, boxes and masks. One way to say a box inside the house: corners `x0, y0, x1, y1`; formats that
//! say it otherwise convert at the door. The unit (pixels of the canvas, pixels of the image, or
//! normalised to the image) is stated wherever a box is held.

pub mod mask;
pub mod polyline;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point `(x, y)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

/// An axis-aligned box from its top-left corner `(x0, y0)` to its bottom-right corner `(x1, y1)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundingBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

impl BoundingBox {
    /// The whole of a normalised image.
    pub const UNIT: Self = Self { x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 };

    /// From corners.
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// From a top-left corner and a size, as COCO writes boxes.
    pub fn from_xywh(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self::new(x, y, x + width, y + height)
    }

    /// The smallest box around any two corners.
    pub fn around(a: Point, b: Point) -> Self {
        Self::new(a.x.min(b.x), a.y.min(b.y), a.x.max(b.x), a.y.max(b.y))
    }

    /// `[x, y, width, height]`, as COCO writes boxes.
    pub fn to_xywh(self) -> [f32; 4] {
        [self.x0, self.y0, self.width(), self.height()]
    }

    /// `[x0, y0, x1, y1]`.
    pub fn to_array(self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }

    /// Width; negative for an inverted box.
    pub fn width(self) -> f32 {
        self.x1 - self.x0
    }

    /// Height; negative for an inverted box.
    pub fn height(self) -> f32 {
        self.y1 - self.y0
    }

    /// Area; 0 for an inverted box.
    pub fn area(self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Centre.
    pub fn center(self) -> Point {
        Point { x: (self.x0 + self.x1) / 2.0, y: (self.y0 + self.y1) / 2.0 }
    }

    /// Whether every coordinate is finite and the box has an area.
    pub fn is_valid(self) -> bool {
        self.to_array().iter().all(|v| v.is_finite()) && self.x1 > self.x0 && self.y1 > self.y0
    }

    /// The part of the box inside `[0, width] × [0, height]`.
    pub fn clip(self, width: f32, height: f32) -> Self {
        Self::new(
            self.x0.clamp(0.0, width),
            self.y0.clamp(0.0, height),
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
        )
    }

    /// x scaled by `sx`, y by `sy`.
    pub fn scale(self, sx: f32, sy: f32) -> Self {
        Self::new(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy)
    }

    /// Moved by `(dx, dy)`.
    pub fn translate(self, dx: f32, dy: f32) -> Self {
        Self::new(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)
    }

    /// Whether the point lies in the box, edges included.
    pub fn contains(self, point: Point) -> bool {
        (self.x0..=self.x1).contains(&point.x) && (self.y0..=self.y1).contains(&point.y)
    }

    /// Area of the overlap of two boxes.
    pub fn intersection(self, other: Self) -> f32 {
        let width = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let height = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        width * height
    }

    /// Intersection over union; 0 where the union is empty.
    pub fn iou(self, other: Self) -> f32 {
        let intersection = self.intersection(other);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_half_overlapping_squares_is_a_third() {
        let a = BoundingBox::new(0.0, 0.0, 2.0, 2.0);
        let b = BoundingBox::new(1.0, 0.0, 3.0, 2.0);
        assert!((a.iou(b) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(a), 1.0);
        assert_eq!(a.iou(a.translate(5.0, 0.0)), 0.0);
    }

    #[test]
    fn an_inverted_box_has_no_area_and_no_overlap() {
        let inverted = BoundingBox::new(3.0, 3.0, 1.0, 1.0);
        assert!(!inverted.is_valid());
        assert_eq!(inverted.area(), 0.0);
        assert_eq!(inverted.iou(BoundingBox::new(0.0, 0.0, 4.0, 4.0)), 0.0);
        assert!(BoundingBox::around(Point { x: 3.0, y: 3.0 }, Point { x: 1.0, y: 1.0 }).is_valid());
    }

    #[test]
    fn coco_boxes_survive_the_round_trip() {
        let b = BoundingBox::from_xywh(1.0, 2.0, 3.0, 4.0);
        assert_eq!(b.to_array(), [1.0, 2.0, 4.0, 6.0]);
        assert_eq!(b.to_xywh(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(b.clip(3.0, 3.0).to_array(), [1.0, 2.0, 3.0, 3.0]);
    }
}

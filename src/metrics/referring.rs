//! How well boxes are found (`spec/metrics.md` §3).

use crate::geometry::BoundingBox;

/// Added to the union, as the reference does; it keeps empty boxes from dividing by 0.
const UNION_EPSILON: f64 = 1e-6;

/// Intersection over union as the reference computes it. Boxes in pixels: the added 1e-6 would
/// count where the unit is the whole image. Not a number where a coordinate is none.
pub fn iou(a: BoundingBox, b: BoundingBox) -> f64 {
    if a.to_array().iter().chain(&b.to_array()).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let [ax0, ay0, ax1, ay1] = a.to_array().map(f64::from);
    let [bx0, by0, bx1, by1] = b.to_array().map(f64::from);
    let area = |width: f64, height: f64| width.max(0.0) * height.max(0.0);
    let intersection = area(ax1.min(bx1) - ax0.max(bx0), ay1.min(by1) - ay0.max(by0));
    let union = area(ax1 - ax0, ay1 - ay0) + area(bx1 - bx0, by1 - by0) - intersection;
    intersection / (union + UNION_EPSILON)
}

/// Share of overlaps above a threshold; `None` of none.
pub fn precision_at(ious: &[f64], threshold: f64) -> Option<f64> {
    super::mean(ious.iter().map(|&iou| f64::from(u8::from(iou > threshold))))
}

/// Scores of located expressions; higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferringScores {
    /// Share of IoU above 0.5.
    pub precision_at_50: f64,
    /// Share of IoU above 0.75.
    pub precision_at_75: f64,
    /// Mean IoU.
    pub mean_iou: f64,
}

impl ReferringScores {
    /// Scores of expressions by their [`iou`]; `None` of none.
    pub fn of(ious: &[f64]) -> Option<Self> {
        Some(Self {
            precision_at_50: precision_at(ious, 0.5)?,
            precision_at_75: precision_at(ious, 0.75)?,
            mean_iou: super::mean(ious.iter().copied())?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_strict() {
        let scores = ReferringScores::of(&[0.5, 0.51, 0.75, 0.8]).unwrap();
        assert_eq!(scores.precision_at_50, 0.75);
        assert_eq!(scores.precision_at_75, 0.25);
        assert!((scores.mean_iou - 0.64).abs() < 1e-12);
        assert_eq!(ReferringScores::of(&[]), None);
    }

    #[test]
    fn exactly_half_is_not_found() {
        let whole = BoundingBox::new(0.0, 0.0, 2.0, 2.0);
        let half = BoundingBox::new(0.0, 0.0, 1.0, 2.0);
        let found = iou(whole, half);
        assert!(found < 0.5 && found > 0.499_999, "{found}");
        let point = BoundingBox::new(1.0, 1.0, 1.0, 1.0);
        assert_eq!(iou(point, point), 0.0, "boxes without area share nothing");
        assert_eq!(iou(whole, BoundingBox::new(2.0, 2.0, 0.0, 0.0)), 0.0);
        assert!(iou(whole, BoundingBox::new(f32::NAN, 0.0, 1.0, 1.0)).is_nan());
    }
}

//! Outlines and fill patterns as tests of a point.

use std::sync::LazyLock;

use super::attributes::{Pattern, Shape};

/// Thickness of a ring and of a cross's arms: three pixels for the smallest object in a square
/// image shrunk to 64 pixels.
const RING_HOLE: f64 = 0.42;
const CROSS_ARM: f64 = 0.4;

/// Corners of a five-pointed star, plump enough (inner radius half of the outer) to be told from a
/// cross at 8 pixels.
static STAR: LazyLock<[(f64, f64); 10]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let radius = if i % 2 == 0 { 1.15 } else { 0.52 };
        let angle = std::f64::consts::PI * (i as f64 / 5.0 - 0.5);
        (radius * libm::cos(angle), radius * libm::sin(angle))
    })
});

/// How far from its centre an outline of radius 1 reaches.
pub(super) fn reach(shape: Shape) -> f64 {
    match shape {
        Shape::Circle | Shape::Ring => 1.0,
        Shape::Square => 1.25,
        Shape::Triangle => 1.37,
        Shape::Star => 1.15,
        Shape::Cross => 1.16,
    }
}

/// Whether a point lies in an outline of radius 1 around the origin; y points down.
pub(super) fn contains(shape: Shape, x: f64, y: f64) -> bool {
    match shape {
        Shape::Circle => x * x + y * y <= 1.0,
        Shape::Ring => (RING_HOLE * RING_HOLE..=1.0).contains(&(x * x + y * y)),
        Shape::Square => x.abs() <= 0.88 && y.abs() <= 0.88,
        // Corners (0, −0.95) and (±1.05, 0.85).
        Shape::Triangle => y <= 0.85 && x.abs() * 1.8 <= (y + 0.95) * 1.05,
        Shape::Star => in_polygon(&*STAR, x, y),
        Shape::Cross => {
            let (near, far) = (x.abs().min(y.abs()), x.abs().max(y.abs()));
            near <= CROSS_ARM && far <= 1.08
        }
    }
}

/// Even-odd rule.
fn in_polygon(corners: &[(f64, f64)], x: f64, y: f64) -> bool {
    let mut inside = false;
    let before = corners.iter().cycle().skip(corners.len().saturating_sub(1));
    for ((x0, y0), (x1, y1)) in before.zip(corners) {
        if (*y0 > y) != (*y1 > y) && x < (x1 - x0) * (y - y0) / (y1 - y0) + x0 {
            inside = !inside;
        }
    }
    inside
}

/// Whether the pattern has its second colour at a point given in periods of the pattern.
///
/// The main colour covers at least half, so that it stays the object's colour.
pub(super) fn is_second(pattern: Pattern, x: f64, y: f64) -> bool {
    match pattern {
        Pattern::Solid => false,
        Pattern::Striped => x.rem_euclid(1.0) < 0.45,
        Pattern::Dotted => {
            // A hexagonal grid of dots.
            let row = (y / 0.87).round();
            let dx = (x + 0.5 * row).rem_euclid(1.0) - 0.5;
            let dy = y - 0.87 * row;
            dx * dx + dy * dy < 0.3 * 0.3
        }
        Pattern::Checkered => (x.rem_euclid(1.0) < 0.5) != (y.rem_euclid(1.0) < 0.5),
    }
}

/// Length of one period, as a share of the image's short side: coarse enough for 64-pixel images.
pub(super) fn period(pattern: Pattern) -> f64 {
    match pattern {
        Pattern::Solid | Pattern::Striped => 0.09,
        Pattern::Dotted => 0.095,
        Pattern::Checkered => 0.125,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of `[−1.4, 1.4]²` that lies inside, times its area.
    fn area(inside: impl Fn(f64, f64) -> bool) -> f64 {
        let steps = 280;
        let at = |i: usize| (i as f64 + 0.5) / steps as f64 * 2.8 - 1.4;
        let hits = (0..steps * steps).filter(|i| inside(at(i % steps), at(i / steps))).count();
        hits as f64 / (steps * steps) as f64 * 2.8 * 2.8
    }

    #[test]
    fn outlines_have_the_areas_of_plane_geometry() {
        let star = 5.0 * 1.15 * 0.52 * libm::sin(std::f64::consts::PI / 5.0);
        let expected = [
            (Shape::Circle, std::f64::consts::PI),
            (Shape::Square, 1.76 * 1.76),
            (Shape::Triangle, 2.1 * 1.8 / 2.0),
            (Shape::Star, star),
            (Shape::Cross, 2.0 * 2.16 * 0.8 - 0.8 * 0.8),
            (Shape::Ring, std::f64::consts::PI * (1.0 - 0.42 * 0.42)),
        ];
        for (shape, expected) in expected {
            let measured = area(|x, y| contains(shape, x, y));
            assert!((measured - expected).abs() < 0.03, "{shape:?}: {measured}, not {expected}");
        }
    }

    #[test]
    fn no_outline_leaves_its_reach() {
        for shape in Shape::ALL {
            let beyond = reach(*shape) * reach(*shape);
            assert_eq!(area(|x, y| contains(*shape, x, y) && x * x + y * y > beyond), 0.0);
        }
    }

    #[test]
    fn the_main_colour_covers_at_least_half() {
        for pattern in Pattern::ALL {
            let share = area(|x, y| is_second(*pattern, x * 5.0, y * 5.0)) / (2.8 * 2.8);
            assert!(share < 0.51, "{pattern:?}: {share}");
            assert_eq!(share == 0.0, *pattern == Pattern::Solid);
        }
    }
}

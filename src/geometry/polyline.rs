//! Polylines: points joined in their order, such as the trace of a mouse.

use super::{BoundingBox, Point};

/// `count` points along `line`, the same way apart as one goes along it, both ends included. Of a line
/// without length, its point again and again; of no point, none.
pub fn resample(line: &[Point], count: usize) -> Vec<Point> {
    let Some(&first) = line.first() else { return Vec::new() };
    let lengths: Vec<f32> = line.windows(2).map(|pair| distance(pair[0], pair[1])).collect();
    let total: f32 = lengths.iter().sum();
    if total <= 0.0 {
        return vec![first; count];
    }
    let step = total / count.saturating_sub(1).max(1) as f32;
    let (mut segment, mut before) = (0, 0.0);
    (0..count)
        .map(|index| {
            let along = step * index as f32;
            while segment + 1 < lengths.len() && along > before + lengths[segment] {
                before += lengths[segment];
                segment += 1;
            }
            let share = (along - before) / lengths[segment].max(f32::MIN_POSITIVE);
            between(line[segment], line[segment + 1], share.clamp(0.0, 1.0))
        })
        .collect()
}

/// The smallest box around points; `None` around none.
pub fn bounds(points: &[Point]) -> Option<BoundingBox> {
    let boxes = points.iter().map(|&point| BoundingBox::around(point, point));
    boxes.reduce(|a, b| {
        BoundingBox::new(a.x0.min(b.x0), a.y0.min(b.y0), a.x1.max(b.x1), a.y1.max(b.y1))
    })
}

fn distance(a: Point, b: Point) -> f32 {
    (b.x - a.x).hypot(b.y - a.y)
}

fn between(a: Point, b: Point, share: f32) -> Point {
    Point { x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[[f32; 2]]) -> Vec<Point> {
        points.iter().map(|&[x, y]| Point { x, y }).collect()
    }

    fn assert_near(found: &[Point], expected: &[[f32; 2]]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (point, [x, y]) in found.iter().zip(expected) {
            assert!((point.x - x).abs() < 1e-5 && (point.y - y).abs() < 1e-5, "{found:?}");
        }
    }

    #[test]
    fn points_are_the_same_way_apart_however_the_line_was_sampled() {
        // Three units right and one down, with most points at the beginning.
        let bent = line(&[[0.0, 0.0], [0.5, 0.0], [0.5, 0.0], [1.0, 0.0], [3.0, 0.0], [3.0, 1.0]]);
        let expected = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 1.0]];
        assert_near(&resample(&bent, 5), &expected);
        assert_near(&resample(&bent, 2), &[[0.0, 0.0], [3.0, 1.0]]);
        assert_near(&resample(&bent, 1), &[[0.0, 0.0]]);
    }

    #[test]
    fn a_line_without_length_is_its_point() {
        assert_near(&resample(&line(&[[2.0, 3.0]]), 3), &[[2.0, 3.0]; 3]);
        assert_near(&resample(&line(&[[2.0, 3.0]; 4]), 2), &[[2.0, 3.0]; 2]);
        assert_near(&resample(&[], 4), &[]);
    }

    #[test]
    fn the_box_around_points_has_the_outermost_on_its_edges() {
        let found = bounds(&line(&[[2.0, 3.0], [-1.0, 5.0], [0.0, 4.0]]));
        assert_eq!(found, Some(BoundingBox::new(-1.0, 3.0, 2.0, 5.0)));
        assert_eq!(bounds(&[]), None);
    }
}

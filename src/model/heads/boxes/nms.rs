//! Non-maximum suppression (`spec/model.md` §10.4), on the host: boxes are few, and each decision
//! depends on those before it.

use crate::geometry::BoundingBox;

/// Boxes that are looked at together.
const TILE: usize = 256;
/// Overlap beyond which a suppressed box of a tile suppresses no other.
const STRONG_OVERLAP: f32 = 0.5;

/// Indices of the boxes that no better box overlaps by `threshold` or more, at most `limit`.
///
/// `boxes` come in order of falling scores. Only what is not itself suppressed suppresses, with two
/// quirks of the reference, so that the same boxes survive here. Where the threshold is below 0.5, a
/// box that is suppressed by overlaps of at most 0.5 still suppresses those after it in its tile. And
/// because a removed box is written as zeros there, a box without a coordinate above 0 is never among
/// the result, though it suppresses others.
pub fn suppress(boxes: &[BoundingBox], threshold: f32, limit: usize) -> Vec<usize> {
    let mut standing: Vec<usize> = Vec::new();
    let mut kept = Vec::new();
    let indices: Vec<usize> = (0..boxes.len()).collect();
    for tile in indices.chunks(TILE) {
        let overlap = |a: usize, b: usize| boxes[a].iou(boxes[b]);
        let before = standing.len();
        // Of this tile: what suppresses others.
        let mut active: Vec<usize> = Vec::new();
        for &index in tile {
            if kept.len() == limit {
                return kept;
            }
            if standing[..before].iter().any(|&better| overlap(better, index) >= threshold) {
                continue;
            }
            let overlaps = active.iter().map(|&better| overlap(better, index));
            let greatest = overlaps.fold(0.0, f32::max);
            let suppressed = greatest >= threshold && greatest > 0.0;
            if !(suppressed && greatest > STRONG_OVERLAP) {
                active.push(index);
            }
            if suppressed {
                continue;
            }
            standing.push(index);
            if boxes[index].to_array().iter().any(|&coordinate| coordinate > 0.0) {
                kept.push(index);
            }
        }
    }
    kept
}

/// [`suppress`] within each class: boxes of different classes are moved apart first, by more than the
/// largest coordinate.
pub fn suppress_by_class(
    boxes: &[BoundingBox],
    classes: &[usize],
    threshold: f32,
    limit: usize,
) -> Vec<usize> {
    let coordinates = boxes.iter().flat_map(|one| one.to_array());
    let step = coordinates.fold(0.0, f32::max) + 1.0;
    let moved = boxes.iter().zip(classes).map(|(one, &class)| {
        let offset = class as f32 * step;
        one.translate(offset, offset)
    });
    suppress(&moved.collect::<Vec<_>>(), threshold, limit)
}

/// A detected box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// In pixels of the canvas.
    pub bounding_box: BoundingBox,
    /// From 0 to 1; −1 for a box below the threshold.
    pub score: f32,
    /// From 1; 0 is the background, which is never detected.
    pub class: usize,
}

/// How scored boxes become detections (`spec/model.md` §10.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// Boxes with no more than this score −1.
    pub score_threshold: f32,
    /// Overlap with a better box of the same class at which a box goes.
    pub max_overlap: f32,
    /// How many there are in the end.
    pub count: usize,
}

impl Selection {
    /// `count` detections by falling score. Where too few survive, boxes of zeros with a score of 0
    /// fill up; they come before those with −1.
    ///
    /// `scores[i][k]` is how likely box `i` is of class `k`; class 0 is the background.
    pub fn select(&self, boxes: &[BoundingBox], scores: &[Vec<f32>]) -> Vec<Detection> {
        let num_classes = scores.first().map_or(0, Vec::len);
        let mut detections: Vec<Detection> =
            (1..num_classes).flat_map(|class| self.of_class(boxes, scores, class)).collect();
        // Stable: of equals, the first class comes first.
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        detections.truncate(self.count);
        detections
    }

    fn of_class(&self, boxes: &[BoundingBox], scores: &[Vec<f32>], class: usize) -> Vec<Detection> {
        let scored = boxes.iter().zip(scores).map(|(&bounding_box, scores)| {
            let score = scores[class];
            let score = if score > self.score_threshold { score } else { -1.0 };
            Detection { bounding_box, score, class }
        });
        let mut candidates: Vec<Detection> = scored.collect();
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        let sorted: Vec<_> = candidates.iter().map(|one| one.bounding_box).collect();
        let kept = suppress(&sorted, self.max_overlap, self.count);
        let mut kept: Vec<_> = kept.into_iter().map(|index| candidates[index]).collect();
        let nothing = BoundingBox::new(0.0, 0.0, 0.0, 0.0);
        kept.resize(self.count, Detection { bounding_box: nothing, score: 0.0, class });
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f32, side: f32) -> BoundingBox {
        BoundingBox::new(x, 0.0, x + side, side)
    }

    #[test]
    fn what_a_suppressed_box_overlaps_stays() {
        // Neighbours overlap by 8/12; the first and the third by 6/14.
        let boxes = [square(0.0, 10.0), square(2.0, 10.0), square(4.0, 10.0)];
        assert_eq!(suppress(&boxes, 0.5, 9), [0, 2]);
        assert_eq!(suppress(&boxes, 0.4, 9), [0]);
        // 3 neighbours that overlap by 5/15, too little to keep the second from suppressing.
        let row = [square(0.0, 10.0), square(5.0, 10.0), square(10.0, 10.0)];
        assert_eq!(suppress(&row, 0.3, 9), [0]);
        assert_eq!(suppress(&row, 0.4, 9), [0, 1, 2]);
        assert_eq!(suppress(&boxes, 0.9, 2), [0, 1]);
        assert_eq!(suppress_by_class(&boxes, &[1, 0, 1], 0.5, 9), [0, 1, 2]);
    }

    #[test]
    fn a_tile_is_suppressed_by_what_is_left_of_those_before() {
        // The second fills the first tile up; only the first survives there.
        let mut boxes = vec![square(0.0, 10.0)];
        boxes.resize(TILE, square(5.0, 10.0));
        boxes.extend([square(10.0, 10.0), square(1.0, 10.0)]);
        assert_eq!(suppress(&boxes, 0.3, 9), [0, TILE]);
    }

    #[test]
    fn a_box_without_a_positive_coordinate_goes_but_suppresses() {
        let boxes =
            [BoundingBox::new(-9.0, -9.0, 0.0, 0.0), BoundingBox::new(-9.0, -9.0, 0.5, 0.0)];
        assert!(suppress(&boxes, 0.5, 9).is_empty());
        assert_eq!(suppress(&boxes, 0.99, 9), [1]);
    }

    #[test]
    fn fillers_come_between_detections_and_what_is_below_the_threshold() {
        let selection = Selection { score_threshold: 0.05, max_overlap: 0.5, count: 3 };
        let boxes = [square(50.0, 5.0), square(0.0, 10.0)];
        let found = selection.select(&boxes, &[vec![0.0, 0.01], vec![0.0, 0.9]]);
        let scores: Vec<f32> = found.iter().map(|one| one.score).collect();
        assert_eq!(scores, [0.9, 0.0, -1.0]);
        assert_eq!(found[1].bounding_box, BoundingBox::new(0.0, 0.0, 0.0, 0.0));
        assert_eq!(found[2].bounding_box, boxes[0]);
    }
}

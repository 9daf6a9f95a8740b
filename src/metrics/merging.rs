//! Regions that are annotated more than once become one (`spec/metrics.md` §4).
//!
//! Boxes are `[x, y, width, height]` in pixels. All in 32 bits, as in the reference: overlaps are
//! compared with thresholds.

/// Boxes that overlap at least so much are the same region.
pub const MERGE_IOU: f32 = 0.7;

/// How the overlap of boxes is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Intersection over union.
    #[default]
    Iou,
    /// As the reference does for captions of places: the four numbers are taken for corners. A box
    /// whose width is less than its left edge, say, then overlaps nothing, not even itself, and is in
    /// no cluster (`spec/metrics.md`, Quirk 7).
    SizesAsCorners,
}

impl Overlap {
    /// The overlap of two boxes; 0 where they share nothing.
    pub fn of(self, a: [f32; 4], b: [f32; 4]) -> f32 {
        let corners = |[x, y, width, height]: [f32; 4]| match self {
            Self::Iou => [x, y, x + width, y + height],
            Self::SizesAsCorners => [x, y, width, height],
        };
        let ([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) = (corners(a), corners(b));
        let shared_width = ax1.min(bx1) - ax0.max(bx0);
        let shared_height = ay1.min(by1) - ay0.max(by0);
        if shared_width <= 0.0 || shared_height <= 0.0 {
            return 0.0;
        }
        let shared = shared_width * shared_height;
        shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)
    }
}

/// Which boxes are the same region: the box with most neighbours takes them all, the first among
/// equals, then the next of what is left. Positions in `boxes`, in order.
pub fn clusters(boxes: &[[f32; 4]], overlap: Overlap) -> Vec<Vec<usize>> {
    let mut is_left = vec![true; boxes.len()];
    let mut found = Vec::new();
    loop {
        let neighbours = |of: usize| -> Vec<usize> {
            let near =
                |&other: &usize| is_left[other] && overlap.of(boxes[of], boxes[other]) >= MERGE_IOU;
            (0..boxes.len()).filter(near).collect()
        };
        let candidates = (0..boxes.len()).filter(|&of| is_left[of]).map(neighbours);
        // `max_by_key` would take the last among equals.
        let largest =
            candidates.reduce(|best, next| if next.len() > best.len() { next } else { best });
        let Some(cluster) = largest.filter(|cluster| !cluster.is_empty()) else { return found };
        for &member in &cluster {
            is_left[member] = false;
        }
        found.push(cluster);
    }
}

/// The mean of the boxes of a cluster.
pub fn mean_box(boxes: &[[f32; 4]], cluster: &[usize]) -> [f32; 4] {
    std::array::from_fn(|side| {
        cluster.iter().map(|&member| boxes[member][side]).sum::<f32>() / cluster.len() as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three boxes in a row, neighbours 9/11 alike, the outer two 8/12; and one elsewhere.
    const ROW: [[f32; 4]; 4] = [
        [0.0, 0.0, 10.0, 10.0],
        [1.0, 0.0, 10.0, 10.0],
        [2.0, 0.0, 10.0, 10.0],
        [50.0, 50.0, 60.0, 60.0],
    ];

    #[test]
    fn the_box_with_most_neighbours_takes_them() {
        assert_eq!(clusters(&ROW, Overlap::Iou), [vec![0, 1, 2], vec![3]]);
        assert_eq!(mean_box(&ROW, &[0, 1, 2]), [1.0, 0.0, 10.0, 10.0]);
        // Without the one in the middle the outer two are two regions.
        assert_eq!(clusters(&[ROW[0], ROW[2]], Overlap::Iou), [vec![0], vec![1]]);
        assert!(clusters(&[], Overlap::Iou).is_empty());
    }

    #[test]
    fn sizes_taken_for_corners_make_boxes_vanish() {
        // As corners, 50 to 60; and one that ends before it begins.
        let boxes = [ROW[3], [50.0, 50.0, 20.0, 20.0], [50.0, 50.0, 20.0, 60.0]];
        assert_eq!(clusters(&boxes, Overlap::SizesAsCorners), [[0]]);
        assert_eq!(clusters(&boxes, Overlap::Iou).concat(), [0, 1, 2]);
    }
}

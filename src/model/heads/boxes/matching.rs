//! Which annotated box a box stands for (`spec/model.md` §10.5, §10.6).

use crate::geometry::BoundingBox;

/// The annotated box with which a box overlaps most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Its index; the first of equals, 0 where nothing overlaps.
    pub index: usize,
    /// Intersection over union with it.
    pub iou: f32,
}

/// What a matched box teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Nothing: neither near an annotated box nor far from all.
    Ignored,
    /// Background.
    Negative,
    /// The object of its annotated box.
    Positive,
}

impl Match {
    /// Negative below an overlap of `negative_below`, positive from `positive_from` on.
    pub fn label(self, negative_below: f32, positive_from: f32) -> Label {
        if self.iou < negative_below {
            Label::Negative
        } else if self.iou < positive_from {
            Label::Ignored
        } else {
            Label::Positive
        }
    }
}

/// The best match of every box among `annotated`.
pub fn best_matches(boxes: &[BoundingBox], annotated: &[BoundingBox]) -> Vec<Match> {
    let best = |one: &BoundingBox| {
        let overlaps = annotated.iter().map(|other| one.iou(*other)).enumerate();
        let none = Match { index: 0, iou: 0.0 };
        overlaps.fold(
            none,
            |best, (index, iou)| {
                if iou > best.iou { Match { index, iou } } else { best }
            },
        )
    };
    boxes.iter().map(best).collect()
}

/// The best match of every box, and whether they overlap by `min_iou` or more: then the box is given
/// the caption of its match.
pub fn captions(
    boxes: &[BoundingBox],
    annotated: &[BoundingBox],
    min_iou: f32,
) -> Vec<(Match, bool)> {
    let matches = best_matches(boxes, annotated);
    matches.into_iter().map(|found| (found, found.iou >= min_iou)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_overlap_wins_and_its_size_decides_what_a_box_teaches() {
        let annotated = [
            BoundingBox::new(0.0, 0.0, 10.0, 10.0),
            BoundingBox::new(0.0, 0.0, 10.0, 20.0),
            BoundingBox::new(0.0, 0.0, 0.0, 0.0),
        ];
        let boxes =
            [BoundingBox::new(0.0, 0.0, 10.0, 16.0), BoundingBox::new(50.0, 50.0, 60.0, 60.0)];
        let matches = best_matches(&boxes, &annotated);
        assert_eq!(matches[0], Match { index: 1, iou: 0.8 });
        assert_eq!(matches[1], Match { index: 0, iou: 0.0 });
        assert_eq!(matches[0].label(0.6, 0.6), Label::Positive);
        assert_eq!(matches[0].label(0.3, 0.9), Label::Ignored);
        assert_eq!(matches[1].label(0.3, 0.9), Label::Negative);
    }
}

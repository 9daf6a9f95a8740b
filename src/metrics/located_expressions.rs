//! The published scores of located expressions: boxes, and masks where there are some.

use std::collections::BTreeMap;

use super::mean;
use super::referring::precision_at;
use super::referring_masks::{MaskOverlap, MaskScores};
use super::sample_set::SampleSet;

/// IoU that a found region exceeds.
const THRESHOLDS: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.9];

/// What a model located beside what the expression names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpressionOverlap {
    /// [`iou`](super::referring::iou) of the boxes.
    pub box_iou: f64,
    /// Overlap of the masks, if there are masks.
    pub mask: Option<MaskOverlap>,
}

/// The expressions so far, by their id.
pub type ExpressionSet<I> = SampleSet<I, ExpressionOverlap>;

impl ExpressionOverlap {
    /// Its overlaps by name.
    pub fn scores(&self) -> BTreeMap<String, f64> {
        let mut scores = BTreeMap::from([("box_iou".to_string(), self.box_iou)]);
        if let Some(mask) = &self.mask {
            scores.insert("mask_iou".to_string(), mask.iou());
            scores.insert("mask_box_iou".to_string(), mask.box_iou);
        }
        scores
    }
}

/// Scores of several expressions by name, in the order to be shown; none of none.
pub fn scores(expressions: &[&ExpressionOverlap]) -> Vec<(String, f64)> {
    let ious: Vec<f64> = expressions.iter().map(|one| one.box_iou).collect();
    let masks: Vec<MaskOverlap> = expressions.iter().filter_map(|one| one.mask).collect();
    let mut scores = Vec::new();
    let mut precisions = |kind: &str, ious: &[f64]| {
        for threshold in THRESHOLDS {
            let precision = precision_at(ious, threshold);
            scores.extend(precision.map(|value| (format!("{kind}_P@{threshold}"), value)));
        }
    };
    precisions("box", &ious);
    let of_masks: Vec<f64> = masks.iter().map(MaskOverlap::iou).collect();
    precisions("mask", &of_masks);
    scores.extend(mean(ious.iter().copied()).map(|mean| ("box_mean_iou".to_string(), mean)));
    if let Some(of) = MaskScores::of(&masks) {
        scores.push(("mask_cIoU".into(), of.cumulative_iou));
        scores.push(("mask_gIoU".into(), of.mean_iou));
        scores.push(("mask_box_P@0.5".into(), of.box_precision_at_50));
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let located = |box_iou, intersection| ExpressionOverlap {
            box_iou,
            mask: Some(MaskOverlap { intersection, union: 8.0, box_iou }),
        };
        let (near, far) = (located(0.75, 6.0), located(0.25, 2.0));
        let found: BTreeMap<_, _> = scores(&[&near, &far]).into_iter().collect();
        assert_eq!((found["box_P@0.7"], found["box_P@0.8"]), (0.5, 0.0));
        assert_eq!((found["mask_P@0.5"], found["mask_box_P@0.5"]), (0.5, 0.5));
        assert_eq!(found["box_mean_iou"], 0.5);
        assert!((found["mask_cIoU"] - 0.5).abs() < 1e-5);
        assert_eq!(near.scores().len(), 3);
        let without = ExpressionOverlap { mask: None, ..far };
        assert_eq!((scores(&[&without]).len(), without.scores().len()), (6, 1));
        assert!(scores(&[]).is_empty());
    }

    #[test]
    fn workers_find_what_one_finds_in_any_order() {
        let overlap = |id: u32| {
            let share = f64::from(id) / 7.0;
            let mask = MaskOverlap { intersection: share * 5.0, union: 5.0, box_iou: 1.0 - share };
            ExpressionOverlap { box_iou: share, mask: (!id.is_multiple_of(3)).then_some(mask) }
        };
        let set = |ids: &[u32]| {
            ExpressionSet::from(ids.iter().map(|&id| (id, overlap(id))).collect::<BTreeMap<_, _>>())
        };
        let scores_of = |set: &ExpressionSet<u32>| {
            scores(&set.iter().map(|(_, overlap)| overlap).collect::<Vec<_>>())
        };
        let mut parts = set(&[5, 1]);
        assert_eq!(parts.merge(set(&[6, 0, 2])), Ok(()));
        assert_eq!(parts.merge(set(&[4, 3])), Ok(()));
        assert_eq!(parts.merge(set(&[4])), Err(4), "an expression twice");
        let whole = set(&[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(scores_of(&parts), scores_of(&whole));
        assert_eq!(scores_of(&whole).len(), 5 + 5 + 1 + 3);
    }
}

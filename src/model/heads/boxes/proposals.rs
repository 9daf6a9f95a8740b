//! Proposals (`spec/model.md` §10.4): the boxes of the places where the CenterNet head is surest.

use burn::tensor::{Tensor, activation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nms::suppress;
use super::targets::Cells;
use crate::geometry::{BoundingBox, Point};

/// How many proposals there are; defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProposalConfig {
    /// Places looked at in training.
    pub training_candidates: usize,
    /// Proposals in training.
    pub training_kept: usize,
    /// Places looked at otherwise.
    pub candidates: usize,
    /// Proposals otherwise.
    pub kept: usize,
    /// Overlap with a better proposal at which one goes.
    pub max_overlap: f32,
}

impl Default for ProposalConfig {
    fn default() -> Self {
        Self {
            training_candidates: 2000,
            training_kept: 1000,
            candidates: 1000,
            kept: 256,
            max_overlap: 0.9,
        }
    }
}

/// A box that may hold an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// In pixels of the canvas; may reach beyond it.
    pub bounding_box: BoundingBox,
    /// From 0 to 1.
    pub score: f32,
}

/// The surest `count` places of every image, surest first.
///
/// # Shapes
/// - `heatmap`: `[B, M]`, logits
/// - `distances`: `[B, M, 4]`, in cells
pub fn candidates(
    heatmap: Tensor<2>,
    distances: Tensor<3>,
    levels: &[Cells],
    count: usize,
) -> Vec<Vec<Proposal>> {
    let [batch, places] = heatmap.dims();
    let centers: Vec<(Point, f32)> = levels
        .iter()
        .flat_map(|cells| cells.centers().map(|center| (center, cells.stride)))
        .collect();
    // One read for all.
    let scores: Tensor<3> = activation::sigmoid(heatmap).unsqueeze_dim(2);
    let values = Tensor::cat(vec![scores, distances], 2).into_data();
    let values: Vec<f32> = values.iter::<f32>().collect();
    let of_image = |image: usize| {
        let rows = &values[image * places * 5..(image + 1) * places * 5];
        let proposals = rows.chunks_exact(5).zip(&centers).map(|(row, (center, stride))| {
            let [left, top, right, bottom] = [1, 2, 3, 4].map(|index| row[index] * stride);
            let (x, y) = (center.x, center.y);
            let bounding_box = BoundingBox::new(x - left, y - top, x + right, y + bottom);
            Proposal { bounding_box, score: row[0] }
        });
        let mut proposals: Vec<Proposal> = proposals.collect();
        proposals.sort_by(|a, b| b.score.total_cmp(&a.score));
        proposals.truncate(count);
        proposals
    };
    (0..batch).map(of_image).collect()
}

/// `kept` of the candidates that do not overlap by `max_overlap` or more. Where fewer are left, the last
/// candidate fills up with a score of 0.
pub fn select(candidates: &[Proposal], max_overlap: f32, kept: usize) -> Vec<Proposal> {
    let boxes: Vec<_> = candidates.iter().map(|one| one.bounding_box).collect();
    let indices = suppress(&boxes, max_overlap, kept);
    let mut proposals: Vec<_> = indices.into_iter().map(|index| candidates[index]).collect();
    if let Some(last) = candidates.last() {
        proposals.resize(kept, Proposal { score: 0.0, ..*last });
    }
    proposals
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_box_is_drawn_around_the_centre_of_its_cell() {
        let device = Device::flex();
        let cells = [Cells::nominal(8.0, 1, 2)];
        let heatmap = Tensor::<2>::from_data([[-1.0, 0.0]], &device);
        let distances =
            Tensor::<3>::from_data([[[1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 2.0, 0.0]]], &device);
        let found = candidates(heatmap, distances, &cells, 9);
        assert_eq!(found[0].len(), 2);
        assert_eq!(found[0][0].bounding_box, BoundingBox::new(8.0, -4.0, 28.0, 4.0));
        assert_eq!(found[0][0].score, 0.5);
        let kept = select(&found[0], 0.9, 3);
        assert_eq!(kept[2], Proposal { score: 0.0, ..found[0][1] });
    }
}

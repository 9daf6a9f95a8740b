//! What the CenterNet head has to say of annotated boxes (`spec/model.md` §10.3). Data preparation, on
//! the host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{BoundingBox, Point};

/// The cells of a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cells {
    /// Side of a cell, in pixels.
    pub stride: f32,
    /// Where the centre of the first cell is, on both axes, in pixels.
    pub first_center: f32,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Cells {
    /// Cells of a whole number of pixels, as in the reference: centres are at whole pixels.
    pub fn nominal(stride: f32, height: usize, width: usize) -> Self {
        Self { stride, first_center: (stride / 2.0).floor(), height, width }
    }

    /// The centres, row by row.
    pub fn centers(self) -> impl Iterator<Item = Point> {
        let at = move |index: usize| self.first_center + self.stride * index as f32;
        (0..self.height).flat_map(move |row| {
            (0..self.width).map(move |column| Point { x: at(column), y: at(row) })
        })
    }
}

/// How boxes become targets; defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetRule {
    /// Overlap of two boxes of an object's size at a distance at which the heatmap has fallen by
    /// `1 / √e`.
    pub min_overlap: f32,
    /// Least such distance, in pixels.
    pub min_radius_px: f32,
}

impl Default for TargetRule {
    fn default() -> Self {
        Self { min_overlap: 0.8, min_radius_px: 4.0 }
    }
}

/// Least weighted distance at a place that is not a centre: only centres have a heatmap of 1.
const MIN_DISTANCE: f32 = 1e-6;

/// Targets of one image at `M` places, all levels together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// 1 at centres of objects, falling to 0 around them.
    pub heatmap: Vec<f32>,
    /// Distances to left, top, right and bottom edge in cells; `None` where there is nothing to learn.
    pub distances: Vec<Option<[f32; 4]>>,
}

impl Targets {
    /// Number of centres.
    pub fn num_centers(&self) -> usize {
        self.heatmap.iter().filter(|&&value| value == 1.0).count()
    }

    /// Number of places with distances.
    pub fn num_distances(&self) -> usize {
        self.distances.iter().flatten().count()
    }
}

impl TargetRule {
    /// The targets of an image with these boxes; those without an area are none.
    ///
    /// `ranges` are, for each level, the least and greatest half diagonal (in pixels) of the boxes
    /// that it has to see. Ranges may overlap: a box may belong to two levels.
    pub fn targets(&self, boxes: &[BoundingBox], levels: &[Cells], ranges: &[[f32; 2]]) -> Targets {
        let boxes: Vec<BoundingBox> =
            boxes.iter().copied().filter(|one| one.area() > 0.0).collect();
        let mut targets = Targets::default();
        for (cells, range) in levels.iter().zip(ranges) {
            let objects: Vec<Object> =
                boxes.iter().map(|one| self.object(*one, *cells, *range)).collect();
            for place in cells.centers() {
                let (heatmap, distances) = at_place(place, &objects, *cells);
                targets.heatmap.push(heatmap);
                targets.distances.push(distances);
            }
        }
        targets
    }

    fn object(
        &self,
        bounding_box: BoundingBox,
        cells: Cells,
        [least, greatest]: [f32; 2],
    ) -> Object {
        let (width, height) = (bounding_box.width(), bounding_box.height());
        let half_diagonal = (width * width + height * height).sqrt() / 2.0;
        let delta = (1.0 - self.min_overlap) / (1.0 + self.min_overlap);
        let squared_radius = delta * delta * bounding_box.area() * 2.0;
        let center = bounding_box.center();
        let cell =
            |position: f32| cells.stride * (position / cells.stride).trunc() + cells.stride / 2.0;
        Object {
            bounding_box,
            center,
            cell_center: Point { x: cell(center.x), y: cell(center.y) },
            squared_radius: squared_radius.max(self.min_radius_px * self.min_radius_px),
            of_level: (least..=greatest).contains(&half_diagonal),
        }
    }
}

/// A box as a level sees it.
struct Object {
    bounding_box: BoundingBox,
    center: Point,
    /// Centre of the cell in which the centre is.
    cell_center: Point,
    squared_radius: f32,
    of_level: bool,
}

/// Heatmap and distances at a place.
fn at_place(place: Point, objects: &[Object], cells: Cells) -> (f32, Option<[f32; 4]>) {
    let mut least = f32::INFINITY;
    let mut nearest: Option<(f32, &Object)> = None;
    for object in objects {
        let from_cell =
            (place.x - object.cell_center.x).abs().max((place.y - object.cell_center.y).abs());
        // Cells' centres are a whole number of cells apart; comparisons half way bear any rounding.
        let is_center = object.of_level && from_cell < 0.5 * cells.stride;
        let [dx, dy] = [place.x - object.center.x, place.y - object.center.y];
        let weighted = ((dx * dx + dy * dy) / object.squared_radius).max(MIN_DISTANCE);
        let weighted = if is_center { 0.0 } else { weighted };
        least = least.min(weighted);
        let is_near = object.of_level && from_cell < 1.5 * cells.stride;
        let is_nearest = nearest.is_none_or(|(distance, _)| weighted < distance);
        if is_near && is_nearest && is_strictly_inside(place, object.bounding_box) {
            nearest = Some((weighted, object));
        }
    }
    let distances = nearest.map(|(_, object)| {
        let one = object.bounding_box;
        let pixels = [place.x - one.x0, place.y - one.y0, one.x1 - place.x, one.y1 - place.y];
        pixels.map(|distance| distance / cells.stride)
    });
    ((-least).exp(), distances)
}

fn is_strictly_inside(place: Point, one: BoundingBox) -> bool {
    place.x > one.x0 && place.x < one.x1 && place.y > one.y0 && place.y < one.y1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [Cells; 2] = [
        Cells { stride: 8.0, first_center: 4.0, height: 4, width: 4 },
        Cells { stride: 16.0, first_center: 8.0, height: 2, width: 2 },
    ];

    #[test]
    fn a_box_is_at_the_cell_of_its_centre_and_at_the_neighbours_inside_it() {
        // Half diagonal √(12² + 10²) / 2 = 7.8; centre (10, 13), in the cell around (12, 12).
        let boxes = [BoundingBox::new(4.0, 8.0, 16.0, 18.0), BoundingBox::new(0.0, 0.0, 0.0, 0.0)];
        let found = TargetRule::default().targets(&boxes, &LEVELS, &[[0.0, 10.0], [8.0, 99.0]]);
        assert_eq!(found.heatmap.len(), 20);
        assert_eq!(found.num_centers(), 1);
        assert_eq!(found.heatmap[5], 1.0);
        // Of the 3×3 cells around, only (12, 12) is strictly inside: x = 4 lies on the edge.
        assert_eq!(found.num_distances(), 1);
        assert_eq!(found.distances[5], Some([1.0, 0.5, 0.5, 0.75]));
        // At (20, 12): squared distance 10² + 1, least radius 4.
        assert!((found.heatmap[6] - (-101.0f32 / 16.0).exp()).abs() < 1e-7);
    }

    #[test]
    fn a_box_may_belong_to_two_levels_and_nothing_is_nothing() {
        let boxes = [BoundingBox::new(4.0, 8.0, 16.0, 18.0)];
        let rule = TargetRule::default();
        assert_eq!(rule.targets(&boxes, &LEVELS, &[[0.0, 10.0], [5.0, 99.0]]).num_centers(), 2);
        let empty = rule.targets(&[], &LEVELS, &[[0.0, 10.0], [5.0, 99.0]]);
        assert_eq!(empty.heatmap, [0.0; 20]);
        assert_eq!(empty.num_distances(), 0);
    }
}

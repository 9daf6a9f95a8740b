//! Points of a token in pixels of its image, from the place that it is about (`spec/data.md` §2.4,
//! steps 5 and 6).

use crate::geometry::{BoundingBox, Point};

/// A place, normalised to an image of `width × height` pixels, in whole pixels of it; all 0 without a
/// place. Halves go to the even pixel, as in the reference.
pub fn in_pixels(place: Option<BoundingBox>, width: f32, height: f32) -> BoundingBox {
    let [x0, y0, x1, y1] = place.map_or([0.0; 4], |bounds| {
        bounds.clip(1.0, 1.0).scale(width, height).to_array().map(f32::round_ties_even)
    });
    BoundingBox::new(x0, y0, x1, y1)
}

/// The centres of `side × side` equal cells of a box, row by row.
pub fn grid(bounds: BoundingBox, side: usize) -> Vec<Point> {
    let along = |step: usize| (step as f32 + 0.5) / side as f32;
    let point = |row: usize, column: usize| Point {
        x: bounds.x0 + bounds.width() * along(column),
        y: bounds.y0 + bounds.height() * along(row),
    };
    (0..side).flat_map(|row| (0..side).map(move |column| point(row, column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_clipped_and_rounded_to_even_pixels() {
        let place = BoundingBox::new(0.25, -0.5, 0.75, 1.5);
        assert_eq!(in_pixels(Some(place), 10.0, 20.0), BoundingBox::new(2.0, 0.0, 8.0, 20.0));
        assert_eq!(in_pixels(None, 10.0, 20.0), BoundingBox::new(0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn a_grid_has_the_centres_of_its_cells() {
        let points = grid(BoundingBox::new(10.0, 0.0, 14.0, 2.0), 2);
        let found: Vec<_> = points.iter().map(|point| [point.x, point.y]).collect();
        assert_eq!(found, [[11.0, 0.5], [13.0, 0.5], [11.0, 1.5], [13.0, 1.5]]);
    }
}

//! From normalised boxes to the shapes that are drawn: what lies outside the picture is drawn at its
//! border, what is not a number is not drawn.

use crate::geometry::{BoundingBox, Point};

/// Size of a drawing, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Canvas {
    pub(super) width: f32,
    pub(super) height: f32,
    /// How far a box's outline stays inside the border, so that a line along it is seen whole.
    pub(super) inset: f32,
}

impl Canvas {
    /// The visible part of a box normalised to the picture, with whole coordinates (a line of even
    /// width is then sharp); `None` where a coordinate is not finite.
    pub(super) fn outline(&self, bounds: BoundingBox) -> Option<BoundingBox> {
        let [x0, y0, x1, y1] = bounds.to_array();
        if !bounds.to_array().iter().all(|v| v.is_finite()) {
            return None;
        }
        let upright = BoundingBox::around(Point { x: x0, y: y0 }, Point { x: x1, y: y1 });
        let [x0, y0, x1, y1] = upright.scale(self.width, self.height).to_array();
        Some(BoundingBox::new(
            self.keep(x0, self.width).round(),
            self.keep(y0, self.height).round(),
            self.keep(x1, self.width).round(),
            self.keep(y1, self.height).round(),
        ))
    }

    /// The centre of a box normalised to the picture; `None` where a coordinate is not finite.
    pub(super) fn center(&self, bounds: BoundingBox) -> Option<Point> {
        let Point { x, y } = bounds.center();
        (x.is_finite() && y.is_finite()).then(|| Point {
            x: tenth(self.keep(x * self.width, self.width)),
            y: tenth(self.keep(y * self.height, self.height)),
        })
    }

    fn keep(&self, value: f32, size: f32) -> f32 {
        // A picture narrower than two insets has its middle.
        let inset = self.inset.min(size / 2.0);
        value.clamp(inset, size - inset)
    }
}

/// Rounded to a tenth: short to print, finer than a screen.
pub(super) fn tenth(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

/// Without characters that XML has no way to write.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANVAS: Canvas = Canvas { width: 100.0, height: 50.0, inset: 1.0 };

    #[test]
    fn a_box_that_reaches_outside_is_drawn_along_the_border() {
        let outline = CANVAS.outline(BoundingBox::new(-3.0, 0.5, 0.5, 7.0));
        assert_eq!(outline, Some(BoundingBox::new(1.0, 25.0, 50.0, 49.0)));
        let center = CANVAS.center(BoundingBox::new(4.0, 4.0, 6.0, 6.0));
        assert_eq!(center, Some(Point { x: 99.0, y: 49.0 }));
    }

    #[test]
    fn an_inverted_box_is_turned_upright() {
        let outline = CANVAS.outline(BoundingBox::new(0.8, 0.8, 0.2, 0.4));
        assert_eq!(outline, Some(BoundingBox::new(20.0, 20.0, 80.0, 40.0)));
    }

    #[test]
    fn a_box_that_is_not_a_number_is_not_drawn() {
        let broken = BoundingBox::new(0.1, f32::NAN, 0.2, 0.3);
        assert_eq!(CANVAS.outline(broken), None);
        assert_eq!(CANVAS.center(broken), None);
        assert_eq!(CANVAS.outline(BoundingBox::new(0.1, 0.1, f32::INFINITY, 0.3)), None);
    }

    #[test]
    fn control_characters_are_left_out() {
        assert_eq!(printable("a\u{0}b\u{1b}[31mc"), "ab[31mc");
        assert_eq!(printable("größe"), "größe");
    }
}

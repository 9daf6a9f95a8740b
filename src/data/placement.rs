//! [`Placement`]: which part of an image lies on the canvas, how large, and which way round. Images,
//! boxes, points and masks of a sample all go through the same one, so that they stay together.

use crate::geometry::mask::Mask;
use crate::geometry::{BoundingBox, Point};

/// A window of a resized image, whose top-left corner goes to that of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Width and height of the whole image after resizing, in pixels of the canvas.
    scaled: (u32, u32),
    /// Where the window begins in the resized image, in pixels of the canvas.
    origin: (u32, u32),
    /// Width and height of the window, which is what the canvas shows.
    size: (u32, u32),
    /// Whether left and right of the window are swapped.
    flipped: bool,
}

impl Placement {
    /// The whole image with its longer side at `longer` pixels; the shorter keeps the aspect, rounded
    /// down and at least 1. `size` is that of the image, in pixels, at least 1 each.
    pub fn fitted(size: (u32, u32), longer: u32) -> Self {
        let scaled = fitted_size(size, longer);
        Self { scaled, origin: (0, 0), size: scaled, flipped: false }
    }

    /// The whole image with its longer side at `longer`, cut to `side` pixels each way. `at`: where the
    /// window lies in what there is to choose from, from 0 (left, top) to 1 (right, bottom).
    pub fn window(size: (u32, u32), longer: u32, side: u32, at: [f64; 2]) -> Self {
        let scaled = fitted_size(size, longer);
        let size = (scaled.0.min(side), scaled.1.min(side));
        // All of 0..=room are as likely where `at` is uniform in [0, 1).
        let begin = |room: u32, at: f64| ((f64::from(room + 1) * at) as u32).min(room);
        let origin = (begin(scaled.0 - size.0, at[0]), begin(scaled.1 - size.1, at[1]));
        Self { scaled, origin, size, flipped: false }
    }

    /// The same with left and right swapped.
    pub fn flipped(self) -> Self {
        Self { flipped: !self.flipped, ..self }
    }

    /// Whether left and right are swapped.
    pub fn is_flipped(&self) -> bool {
        self.flipped
    }

    /// Whether nothing of the image is cut away.
    pub fn is_whole(&self) -> bool {
        self.size == self.scaled
    }

    /// Width and height on the canvas, in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// The window in an image of `size` pixels: left, top, width and height in pixels of that image, within
    /// it.
    pub fn window_in(&self, size: (u32, u32)) -> [f64; 4] {
        let stretch = |size: u32, scaled: u32, origin: u32, window: u32| {
            let (size, scale) = (f64::from(size), f64::from(size) / f64::from(scaled));
            let begin = f64::from(origin) * scale;
            // Rounding must not lead out of the image.
            [begin, (f64::from(window) * scale).min(size - begin)]
        };
        let [left, width] = stretch(size.0, self.scaled.0, self.origin.0, self.size.0);
        let [top, height] = stretch(size.1, self.scaled.1, self.origin.1, self.size.1);
        [left, top, width, height]
    }

    /// A box normalised to the image → the part of it that is on the canvas, normalised to the window;
    /// `None` where no part is. A box without a width or height stays where it is seen.
    pub fn bounds(&self, bounds: BoundingBox) -> Option<BoundingBox> {
        if self.is_whole() && !self.flipped {
            return Some(bounds);
        }
        let [x0, x1] = self.horizontal(bounds.x0, bounds.x1)?;
        let [y0, y1] = self.vertical(bounds.y0, bounds.y1)?;
        Some(BoundingBox::new(x0, y0, x1, y1))
    }

    /// A point normalised to the image → normalised to the window; of one that is cut away, the nearest
    /// place in it. Traces are kept on images in the same way.
    pub fn nearest(&self, point: Point) -> Point {
        let x = to_window(point.x, self.scaled.0, self.origin.0, self.size.0).clamp(0.0, 1.0);
        let y = to_window(point.y, self.scaled.1, self.origin.1, self.size.1).clamp(0.0, 1.0);
        Point { x: if self.flipped { 1.0 - x } else { x }, y }
    }

    /// What of a box normalised to the image is on the canvas, as a share of its area; 1 for a box
    /// without an area that is seen.
    pub fn visible_share(&self, bounds: BoundingBox) -> f32 {
        let Some(seen) = self.bounds(bounds) else { return 0.0 };
        let share = |size: u32, scaled: u32| size as f32 / scaled as f32;
        let area =
            seen.area() * share(self.size.0, self.scaled.0) * share(self.size.1, self.scaled.1);
        if bounds.area() > 0.0 { (area / bounds.area()).min(1.0) } else { 1.0 }
    }

    /// A mask of the image → that of the window, a pixel of the canvas each; the nearest pixel counts.
    ///
    /// # Errors
    /// As [`Mask::from_pixels`].
    pub fn mask(&self, mask: &Mask) -> Result<Mask, String> {
        let (width, height) = self.size;
        let whole = (mask.width(), mask.height());
        let [left, top, across, down] = self.window_in(whole);
        let pixels = mask.pixels();
        let along = |begin: f64, length: f64, at: u32, count: u32, most: u32| {
            let place = begin + length * (f64::from(at) + 0.5) / f64::from(count);
            (place as u32).min(most.saturating_sub(1)) as usize
        };
        let mut window = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            let row = along(top, down, y, height, whole.1) * whole.0 as usize;
            for x in 0..width {
                let x = if self.flipped { width - 1 - x } else { x };
                let at = row + along(left, across, x, width, whole.0);
                window.push(pixels.get(at).is_some_and(|inside| *inside));
            }
        }
        Mask::from_pixels(&window, width, height)
    }

    fn horizontal(&self, from: f32, to: f32) -> Option<[f32; 2]> {
        let [from, to] = part([from, to], self.scaled.0, self.origin.0, self.size.0)?;
        Some(if self.flipped { [1.0 - to, 1.0 - from] } else { [from, to] })
    }

    fn vertical(&self, from: f32, to: f32) -> Option<[f32; 2]> {
        part([from, to], self.scaled.1, self.origin.1, self.size.1)
    }
}

/// A place among `scaled` pixels → that in the window, both normalised.
fn to_window(at: f32, scaled: u32, origin: u32, size: u32) -> f32 {
    if scaled == size { at } else { (at * scaled as f32 - origin as f32) / size as f32 }
}

/// The part of a stretch of `scaled` pixels that is in the window, both normalised.
fn part(stretch: [f32; 2], scaled: u32, origin: u32, size: u32) -> Option<[f32; 2]> {
    let [from, to] = stretch.map(|at| to_window(at, scaled, origin, size));
    let seen = [from.max(0.0), to.min(1.0)];
    let is_seen = if to > from { seen[1] > seen[0] } else { (0.0..=1.0).contains(&from) };
    is_seen.then_some(seen)
}

/// The size with the longer side at `longer` and the shorter rounded down, at least 1 (pixels).
fn fitted_size((width, height): (u32, u32), longer: u32) -> (u32, u32) {
    let from = u64::from(width.max(height)).max(1);
    let fit = |length: u32| {
        let scaled = u64::from(length) * u64::from(longer) / from;
        u32::try_from(scaled).unwrap_or(longer).max(1)
    };
    (fit(width), fit(height))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::data::transform::place;

    #[test]
    fn the_longer_side_fills_the_canvas_and_the_shorter_is_rounded_down() {
        // The example of spec/data.md, where the longer side is one less for rounding.
        assert_eq!(fitted_size((427, 640), 384), (256, 384));
        assert_eq!(fitted_size((640, 480), 64), (64, 48));
        assert_eq!(fitted_size((5, 5), 64), (64, 64));
        assert_eq!(fitted_size((10_000, 1), 64), (64, 1));
    }

    /// Where a box of one point is; `None` where it is cut away.
    fn seen_at(placement: &Placement, point: Point) -> Option<Point> {
        let seen = placement.bounds(BoundingBox::new(point.x, point.y, point.x, point.y))?;
        Some(Point { x: seen.x0, y: seen.y0 })
    }

    #[test]
    fn windows_and_what_is_in_them_by_hand() {
        // 80 × 40 at twice its size is 160 × 80, of which 100 × 80 go on the canvas; 60 to choose from.
        let window = |at: f64| Placement::window((80, 40), 160, 100, [at, 0.5]);
        assert_eq!(window(0.0).origin, (0, 0));
        assert_eq!(window(0.999_999).origin, (60, 0));
        let middle = window(0.5);
        assert_eq!((middle.origin, middle.size()), ((30, 0), (100, 80)));
        assert_eq!(middle.window_in((80, 40)), [15.0, 0.0, 50.0, 40.0]);
        // 16 to 96 of 160 pixels, in a window from 30 to 130.
        let bounds = BoundingBox::new(0.1, 0.25, 0.6, 0.75);
        let close = |found: BoundingBox, expected: [f32; 4]| {
            for (a, b) in found.to_array().into_iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
            }
        };
        close(middle.bounds(bounds).unwrap(), [0.0, 0.25, 0.66, 0.75]);
        close(middle.flipped().bounds(bounds).unwrap(), [0.34, 0.25, 1.0, 0.75]);
        assert!((middle.visible_share(bounds) - 66.0 / 80.0).abs() < 1e-6);
        assert_eq!(middle.bounds(BoundingBox::new(0.0, 0.0, 0.1875, 1.0)), None);
        assert_eq!(seen_at(&middle, Point { x: 0.1, y: 0.5 }), None);
        assert_eq!(middle.nearest(Point { x: 0.1, y: 0.25 }), Point { x: 0.0, y: 0.25 });
        assert_eq!(middle.flipped().nearest(Point { x: 0.1, y: 0.25 }), Point { x: 1.0, y: 0.25 });
        let seen = Point { x: 0.5, y: 0.75 };
        assert_eq!(Some(middle.nearest(seen)), seen_at(&middle, seen));
        // A line is seen where it is, and not where it is cut away.
        let line = |x: f32| middle.bounds(BoundingBox::new(x, 0.0, x, 1.0));
        assert!(line(0.5).is_some() && line(0.1).is_none());
    }

    #[test]
    fn the_whole_image_leaves_coordinates_to_the_last_bit() {
        let whole = Placement::fitted((427, 640), 384);
        let bounds = BoundingBox::new(0.1, 0.7, 0.3, 0.900_001);
        assert_eq!(whole.bounds(bounds), Some(bounds));
        assert_eq!(whole.visible_share(bounds), 1.0);
        let back = whole.flipped().flipped();
        assert_eq!(back.bounds(bounds), Some(bounds));
    }

    /// A white mark on black, 12 × 9 pixels of 120 × 90, and the same as a mask.
    fn marked() -> (RgbImage, Mask, BoundingBox) {
        let inside = |x: u32, y: u32| (60..72).contains(&x) && (27..36).contains(&y);
        let image = RgbImage::from_fn(120, 90, |x, y| Rgb([if inside(x, y) { 255 } else { 0 }; 3]));
        let pixels: Vec<bool> = (0..120 * 90).map(|at| inside(at % 120, at / 120)).collect();
        let mask = Mask::from_pixels(&pixels, 120, 90).unwrap();
        (image, mask, BoundingBox::new(0.5, 0.3, 0.6, 0.4))
    }

    /// The box around what is bright, in pixels.
    fn bright(pixels: impl Iterator<Item = bool>, width: usize) -> [f32; 4] {
        let mut found = [f32::MAX, f32::MAX, 0.0f32, 0.0f32];
        for (at, _) in pixels.enumerate().filter(|(_, is_bright)| *is_bright) {
            let (x, y) = ((at % width) as f32, (at / width) as f32);
            found =
                [found[0].min(x), found[1].min(y), found[2].max(x + 1.0), found[3].max(y + 1.0)];
        }
        found
    }

    #[test]
    fn a_mark_lands_where_its_box_its_point_and_its_mask_say() {
        let (image, mask, bounds) = marked();
        let side = 64;
        let mut with_center = 0;
        let placements = [
            Placement::fitted((120, 90), 64),
            Placement::fitted((120, 90), 48),
            Placement::window((120, 90), 96, 64, [0.4, 0.3]),
            Placement::window((120, 90), 200, 64, [0.6, 0.4]),
            Placement::window((120, 90), 64, 64, [0.9, 0.9]),
        ];
        for placement in placements.into_iter().flat_map(|one| [one, one.flipped()]) {
            let canvas = place(&image, side, &placement).unwrap();
            let seen = placement.bounds(bounds).unwrap();
            let expected = seen.scale(canvas.width as f32, canvas.height as f32).to_array();
            let lit = canvas.pixels.chunks_exact(3).map(|pixel| pixel[0] > 127);
            let found = bright(lit, side);
            let moved = placement.mask(&mask).unwrap();
            assert_eq!((moved.width(), moved.height()), (canvas.width, canvas.height));
            let masked = bright(moved.pixels().into_iter(), canvas.width as usize);
            for edge in 0..4 {
                let says = format!("{placement:?}: {found:?} {masked:?} {expected:?}");
                // A pixel is bright where more than half of it is.
                assert!((found[edge] - expected[edge]).abs() <= 0.75, "{says}");
                assert!((masked[edge] - expected[edge]).abs() <= 0.75, "{says}");
            }
            let center = seen_at(&placement, bounds.center());
            if let Some(Point { x, y }) = center {
                let at = |v: f32, size: u32| (v * size as f32) as usize;
                let pixel = at(y, canvas.height) * side + at(x, canvas.width);
                assert!(canvas.pixels[pixel * 3] > 127, "{placement:?}");
            }
            with_center += usize::from(center.is_some());
        }
        assert!(with_center >= 8, "{with_center}");
    }
}

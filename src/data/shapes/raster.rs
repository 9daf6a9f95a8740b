//! From a scene to pixels and masks: points are tested on a grid finer than the pixels, and both
//! the colours and the masks come from the same tests.

use image::RgbImage;

use super::outline;
use super::scene::{Object, Scene};

/// Samples per pixel and axis of a finished image.
pub(super) const SAMPLES: f64 = 3.0;

/// The same, to count with.
const PER_AXIS: usize = SAMPLES as usize;

/// Which object is in front at each sample of a scene.
#[derive(Debug)]
pub(super) struct Painting {
    /// Samples per row.
    columns: usize,
    /// 0 for the background; `1 + 2·i` for the main and `2 + 2·i` for the second colour of object `i`.
    codes: Vec<u8>,
    /// Samples inside each object, hidden ones included.
    whole: Vec<usize>,
}

impl Painting {
    /// Paints the objects from back to front.
    pub(super) fn new(scene: &Scene, samples_per_px: f64) -> Self {
        let count = |side: u32| (f64::from(side) * samples_per_px).ceil() as usize;
        let (columns, rows) = (count(scene.width), count(scene.height));
        let mut painting = Self { columns, codes: vec![0; columns * rows], whole: Vec::new() };
        for (index, object) in scene.objects.iter().enumerate() {
            painting.add(index, object, samples_per_px);
        }
        painting
    }

    fn add(&mut self, index: usize, object: &Object, samples_per_px: f64) {
        let reach = object.radius * outline::reach(object.attributes.shape);
        let rows = self.codes.len() / self.columns;
        let range = |center: f64, num: usize| {
            let from = ((center - reach) * samples_per_px).floor().max(0.0) as usize;
            let to = ((center + reach) * samples_per_px).ceil().max(0.0) as usize;
            from.min(num)..to.min(num)
        };
        let (across, down) = (range(object.center.0, self.columns), range(object.center.1, rows));
        let mut inside = 0;
        for row in down {
            let dy = (row as f64 + 0.5) / samples_per_px - object.center.1;
            let codes = &mut self.codes[row * self.columns..][..self.columns];
            for column in across.clone() {
                let dx = (column as f64 + 0.5) / samples_per_px - object.center.0;
                if let Some(second) = object.colour_at(dx, dy) {
                    codes[column] = (1 + 2 * index + usize::from(second)) as u8;
                    inside += 1;
                }
            }
        }
        self.whole.push(inside);
    }

    /// The smallest share of any object that is not hidden by others; 1 without objects.
    pub(super) fn least_visible(&self) -> f64 {
        let mut visible = vec![0; self.whole.len()];
        for code in self.codes.iter().filter(|code| **code > 0) {
            visible[owner(*code)] += 1;
        }
        let shares =
            visible.iter().zip(&self.whole).map(|(v, w)| f64::from(*v) / (*w).max(1) as f64);
        shares.fold(1.0, f64::min)
    }
}

/// The object of a code above 0.
fn owner(code: u8) -> usize {
    (usize::from(code) - 1) / 2
}

impl Object {
    /// Whether the pattern's second colour is at an offset from the centre in pixels; `None` outside.
    fn colour_at(&self, dx: f64, dy: f64) -> Option<bool> {
        let (x, y) = rotate_back(self.rotation, dx, dy);
        if !outline::contains(self.attributes.shape, x / self.radius, y / self.radius) {
            return None;
        }
        let (x, y) = rotate_back(self.pattern_rotation, dx, dy);
        // Bands are centred on the object: the smallest object shows a whole period or two.
        let (x, y) = (x / self.pattern_period, y / self.pattern_period);
        Some(outline::is_second(self.attributes.pattern, x, y))
    }
}

fn rotate_back((cos, sin): (f64, f64), x: f64, y: f64) -> (f64, f64) {
    (x * cos + y * sin, y * cos - x * sin)
}

/// The pixels that an object shows, in columns from the left as COCO's masks are.
pub(super) type Mask = Vec<u8>;

/// Draws a scene over a background of its size. A pixel belongs to the mask of the object that has
/// more than half of its samples.
pub(super) fn draw(scene: &Scene, mut background: RgbImage) -> (RgbImage, Vec<Mask>) {
    let painting = scene.painting(SAMPLES);
    let height = scene.height as usize;
    let mut masks = vec![vec![0; scene.width as usize * height]; scene.objects.len()];
    for (x, y, pixel) in background.enumerate_pixels_mut() {
        let (column, row) = (x as usize * PER_AXIS, y as usize * PER_AXIS);
        let samples = (0..PER_AXIS).flat_map(|dy| {
            let from = (row + dy) * painting.columns + column;
            &painting.codes[from..from + PER_AXIS]
        });
        let behind = pixel.0.map(f64::from);
        let mut sum = [0.0; 3];
        let mut counts = [0_u8; 256];
        for code in samples {
            let colour = match code {
                0 => behind,
                code => {
                    counts[owner(*code)] += 1;
                    scene.objects[owner(*code)].colours[usize::from((code - 1) % 2)]
                }
            };
            (0..3).for_each(|channel| sum[channel] += colour[channel]);
        }
        let num_samples = PER_AXIS * PER_AXIS;
        pixel.0 = sum.map(|total| (total / num_samples as f64).round() as u8);
        for (mask, count) in masks.iter_mut().zip(counts) {
            mask[x as usize * height + y as usize] = u8::from(usize::from(count) * 2 > num_samples);
        }
    }
    (background, masks)
}

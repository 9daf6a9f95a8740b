//! Random changes of training samples: scale, crop, flip and light. What is drawn is a function of the
//! seed, the source, the epoch and the sample, so that a resumed run sees the same.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::placement::Placement;
use super::transform::Canvas;
use crate::geometry::BoundingBox;

/// Crops that are tried until one shows a row; then the whole image is taken.
const TRIES: usize = 10;

/// How training samples are changed at random; without any key, not at all. Validation and evaluation
/// always see the whole image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Range that the longer side is drawn from, as a share of the canvas: `[0.75, 1.25]` for expressions
    /// and `[0.1, 2.0]` for regions in the paper. What does not fit the canvas is cropped at random.
    pub scale: [f64; 2],
    /// Rows of which a crop leaves a smaller share of the region are left out, text, prompt and box
    /// together. At 0 (the paper), only those of which nothing is left.
    pub min_visible: f64,
    /// Probability that left and right are swapped.
    pub flip: f64,
    /// What becomes of texts that say left or right.
    pub flip_texts: FlipTexts,
    /// Largest change of the brightness, as a share: 0.4 multiplies by 0.6 to 1.4.
    pub brightness: f64,
    /// The same for the contrast.
    pub contrast: f64,
    /// The same for the saturation.
    pub saturation: f64,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self {
            scale: [1.0, 1.0],
            min_visible: 0.0,
            flip: 0.0,
            flip_texts: FlipTexts::Keep,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
        }
    }
}

/// What becomes of English texts that say left or right when an image would be flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlipTexts {
    /// Their image stays as it is.
    Keep,
    /// The words are swapped.
    Swap,
}

impl AugmentationConfig {
    /// Whether nothing is changed.
    pub fn is_off(&self) -> bool {
        self.scale == [1.0, 1.0] && self.flip == 0.0 && !self.changes_light()
    }

    fn changes_light(&self) -> bool {
        [self.brightness, self.contrast, self.saturation].iter().any(|share| *share > 0.0)
    }

    /// Draws where an image of `size` pixels lies on a canvas of `side` pixels. Crops that show none of
    /// the rows by `is_seen` are drawn again, and in the end the whole image is taken.
    pub fn place(
        &self,
        size: (u32, u32),
        side: u32,
        rng: &mut impl Rng,
        is_seen: impl Fn(&Placement) -> bool,
    ) -> Placement {
        let [smallest, largest] = self.scale;
        for _ in 0..TRIES {
            let ratio = smallest + (largest - smallest) * rng.random::<f64>();
            let longer = ((f64::from(side) * ratio) as u32).max(1);
            let placement = Placement::window(size, longer, side, [rng.random(), rng.random()]);
            if is_seen(&placement) {
                return placement;
            }
        }
        Placement::fitted(size, side)
    }

    /// Whether enough of a region is on the canvas.
    pub fn shows(&self, placement: &Placement, region: BoundingBox) -> bool {
        let share = placement.visible_share(region);
        share > 0.0 && f64::from(share) >= self.min_visible
    }

    /// Draws whether to flip.
    pub fn flips(&self, rng: &mut impl Rng) -> bool {
        rng.random::<f64>() < self.flip
    }

    /// Changes the light of the image on a canvas: brightness, contrast and saturation, in this order.
    pub fn light(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        if !self.changes_light() {
            return;
        }
        let mut factor = |share: f64| (1.0 + share * (2.0 * rng.random::<f64>() - 1.0)) as f32;
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        relight(canvas, factors);
    }
}

/// Luminance of an RGB pixel (ITU-R BT.601).
fn luminance(pixel: [f32; 3]) -> f32 {
    0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
}

/// Brightness scales every value, contrast the distance from the mean luminance of the image, saturation
/// the distance from the pixel's own. The padding stays black.
fn relight(canvas: &mut Canvas, [brightness, contrast, saturation]: [f32; 3]) {
    let side = (canvas.pixels.len() / 3).isqrt();
    let (width, height) = (canvas.width as usize, canvas.height as usize);
    let rows = |pixels: &mut [u8], change: &mut dyn FnMut(&mut [u8; 3])| {
        for row in pixels.chunks_exact_mut((side * 3).max(1)).take(height) {
            let (pixels, _) = row.as_chunks_mut::<3>();
            pixels.iter_mut().take(width).for_each(&mut *change);
        }
    };
    let mut sum = 0.0f64;
    rows(&mut canvas.pixels, &mut |pixel| {
        sum += f64::from(luminance(pixel.map(|v| (f32::from(v) * brightness).min(255.0))));
    });
    let mean = (sum / (width * height).max(1) as f64) as f32;
    rows(&mut canvas.pixels, &mut |pixel| {
        let bright = pixel.map(|v| (f32::from(v) * brightness).min(255.0));
        let contrasted = bright.map(|v| (mean + (v - mean) * contrast).clamp(0.0, 255.0));
        let gray = luminance(contrasted);
        *pixel =
            contrasted.map(|v| (gray + (v - gray) * saturation).round().clamp(0.0, 255.0) as u8);
    });
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn scales_and_windows_are_drawn_over_their_whole_range() {
        let config = AugmentationConfig { scale: [0.5, 2.0], ..Default::default() };
        let mut rng = rng(1);
        let sizes: Vec<_> =
            (0..500).map(|_| config.place((200, 100), 100, &mut rng, |_| true).size()).collect();
        let widths = sizes.iter().map(|size| size.0);
        assert_eq!((widths.clone().min(), widths.max()), (Some(50), Some(100)));
        // Heights go on to grow where the width is cut.
        assert!(sizes.iter().any(|size| size.1 > 95) && sizes.iter().any(|size| size.1 < 30));
    }

    #[test]
    fn what_no_crop_shows_is_seen_on_the_whole_image() {
        let config = AugmentationConfig { scale: [2.0, 2.0], ..Default::default() };
        let mut rng = rng(1);
        let placement = config.place((100, 100), 50, &mut rng, |placement| placement.is_whole());
        assert_eq!(placement, Placement::fitted((100, 100), 50));
        let corner = BoundingBox::new(0.0, 0.0, 0.05, 0.05);
        for _ in 0..50 {
            let is_seen = |placement: &Placement| placement.visible_share(corner) >= 0.5;
            assert!(is_seen(&config.place((100, 100), 50, &mut rng, is_seen)));
        }
    }

    #[test]
    fn light_by_hand() {
        let canvas = |pixels: [[u8; 3]; 4]| Canvas { pixels: pixels.concat(), width: 1, height: 2 };
        let before = canvas([[100, 100, 100], [9; 3], [200, 0, 0], [9; 3]]);
        let after = |factors| {
            let mut canvas = before.clone();
            relight(&mut canvas, factors);
            canvas
        };
        assert_eq!(after([1.0; 3]), before);
        assert_eq!(after([1.5, 1.0, 1.0]), canvas([[150; 3], [9; 3], [255, 0, 0], [9; 3]]));
        // Without contrast, all is the mean luminance: (100 + 0.299 · 200) / 2 = 79.9.
        assert_eq!(after([1.0, 0.0, 1.0]), canvas([[80; 3], [9; 3], [80; 3], [9; 3]]));
        assert_eq!(after([1.0, 1.0, 0.0]), canvas([[100; 3], [9; 3], [60; 3], [9; 3]]));
    }

    #[test]
    fn defaults_change_nothing() {
        assert!(AugmentationConfig::default().is_off());
        for config in [
            AugmentationConfig { flip: 0.5, ..Default::default() },
            AugmentationConfig { scale: [0.9, 1.0], ..Default::default() },
            AugmentationConfig { saturation: 0.1, ..Default::default() },
        ] {
            assert!(!config.is_off());
        }
    }
}

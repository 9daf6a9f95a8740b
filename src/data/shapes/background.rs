//! What is behind the objects: textures in muted colours.

use image::{Rgb, RgbImage};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A texture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texture {
    Gradient,
    Clouds,
    Lines,
    Tiles,
    Speckles,
}

impl Texture {
    pub(super) const ALL: [Self; 5] =
        [Self::Gradient, Self::Clouds, Self::Lines, Self::Tiles, Self::Speckles];

    /// What a narrative calls it; none of these words is an object's.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gradient => "fading",
            Self::Clouds => "cloudy",
            Self::Lines => "lined",
            Self::Tiles => "tiled",
            Self::Speckles => "speckled",
        }
    }

    /// Paints it.
    pub(super) fn paint(self, width: u32, height: u32, rng: &mut ChaCha8Rng) -> RgbImage {
        let (from, to) = muted_pair(rng);
        let mix = match self {
            Self::Gradient => gradient(width, height, rng),
            Self::Clouds => clouds(width, height, rng),
            Self::Lines => lines(width, height, rng),
            Self::Tiles => tiles(width, height, rng),
            Self::Speckles => speckles(width, height, rng),
        };
        let width = width as usize;
        RgbImage::from_fn(width as u32, height, |x, y| {
            let t = mix[y as usize * width + x as usize];
            Rgb(std::array::from_fn(|c| (from[c] + (to[c] - from[c]) * t).round() as u8))
        })
    }
}

/// Two greys with a slight tint, between the greys of black objects (up to 90) and of white ones
/// (from 175) and far less saturated than any colour.
fn muted_pair(rng: &mut ChaCha8Rng) -> ([f64; 3], [f64; 3]) {
    let grey = rng.random_range(112.0..138.0);
    let difference = rng.random_range(14.0..22.0);
    let tint: [f64; 3] = std::array::from_fn(|_| rng.random_range(-9.0..9.0));
    let pair = (tint.map(|t| grey + t), tint.map(|t| grey + difference + t));
    if rng.random_bool(0.5) { pair } else { (pair.1, pair.0) }
}

/// Calls `shade` with every pixel's centre, in units of the short side.
fn each(width: u32, height: u32, shade: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let unit = f64::from(width.min(height));
    let at = |i: u32| (f64::from(i) + 0.5) / unit;
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| shade(at(x), at(y)))
        .collect()
}

fn direction(rng: &mut ChaCha8Rng) -> (f64, f64) {
    let angle = rng.random_range(0.0..std::f64::consts::TAU);
    (libm::cos(angle), libm::sin(angle))
}

fn gradient(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let (dx, dy) = direction(rng);
    each(width, height, |x, y| (0.5 + ((x - 0.5) * dx + (y - 0.5) * dy) * 0.7).clamp(0.0, 1.0))
}

fn lines(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let (dx, dy) = direction(rng);
    let period = rng.random_range(0.12..0.25);
    each(width, height, |x, y| f64::from(((x * dx + y * dy) / period).rem_euclid(1.0) < 0.5))
}

fn tiles(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let cell = rng.random_range(0.1..0.2);
    each(width, height, |x, y| ((x / cell).floor() + (y / cell).floor()).rem_euclid(2.0))
}

/// Smooth noise: random values on a coarse lattice, blended between.
fn clouds(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
    const CELLS: usize = 10;
    const STRIDE: usize = 2 * CELLS + 2;
    let lattice: Vec<f64> = (0..STRIDE * STRIDE).map(|_| rng.random_range(0.0..1.0)).collect();
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    each(width, height, |x, y| {
        // The short side has `CELLS` cells; the long side at most twice as many.
        let (x, y) = (x * CELLS as f64, y * CELLS as f64);
        let (column, row) = (x.floor().min(2.0 * CELLS as f64), y.floor().min(2.0 * CELLS as f64));
        let (right, down) = (smooth(x - column), smooth(y - row));
        let at = |dx, dy| lattice[(row as usize + dy) * STRIDE + column as usize + dx];
        let top = at(0, 0) + (at(1, 0) - at(0, 0)) * right;
        let bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * right;
        top + (bottom - top) * down
    })
}

/// Dots of one or two pixels here and there.
fn speckles(width: u32, height: u32, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let (w, h) = (width as usize, height as usize);
    let mut mix = vec![0.0; w * h];
    for _ in 0..w * h / 40 {
        let (x, y) = (rng.random_range(0..w), rng.random_range(0..h));
        let size = rng.random_range(1..=2);
        for row in mix.chunks_mut(w).skip(y).take(size) {
            row.iter_mut().skip(x).take(size).for_each(|pixel| *pixel = 1.0);
        }
    }
    mix
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn backgrounds_are_muted_and_not_uniform() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for texture in Texture::ALL {
            for (width, height) in [(64, 64), (64, 48), (48, 64), (64, 32)] {
                let image = texture.paint(width, height, &mut rng);
                let mut values = std::collections::BTreeSet::new();
                for pixel in image.pixels() {
                    let (low, high) = (pixel.0.iter().min(), pixel.0.iter().max());
                    let saturation = high.zip(low).map(|(h, l)| h - l);
                    assert!(saturation <= Some(20), "{texture:?}: {pixel:?}");
                    assert!(pixel.0.iter().all(|v| (100..=172).contains(v)), "{pixel:?}");
                    values.insert(pixel.0);
                }
                assert!(values.len() >= 2, "{texture:?}");
            }
        }
    }
}

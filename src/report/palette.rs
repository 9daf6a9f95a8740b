//! Colours: one per word, perceptually even along the order of the words; one per task.
//!
//! Word colours are steps of equal hue in OKLCH (Ottosson 2020, *A perceptual color space for image
//! processing*) at one lightness, so that no word shouts louder than another.

use std::f64::consts::TAU;
use std::fmt;

use image::Rgb;

use crate::data::sample::Task;

/// Lightness in OKLCH (0 black, 1 white): seen on photographs, on paper and on the dark panel.
const LIGHTNESS: f64 = 0.74;
/// Chroma that is asked for; hues that sRGB cannot show that vividly get as much as it can.
const CHROMA: f64 = 0.17;
/// Hue of the first word, in turns: blue.
const FIRST_HUE: f64 = 0.74;
/// Hue of the last word, in turns: red, by way of green and yellow. Less than a whole turn away, so
/// that the last word is not mistaken for the first.
const LAST_HUE: f64 = 0.02;

/// An sRGB colour; `Display` writes it as `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// As a pixel.
    pub fn rgb(self) -> Rgb<u8> {
        Rgb(self.0)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

/// What the model answered, where there is only one answer to show.
pub const ANSWER: Color = Color([0xff, 0x9f, 0x1c]);
/// What the annotation says.
pub const REFERENCE: Color = Color([0xff, 0xff, 0xff]);

/// Colour of word `index` of `count`.
pub fn word(index: usize, count: usize) -> Color {
    let last = count.saturating_sub(1).max(1);
    at(index as f64 / last as f64)
}

/// Colour at `share` of the way from the first word (0) to the last (1).
pub fn at(share: f64) -> Color {
    let hue = (FIRST_HUE + (LAST_HUE - FIRST_HUE) * share.clamp(0.0, 1.0)) * TAU;
    vivid(LIGHTNESS, hue)
}

/// Colour of a task's curves: dark enough for lines on white, light enough for lines on black.
pub fn task(task: Task) -> Color {
    let hue = match task {
        Task::Narrate => 0.72,
        Task::Describe => 0.42,
        Task::Locate => 0.12,
        Task::Detect => 0.92,
    };
    vivid(0.64, hue * TAU)
}

/// The most chroma, up to [`CHROMA`], that sRGB has at this lightness and hue (radians).
fn vivid(lightness: f64, hue: f64) -> Color {
    let (mut low, mut high) = (0.0, CHROMA);
    let mut best = linear_srgb(lightness, high, hue);
    if !in_gamut(best) {
        // 12 halvings are finer than a step of 8-bit sRGB.
        for _ in 0..12 {
            let middle = (low + high) / 2.0;
            if in_gamut(linear_srgb(lightness, middle, hue)) { low = middle } else { high = middle }
        }
        best = linear_srgb(lightness, low, hue);
    }
    Color(best.map(encode))
}

fn in_gamut(rgb: [f64; 3]) -> bool {
    rgb.iter().all(|v| (0.0..=1.0).contains(v))
}

/// OKLCH → linear sRGB; the matrices are Ottosson's.
fn linear_srgb(lightness: f64, chroma: f64, hue: f64) -> [f64; 3] {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
}

/// Linear light → 8-bit sRGB (IEC 61966-2-1).
fn encode(linear: f64) -> u8 {
    let linear = linear.clamp(0.0, 1.0);
    let encoded =
        if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
    (encoded * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn oklch_without_chroma_is_grey_and_lightness_one_is_white() {
        assert_eq!(vivid(1.0, 0.0).to_string(), "#ffffff");
        let Color([r, g, b]) = Color(linear_srgb(0.5, 0.0, 1.0).map(encode));
        assert!(r == g && g == b);
        // 0.5³ = 0.125 of linear light is 99 of 255 in sRGB.
        assert_eq!(r, 99);
    }

    #[test]
    fn thirty_words_have_thirty_colours_of_about_one_brightness() {
        let colours: Vec<_> = (0..30).map(|i| word(i, 30)).collect();
        assert_eq!(colours.iter().collect::<HashSet<_>>().len(), 30);
        for Color([r, g, b]) in colours {
            let luma = 0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b);
            assert!((130.0..190.0).contains(&luma), "{luma}");
        }
    }

    #[test]
    fn a_single_word_has_the_first_colour() {
        assert_eq!(word(0, 1), at(0.0));
        assert_eq!(word(1, 2), at(1.0));
    }

    #[test]
    fn tasks_differ() {
        let colours: HashSet<_> = Task::ALL.into_iter().map(task).collect();
        assert_eq!(colours.len(), Task::ALL.len());
    }
}

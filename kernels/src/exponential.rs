//! The exponential function as additions, multiplications and shifts alone, so that the compiler computes
//! several at once; the one of the system's library is called for one number after the other.

use std::f32::consts::LOG2_E;

/// 1.5 · 2²³: a number added to it is rounded to a whole one, which the low bits then hold.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts, of which the first has zeros at its end: times a small whole number, it is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Below, the result is smaller than any normal number.
const LOWEST: f32 = -87.0;
/// Above, the result is near the largest number.
const HIGHEST: f32 = 88.0;

/// `eˣ`, with an error of at most two units in the last place; 0 below −87, and that of 88 above.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(LOWEST, HIGHEST);
    // x = n · ln 2 + rest, with a rest of at most ln 2 / 2.
    let shifted = clamped * LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    let rest = (clamped - whole * LN_2[0]) - whole * LN_2[1];
    // The series to the seventh power, whose next term is below 10⁻⁸.
    let series = 1.0 / 5040.0;
    let series = series * rest + 1.0 / 720.0;
    let series = series * rest + 1.0 / 120.0;
    let series = series * rest + 1.0 / 24.0;
    let series = series * rest + 1.0 / 6.0;
    let series = series * rest + 0.5;
    let series = series * (rest * rest) + rest + 1.0;
    // The exponent's bits begin at the 23rd.
    let result = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < LOWEST { 0.0 } else { result }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_64_bits_to_two_units_in_the_last_place() {
        for step in -86_999..88_000 {
            let x = step as f32 / 1_000.0;
            let expected = f64::from(x).exp();
            let unit = f64::from(f32::EPSILON) * expected;
            let off = (f64::from(exp(x)) - expected).abs() / unit;
            assert!(off <= 2.0, "exp({x}) is off by {off} units");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1e9).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_sigmoid_reaches_its_ends() {
        assert_eq!([sigmoid(0.0), sigmoid(100.0)], [0.5, 1.0]);
        assert!(sigmoid(-100.0) < 1e-37);
        assert!((sigmoid(1.0) - 0.731_058_6).abs() < 1e-6);
    }
}

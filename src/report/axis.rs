//! The range of a chart's axis and where its ticks are.

/// Span above which an axis of positive values becomes logarithmic: below, a straight axis shows the
/// late, flat part of a curve well enough.
const LOGARITHMIC_RATIO: f64 = 30.0;
/// Ticks to aim at.
const TICKS: f64 = 4.0;

/// A range of values and how they map to `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// Straight, from `low` to `high`.
    pub(super) fn straight(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        Self { low, high, logarithmic: false }
    }

    /// Around the values, but for the most extreme half per cent at either end; logarithmic where
    /// they span far. `None` where no value is finite.
    pub(super) fn around(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let rank = |share: f64| ((values.len() - 1) as f64 * share).round() as usize;
        let (low, high) = match values.as_slice() {
            [] => return None,
            some => (*some.get(rank(0.005))?, *some.get(rank(0.995))?),
        };
        if low > 0.0 && high / low > LOGARITHMIC_RATIO {
            return Some(Self { low, high, logarithmic: true });
        }
        // A little air; zero is shown where it is near.
        let air = ((high - low) * 0.06).max(high.abs() * 1e-3).max(f64::MIN_POSITIVE);
        let below = if low >= 0.0 && low < (high - low) * 0.5 { 0.0 } else { low - air };
        Some(Self { low: below, high: high + air, logarithmic: false })
    }

    /// The same range without logarithms, from 0 where it is positive.
    pub(super) fn straightened(self) -> Self {
        if self.logarithmic {
            Self { low: 0.0, high: self.high * 1.06, logarithmic: false }
        } else {
            self
        }
    }

    /// Whether equal distances are equal ratios.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, beyond for values outside.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            // What is not positive has no logarithm; it lies below everything.
            return if value > 0.0 {
                (value / self.low).ln() / (self.high / self.low).ln()
            } else {
                -1.0
            };
        }
        (value - self.low) / (self.high - self.low)
    }

    /// Round values within the range.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let ticks = if self.logarithmic { self.powers() } else { self.multiples() };
        ticks.into_iter().filter(|t| (-1e-9..=1.0 + 1e-9).contains(&self.share(*t))).collect()
    }

    /// Powers of ten, with 2 and 5 between them where there are few.
    fn powers(&self) -> Vec<f64> {
        let (from, to) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let stride = ((f64::from(to - from) / TICKS).round() as usize).max(1);
        let steps: &[f64] = if to - from <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = (from..=to).step_by(stride);
        exponents.flat_map(|e| steps.iter().map(move |s| s * 10_f64.powi(e))).collect()
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn multiples(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        // Up to a third more ticks than aimed at, rather than half as many.
        let stride = [1.0, 2.0, 5.0].into_iter().map(|s| s * power).find(|s| *s >= 0.75 * rough);
        let stride = stride.unwrap_or(10.0 * power);
        let (from, to) = ((self.low / stride).ceil(), (self.high / stride).floor());
        // The range is a few strides wide, so these are few.
        (0..=(to - from).max(0.0) as usize).map(|i| (from + i as f64) * stride).collect()
    }
}

/// A short name for a tick: `12k`, `0.05`, `3e-5`.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if size >= 1e6 {
        trimmed(value / 1e6, 1) + "M"
    } else if size >= 1e4 {
        trimmed(value / 1e3, 1) + "k"
    } else if size < 1e-3 {
        format!("{value:.0e}")
    } else {
        trimmed(value, 3)
    }
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Axis::straight(0.0, 2_000.0).ticks(), [0.0, 500.0, 1_000.0, 1_500.0, 2_000.0]);
        let ticks = Axis::around([0.31, 0.77]).unwrap().ticks();
        assert_eq!(
            ticks.iter().map(|t| short(*t)).collect::<Vec<_>>(),
            ["0.3", "0.4", "0.5", "0.6", "0.7"]
        );
    }

    #[test]
    fn far_spans_are_logarithmic() {
        let axis = Axis::around((0..1_000).map(|i| 10_f64.powf(f64::from(i) / 250.0))).unwrap();
        assert!(axis.is_logarithmic());
        assert!((axis.share(100.0) - 0.5).abs() < 0.01);
        assert!(axis.share(0.0) < 0.0 && axis.share(-3.0) < 0.0);
        assert!(axis.ticks().contains(&100.0));
    }

    #[test]
    fn a_single_spike_does_not_flatten_the_rest() {
        let mut values = vec![1.0; 1_000];
        values[3] = 1e9;
        assert!(Axis::around(values).unwrap().share(1.0) < 1.0);
        let mut values = vec![1.0; 1_000];
        values[3] = 1e9;
        assert!(!Axis::around(values).unwrap().is_logarithmic());
    }

    #[test]
    fn constants_zeros_and_nothing_have_an_axis_or_none() {
        for value in [0.0, 5.0, -2.0, 1e-4] {
            let axis = Axis::around([value]).unwrap();
            assert!((0.0..=1.0).contains(&axis.share(value)), "{value}");
            assert!(axis.ticks().len() < 10);
        }
        assert_eq!(Axis::around([f64::NAN, f64::INFINITY]), None);
        assert!(Axis::straight(0.0, 0.0).share(0.0).is_finite());
    }

    #[test]
    fn names_of_ticks_are_short() {
        let names = [0.0, 20_000.0, 1.5e6, 3e-5, 0.25, 150.0, 4_000.0].map(short);
        assert_eq!(names, ["0", "20k", "1.5M", "3e-5", "0.25", "150", "4000"]);
    }
}

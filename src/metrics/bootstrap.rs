//! Confidence intervals by the bootstrap (Efron, 1979): how much a score varies where the samples are drawn
//! again, with replacement.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Share of the resampled scores inside the interval.
pub const CONFIDENCE: f64 = 0.95;

/// Intervals of several scores, `[low, high]` each: the percentiles that leave [`CONFIDENCE`] between them.
/// `scores_of` is given positions of `num_samples` samples, some several times, `num_resamples` times over;
/// the same seed draws the same on any number of threads. Empty without samples or resamples.
pub fn intervals(
    num_samples: usize,
    num_resamples: usize,
    seed: u64,
    scores_of: impl Fn(&[usize]) -> Vec<f64> + Sync,
) -> Vec<[f64; 2]> {
    if num_samples == 0 || num_resamples == 0 {
        return Vec::new();
    }
    let draw = |stream: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream as u64);
        let drawn: Vec<usize> =
            (0..num_samples).map(|_| random.random_range(0..num_samples)).collect();
        scores_of(&drawn)
    };
    let resampled: Vec<Vec<f64>> = (0..num_resamples).into_par_iter().map(draw).collect();
    let num_scores = resampled.iter().map(Vec::len).min().unwrap_or(0);
    let interval = |score: usize| {
        let mut values: Vec<f64> = resampled.iter().map(|scores| scores[score]).collect();
        values.sort_by(f64::total_cmp);
        let outside = (1.0 - CONFIDENCE) / 2.0;
        let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
        [at(outside), at(1.0 - outside)]
    };
    (0..num_scores).map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_about_two_standard_errors_to_either_side() {
        // A hundred zeros and a hundred ones: the mean is 0.5 with a standard error of 0.5 / √200.
        let mean = |drawn: &[usize]| {
            vec![drawn.iter().filter(|&&at| at < 100).count() as f64 / 200.0, 7.0]
        };
        let found = intervals(200, 2_000, 3, mean);
        let half = 1.96 * 0.5 / 200.0_f64.sqrt();
        assert!((found[0][0] - (0.5 - half)).abs() < 0.01, "{found:?}");
        assert!((found[0][1] - (0.5 + half)).abs() < 0.01, "{found:?}");
        assert_eq!(found[1], [7.0, 7.0]);
        assert_eq!(found, intervals(200, 2_000, 3, mean), "seeded");
        assert!(intervals(0, 10, 3, mean).is_empty());
    }
}

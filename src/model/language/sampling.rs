//! Drawing tokens by their probability: temperature, top-k, and top-p (the nucleus of Holtzman et al.,
//! 2020), in this order.
//!
//! Drawn on the host with a generator of its own, so that a seed means the same on every device and is
//! not moved by what else is random. Row `n` of a batch has stream `n` of the seed: what is drawn for
//! it does not depend on how many rows there are, or on when they end.
//!
//! Letters: `R` rows, `V` vocabulary.

use burn::tensor::{Int, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;

/// How tokens are drawn; by default as probable as the model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// What logits are divided by: below 1 likely tokens become likelier, at 0 only the most probable
    /// one is left.
    pub temperature: f64,
    /// Draws from this many of the most probable tokens; leave out for all.
    pub top_k: Option<usize>,
    /// Draws from the fewest tokens that have this share of the probability, counted after
    /// `temperature` and `top_k`; 1 for all.
    pub top_p: f64,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Whether no token may follow itself, as in greedy decoding.
    pub suppress_repeats: bool,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: 1.0, seed: 0, suppress_repeats: true }
    }
}

impl SampleConfig {
    /// What cannot be done; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let problem = |key: &str, found: String, allowed: &str| ConfigProblem {
            key: key.to_string(),
            problem: format!("is {found}"),
            allowed: allowed.to_string(),
        };
        let mut problems = Vec::new();
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            let allowed = "a number of at least 0";
            problems.push(problem("temperature", self.temperature.to_string(), allowed));
        }
        if self.top_k == Some(0) {
            problems.push(problem("top_k", "0".to_string(), "at least 1"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            let allowed = "more than 0 and at most 1";
            problems.push(problem("top_p", self.top_p.to_string(), allowed));
        }
        problems
    }

    /// The tokens that may be drawn, most probable first where any is left out, each with a weight in
    /// proportion to its probability.
    fn weights(&self, log_probs: &[f32]) -> Vec<(usize, f64)> {
        let largest = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if self.temperature == 0.0 {
            let first = log_probs.iter().position(|&one| one == largest).unwrap_or(0);
            return vec![(first, 1.0)];
        }
        let weight = |one: f32| (f64::from(one - largest) / self.temperature).exp();
        let mut tokens: Vec<_> = log_probs.iter().map(|&one| weight(one)).enumerate().collect();
        let falling = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if let Some(count) = self.top_k.filter(|&count| count < tokens.len()) {
            tokens.select_nth_unstable_by(count - 1, falling);
            tokens.truncate(count);
            tokens.sort_unstable_by(falling);
        }
        if self.top_p < 1.0 {
            tokens.sort_unstable_by(falling);
            let share = self.top_p * tokens.iter().map(|(_, weight)| weight).sum::<f64>();
            let mut mass = 0.0;
            let needed = tokens.iter().position(|(_, weight)| {
                mass += weight;
                mass >= share
            });
            tokens.truncate(needed.map_or(tokens.len(), |last| last + 1));
        }
        tokens
    }

    /// The token at `place`, from 0 to 1, of all that may be drawn, laid end to end.
    fn token_at(&self, log_probs: &[f32], place: f64) -> usize {
        let weights = self.weights(log_probs);
        let place = place * weights.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut mass = 0.0;
        let drawn = weights.iter().find(|(_, weight)| {
            mass += weight;
            mass > place
        });
        // Rounding may leave the place behind the last.
        drawn.or(weights.last()).map_or(0, |(token, _)| *token)
    }
}

/// Draws the tokens of a batch of texts.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SampleConfig,
    /// A generator for each row.
    rows: Vec<ChaCha8Rng>,
}

impl Sampler {
    /// For the texts of `rows` rows, from their beginning.
    pub fn new(config: &SampleConfig, rows: usize) -> Self {
        let row = |stream: usize| {
            let mut row = ChaCha8Rng::seed_from_u64(config.seed);
            row.set_stream(stream as u64);
            row
        };
        Self { config: config.clone(), rows: (0..rows).map(row).collect() }
    }

    /// Log-probabilities `[R, V]` → a token of each row, `[R, 1]`.
    pub fn draw(&mut self, log_probs: Tensor<2>) -> Tensor<2, Int> {
        let [rows, size] = log_probs.dims();
        let device = log_probs.device();
        let values: Vec<f32> = log_probs.into_data().iter::<f32>().collect();
        let drawn = values
            .chunks(size)
            .zip(&mut self.rows)
            .map(|(log_probs, row)| self.config.token_at(log_probs, row.random::<f64>()) as i64);
        let drawn: Vec<i64> = drawn.collect();
        Tensor::from_data(TensorData::new(drawn, [rows, 1]), &device)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Log-probabilities of 0.1, 0.4, 0.2, 0.3.
    fn log_probs() -> Vec<f32> {
        [0.1f32, 0.4, 0.2, 0.3].map(f32::ln).to_vec()
    }

    /// Tokens that may be drawn, and their probabilities in percent.
    fn kept(config: &SampleConfig, log_probs: &[f32]) -> Vec<(usize, i64)> {
        let weights = config.weights(log_probs);
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let percent = |weight: f64| (100.0 * weight / sum).round() as i64;
        weights.into_iter().map(|(token, weight)| (token, percent(weight))).collect()
    }

    fn config() -> SampleConfig {
        SampleConfig::default()
    }

    #[test]
    fn by_default_every_token_has_its_probability() {
        assert_eq!(kept(&config(), &log_probs()), [(0, 10), (1, 40), (2, 20), (3, 30)]);
    }

    #[test]
    fn top_k_keeps_the_k_most_probable() {
        let top = |count| kept(&SampleConfig { top_k: Some(count), ..config() }, &log_probs());
        assert_eq!(top(1), [(1, 100)]);
        // 0.4 / 0.7 and 0.3 / 0.7.
        assert_eq!(top(2), [(1, 57), (3, 43)]);
        assert_eq!(top(3), [(1, 44), (3, 33), (2, 22)]);
        assert_eq!(top(4).len(), 4);
        assert_eq!(top(9).len(), 4);
        // Of equals the first.
        let equals = kept(&SampleConfig { top_k: Some(2), ..config() }, &[-1.0; 5]);
        assert_eq!(equals, [(0, 50), (1, 50)]);
    }

    #[test]
    fn top_p_keeps_the_fewest_whose_mass_reaches_p() {
        let tokens = |top_p| {
            let kept = kept(&SampleConfig { top_p, ..config() }, &log_probs());
            kept.into_iter().map(|(token, _)| token).collect::<Vec<_>>()
        };
        assert_eq!(tokens(0.01), [1]);
        assert_eq!(tokens(0.39), [1]);
        assert_eq!(tokens(0.41), [1, 3]);
        assert_eq!(tokens(0.69), [1, 3]);
        assert_eq!(tokens(0.71), [1, 3, 2]);
        assert_eq!(tokens(0.91), [1, 3, 2, 0]);
    }

    #[test]
    fn top_p_counts_what_top_k_has_left() {
        // Of 0.4 and 0.3 the first alone has 0.57.
        let both = |top_p| SampleConfig { top_k: Some(2), top_p, ..config() };
        assert_eq!(kept(&both(0.5), &log_probs()), [(1, 100)]);
        assert_eq!(kept(&both(0.6), &log_probs()).len(), 2);
    }

    #[test]
    fn temperature_is_a_power_of_probabilities_and_0_is_greedy() {
        // p² / Σ p²: 0.01, 0.16, 0.04, 0.09 of 0.3.
        let sharp = SampleConfig { temperature: 0.5, ..config() };
        assert_eq!(kept(&sharp, &log_probs()), [(0, 3), (1, 53), (2, 13), (3, 30)]);
        for temperature in [0.0, 1e-6] {
            let greedy = SampleConfig { temperature, ..config() };
            for place in [0.0, 0.3, 0.999_999] {
                assert_eq!(greedy.token_at(&log_probs(), place), 1);
            }
        }
    }

    #[test]
    fn places_are_shared_out_end_to_end() {
        let at = |place| config().token_at(&log_probs(), place);
        assert_eq!([0.05, 0.15, 0.45, 0.55, 0.65, 0.75, 0.95].map(at), [0, 1, 1, 2, 2, 3, 3]);
    }

    /// Draws of `rows` rows, one after the other.
    fn draws(config: &SampleConfig, rows: usize, count: usize) -> Vec<Vec<i64>> {
        let device = Device::flex();
        let row = Tensor::<1>::from_data(log_probs().as_slice(), &device).unsqueeze::<2>();
        let mut sampler = Sampler::new(config, rows);
        let mut draw = || sampler.draw(row.clone().repeat_dim(0, rows));
        (0..count).map(|_| draw().into_data().iter::<i64>().collect()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_draws_and_a_row_has_its_own_in_any_batch() {
        let seeded = |seed| SampleConfig { seed, ..config() };
        let first = draws(&seeded(5), 3, 20);
        assert_eq!(first, draws(&seeded(5), 3, 20));
        assert_ne!(first, draws(&seeded(6), 3, 20));
        let alone = draws(&seeded(5), 1, 20);
        assert!(alone.iter().zip(&first).all(|(alone, first)| alone[0] == first[0]));
        assert!(first.iter().any(|rows| rows[0] != rows[1]), "rows draw apart");
    }

    #[test]
    fn many_draws_are_as_frequent_as_probable() {
        let drawn = draws(&config(), 50, 200).concat();
        let share = |token| drawn.iter().filter(|&&one| one == token).count() as f64 / 10_000.0;
        for (token, expected) in [0.1, 0.4, 0.2, 0.3].into_iter().enumerate() {
            // Four standard deviations of a share of 10,000 draws are 0.02 at most.
            assert!(
                (share(token as i64) - expected).abs() < 0.02,
                "{token}: {}",
                share(token as i64)
            );
        }
    }

    #[test]
    fn what_cannot_be_drawn_from_is_named() {
        let bad = SampleConfig { temperature: -1.0, top_k: Some(0), top_p: 0.0, ..config() };
        let keys: Vec<_> = bad.validate().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["temperature", "top_k", "top_p"]);
        assert_eq!(config().validate(), []);
        assert_eq!(SampleConfig { top_p: f64::NAN, ..config() }.validate().len(), 1);
    }
}

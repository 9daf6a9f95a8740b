//! Which samples a training step sees: a function of the seed and the step, so that a resumed run
//! goes on where it stopped.
//!
//! A batch is of one source, drawn by weight. Each source is an endless row of shuffled epochs, of
//! which every draw takes the next batch.

use rand::Rng;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Purposes that random numbers are drawn for; each has streams of its own.
const SOURCES: u64 = 0;
const ORDER: u64 = 1;
const ROWS: u64 = 2;

/// A source in a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixedSource {
    /// How many samples it has.
    pub num_samples: usize,
    /// How often a batch is of it, relative to the others.
    pub weight: f64,
    /// Steps that come before its first batch.
    pub first_step: usize,
}

/// Weights of the sources at `step`, and the step at which the next source joins.
fn phase(sources: &[MixedSource], step: usize) -> Result<(WeightedIndex<f64>, usize)> {
    let joined = |source: &MixedSource| source.first_step <= step;
    let weights = sources.iter().map(|s| if joined(s) { s.weight } else { 0.0 });
    let weighted = WeightedIndex::new(weights).map_err(|error| Error::Usage {
        problem: format!("no source can be drawn at step {step}: {error}"),
        help:
            "Give at least one of data.sources a positive weight and a first_step of 0, and none \
               a negative weight."
                .into(),
    })?;
    let later = sources.iter().filter(|source| !joined(source)).map(|source| source.first_step);
    Ok((weighted, later.min().unwrap_or(usize::MAX)))
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Mixture {
    seed: u64,
    batch_size: usize,
    /// Samples of each source.
    sizes: Vec<usize>,
    /// Per step, which source it is of and how often that was drawn before.
    draws: Vec<(usize, usize)>,
    /// The last epoch that was shuffled, per source.
    epochs: Vec<Option<(usize, Vec<usize>)>>,
}

impl Mixture {
    /// A plan for `num_steps` steps of `batch_size` images.
    ///
    /// # Errors
    /// [`Error::Usage`] where, at some step, no source has a positive weight.
    pub fn new(
        seed: u64,
        batch_size: usize,
        sources: &[MixedSource],
        num_steps: usize,
    ) -> Result<Self> {
        let mut rng = stream(seed, SOURCES, 0, 0);
        let mut counts = vec![0; sources.len()];
        let mut draws = Vec::with_capacity(num_steps);
        while draws.len() < num_steps {
            let (weighted, until) = phase(sources, draws.len())?;
            for _ in draws.len()..until.min(num_steps) {
                let source = weighted.sample(&mut rng);
                counts[source] += 1;
                draws.push((source, counts[source] - 1));
            }
        }
        let sizes = sources.iter().map(|source| source.num_samples).collect();
        let epochs = vec![None; sources.len()];
        Ok(Self { seed, batch_size, sizes, draws, epochs })
    }

    /// The source of step `step` (from 0), its samples, and the random numbers that choose rows.
    /// `None` past the last step.
    pub fn step(&mut self, step: usize) -> Option<(usize, Vec<usize>, ChaCha8Rng)> {
        let &(source, draw) = self.draws.get(step)?;
        let first = draw * self.batch_size;
        let samples = (first..first + self.batch_size).map(|i| self.sample(source, i)).collect();
        Some((source, samples, stream(self.seed, ROWS, source as u64, draw as u64)))
    }

    /// The `index`-th sample that a source ever gives.
    fn sample(&mut self, source: usize, index: usize) -> usize {
        let size = self.sizes[source];
        let (epoch, place) = (index / size, index % size);
        let cached = self.epochs[source].take().filter(|(cached, _)| *cached == epoch);
        let order = cached.map_or_else(
            || {
                let mut order: Vec<usize> = (0..size).collect();
                order.shuffle(&mut stream(self.seed, ORDER, source as u64, epoch as u64));
                order
            },
            |(_, order)| order,
        );
        let sample = order[place];
        self.epochs[source] = Some((epoch, order));
        sample
    }
}

/// Random numbers for one purpose, source and draw.
fn stream(seed: u64, purpose: u64, source: u64, draw: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // 2^40 draws of 2^16 sources for 2^8 purposes are apart.
    rng.set_stream(purpose << 56 | source << 40 | draw);
    // Of no use, but without it a seed would mean other data than in the runs of `docs/results`.
    let _: u64 = rng.random();
    rng
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(num_samples: usize, weight: f64, first_step: usize) -> MixedSource {
        MixedSource { num_samples, weight, first_step }
    }

    fn plan(seed: u64) -> Mixture {
        Mixture::new(seed, 4, &[source(10, 1.0, 0), source(7, 3.0, 0)], 200).unwrap()
    }

    #[test]
    fn every_epoch_of_a_source_has_each_sample_once() {
        let mut mixture = plan(3);
        let mut seen: [Vec<usize>; 2] = [vec![], vec![]];
        for step in 0..200 {
            let (source, samples, _) = mixture.step(step).unwrap();
            seen[source].extend(samples);
        }
        assert!(mixture.step(200).is_none());
        assert!(seen[1].len() > 2 * seen[0].len(), "weights 1 and 3");
        for (source, size) in [(0, 10), (1, 7)] {
            let epochs: Vec<Vec<usize>> =
                seen[source].chunks_exact(size).map(<[usize]>::to_vec).collect();
            for epoch in &epochs {
                let mut sorted = epoch.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..size).collect::<Vec<_>>());
            }
            assert!(epochs.windows(2).any(|pair| pair[0] != pair[1]), "shuffled anew");
        }
    }

    #[test]
    fn a_step_is_the_same_from_wherever_one_comes() {
        let (mut whole, mut resumed) = (plan(3), plan(3));
        let all: Vec<_> = (0..60).map(|step| whole.step(step).unwrap()).collect();
        for (step, expected) in all.iter().enumerate().skip(37) {
            let (source, samples, mut rng) = resumed.step(step).unwrap();
            assert_eq!((source, &samples), (expected.0, &expected.1));
            assert_eq!(rng.random::<u64>(), expected.2.clone().random::<u64>());
        }
        let other: Vec<_> = (0..60).map(|step| plan(4).step(step).unwrap().1).collect();
        assert!(all.iter().map(|step| &step.1).ne(other.iter()));
    }

    #[test]
    fn no_weight_is_an_error() {
        assert!(Mixture::new(0, 1, &[source(1, 0.0, 0)], 1).is_err());
        assert!(Mixture::new(0, 1, &[source(1, -1.0, 0)], 1).is_err());
        assert!(Mixture::new(0, 1, &[source(1, 1.0, 5)], 9).is_err(), "nothing to begin with");
    }

    #[test]
    fn a_source_joins_at_its_first_step() {
        let sources = [source(4, 1.0, 0), source(4, 9.0, 50)];
        let mut mixture = Mixture::new(1, 2, &sources, 200).unwrap();
        let drawn: Vec<usize> = (0..200).map(|step| mixture.step(step).unwrap().0).collect();
        assert!(drawn[..50].iter().all(|source| *source == 0));
        let later = drawn[50..].iter().filter(|source| **source == 1).count();
        assert!((120..150).contains(&later), "{later} of 150 by weights 1 and 9");
    }
}

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
    /// A plan for `num_steps` steps of `batch_size` images over sources of `sizes` samples.
    ///
    /// # Errors
    /// [`Error::Usage`] where no source has a positive weight.
    pub fn new(
        seed: u64,
        batch_size: usize,
        sizes: Vec<usize>,
        weights: &[f64],
        num_steps: usize,
    ) -> Result<Self> {
        let weighted = WeightedIndex::new(weights).map_err(|error| Error::Usage {
            problem: format!("no source can be drawn: {error}"),
            help: "Give at least one of data.sources a positive weight, and none a negative one."
                .into(),
        })?;
        let mut rng = stream(seed, SOURCES, 0, 0);
        let mut counts = vec![0; sizes.len()];
        let draws = (0..num_steps).map(|_| {
            let source = weighted.sample(&mut rng);
            counts[source] += 1;
            (source, counts[source] - 1)
        });
        let draws = draws.collect();
        let epochs = vec![None; sizes.len()];
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
    // The first block of neighbouring streams is as good as any: ChaCha mixes the stream's number.
    let _: u64 = rng.random();
    rng
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Mixture {
        Mixture::new(seed, 4, vec![10, 7], &[1.0, 3.0], 200).unwrap()
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
        for step in 37..60 {
            let (source, samples, mut rng) = resumed.step(step).unwrap();
            assert_eq!((source, &samples), (all[step].0, &all[step].1));
            assert_eq!(rng.random::<u64>(), all[step].2.clone().random::<u64>());
        }
        let other: Vec<_> = (0..60).map(|step| plan(4).step(step).unwrap().1).collect();
        assert!(all.iter().map(|step| &step.1).ne(other.iter()));
    }

    #[test]
    fn no_weight_is_an_error() {
        assert!(Mixture::new(0, 1, vec![1], &[0.0], 1).is_err());
        assert!(Mixture::new(0, 1, vec![1], &[-1.0], 1).is_err());
    }
}

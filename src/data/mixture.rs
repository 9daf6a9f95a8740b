//! Which samples a training step sees: a function of the seed and the step, so that a resumed run
//! goes on where it stopped.
//!
//! Without epochs, a batch is of one source, drawn by weight, or of the sources of one task, each image
//! drawn by weight ([`Mixing`]); each source is an endless row of shuffled epochs, of which every draw
//! takes the next samples. With epochs, all sources go through theirs together.

mod epochs;

use rand::Rng;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::epochs::Epochs;
use super::sample::Task;
use crate::error::{Error, Result};

/// Purposes that random numbers are drawn for; each has streams of its own.
const SOURCES: u64 = 0;
const ORDER: u64 = 1;
const ROWS: u64 = 2;
const SAMPLES: u64 = 3;
const MERGED: u64 = 4;
const EPOCHS: u64 = 5;

/// How samples of several sources come into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mixing {
    /// A batch is of one source.
    #[default]
    PerSource,
    /// A batch is of one task, and has images of all sources of that task.
    Merged,
}

/// A source in a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixedSource {
    /// What it teaches.
    pub task: Task,
    /// How many samples it has.
    pub num_samples: usize,
    /// How often a batch, or an image of one, is of it, relative to the others.
    pub weight: f64,
    /// Steps that come before its first batch.
    pub first_step: usize,
}

/// What a mixture is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixtureConfig {
    /// Seed.
    pub seed: u64,
    /// Images of a batch.
    pub batch_size: usize,
    /// What a batch is of.
    pub mixing: Mixing,
    /// Steps; without meaning where there are epochs.
    pub num_steps: usize,
    /// How often every sample is seen.
    pub epochs: Option<usize>,
}

/// What a step sees.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// Source and sample of each image; all sources have the same task.
    pub samples: Vec<(usize, usize)>,
    /// Numbers that choose rows.
    pub rows: ChaCha8Rng,
    /// Numbers that change each image: a function of the seed, the source, its epoch and the sample.
    pub changes: Vec<ChaCha8Rng>,
}

/// Draws the source of `step` and of those after it, up to the step at which the next source joins.
fn phase(sources: &[MixedSource], step: usize) -> Result<(WeightedIndex<f64>, usize)> {
    let joined = |source: &MixedSource| source.first_step <= step;
    let weights = sources.iter().map(|s| if joined(s) { s.weight } else { 0.0 });
    let later = sources.iter().filter(|source| !joined(source)).map(|source| source.first_step);
    Ok((weighted(weights, step)?, later.min().unwrap_or(usize::MAX)))
}

fn weighted(weights: impl Iterator<Item = f64>, step: usize) -> Result<WeightedIndex<f64>> {
    WeightedIndex::new(weights).map_err(|error| Error::Usage {
        problem: format!("no source can be drawn at step {step}: {error}"),
        help:
            "Give at least one of data.sources a positive weight and a first_step of 0, and none \
               a negative weight."
                .into(),
    })
}

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Mixture {
    seed: u64,
    batch_size: usize,
    /// Samples of each source.
    sizes: Vec<usize>,
    plan: Plan,
    /// The last epoch that was shuffled, per source.
    orders: Vec<Option<(usize, Vec<usize>)>>,
}

#[derive(Debug, Clone)]
enum Plan {
    /// Per step, which source it is of and how often that was drawn before.
    PerSource(Vec<(usize, usize)>),
    /// Batches of one task.
    Merged(Merged),
    /// Whole epochs.
    Epochs(Epochs),
}

impl Mixture {
    /// A plan.
    ///
    /// # Errors
    /// [`Error::Usage`] where, at some step, no source has a positive weight.
    pub fn new(config: &MixtureConfig, sources: &[MixedSource]) -> Result<Self> {
        let plan = match (config.epochs, config.mixing) {
            (Some(epochs), _) => {
                weighted(sources.iter().map(|source| source.weight), 0)?;
                Plan::Epochs(Epochs::new(config, sources, epochs))
            }
            (None, Mixing::PerSource) => Plan::PerSource(per_source(config, sources)?),
            (None, Mixing::Merged) => Plan::Merged(Merged::new(config, sources)?),
        };
        let sizes = sources.iter().map(|source| source.num_samples).collect();
        let orders = vec![None; sources.len()];
        Ok(Self { seed: config.seed, batch_size: config.batch_size, sizes, plan, orders })
    }

    /// Number of steps.
    pub fn num_steps(&self) -> usize {
        match &self.plan {
            Plan::PerSource(draws) => draws.len(),
            Plan::Merged(merged) => merged.num_steps(),
            Plan::Epochs(epochs) => epochs.num_steps(),
        }
    }

    /// What step `step` (from 0) sees; `None` past the last step.
    pub fn step(&mut self, step: usize) -> Option<StepPlan> {
        let (places, rows) = match &mut self.plan {
            Plan::PerSource(draws) => {
                let &(source, draw) = draws.get(step)?;
                let first = draw * self.batch_size;
                let places = (first..first + self.batch_size).map(|index| (source, index));
                (places.collect(), stream(self.seed, ROWS, source as u64, draw as u64))
            }
            Plan::Merged(merged) => {
                let places = merged.step(self.seed, self.batch_size, step)?;
                (places, stream(self.seed, ROWS, 0, step as u64))
            }
            Plan::Epochs(epochs) => {
                (epochs.step(self.seed, step)?, stream(self.seed, ROWS, 0, step as u64))
            }
        };
        let samples: Vec<_> = places
            .into_iter()
            .map(|(source, index): (usize, usize)| (source, self.sample(source, index)))
            .collect();
        let changes = samples.iter().map(|(source, (epoch, sample))| {
            let seen = epoch * self.sizes[*source] + sample;
            stream(self.seed, SAMPLES, *source as u64, seen as u64)
        });
        let changes = changes.collect();
        let samples = samples.into_iter().map(|(source, (_, sample))| (source, sample)).collect();
        Some(StepPlan { samples, rows, changes })
    }

    /// The epoch and the place in its file of the `index`-th sample that a source ever gives.
    fn sample(&mut self, source: usize, index: usize) -> (usize, usize) {
        let size = self.sizes[source];
        let (epoch, place) = (index / size, index % size);
        let cached = self.orders[source].take().filter(|(cached, _)| *cached == epoch);
        let order = cached.map_or_else(
            || {
                let mut order: Vec<usize> = (0..size).collect();
                order.shuffle(&mut stream(self.seed, ORDER, source as u64, epoch as u64));
                order
            },
            |(_, order)| order,
        );
        let sample = order[place];
        self.orders[source] = Some((epoch, order));
        (epoch, sample)
    }
}

/// Per step, which source it is of and how often that was drawn before.
fn per_source(config: &MixtureConfig, sources: &[MixedSource]) -> Result<Vec<(usize, usize)>> {
    let mut rng = stream(config.seed, SOURCES, 0, 0);
    let mut counts = vec![0; sources.len()];
    let mut draws = Vec::with_capacity(config.num_steps);
    while draws.len() < config.num_steps {
        let (weighted, until) = phase(sources, draws.len())?;
        for _ in draws.len()..until.min(config.num_steps) {
            let source = weighted.sample(&mut rng);
            counts[source] += 1;
            draws.push((source, counts[source] - 1));
        }
    }
    Ok(draws)
}

/// Batches of one task each: a step's task is drawn by the weights of its sources together, then each of
/// its images by the weights of these.
#[derive(Debug, Clone)]
struct Merged {
    sources: Vec<MixedSource>,
    /// Per step, the task.
    tasks: Vec<Task>,
    /// Per step and source, how many of its samples came before.
    before: Vec<usize>,
}

impl Merged {
    fn new(config: &MixtureConfig, sources: &[MixedSource]) -> Result<Self> {
        let mut rng = stream(config.seed, SOURCES, 0, 0);
        let mut merged = Self { sources: sources.to_vec(), tasks: vec![], before: vec![] };
        let mut counts = vec![0; sources.len()];
        while merged.tasks.len() < config.num_steps {
            let (weighted, until) = phase(sources, merged.tasks.len())?;
            for step in merged.tasks.len()..until.min(config.num_steps) {
                merged.tasks.push(sources[weighted.sample(&mut rng)].task);
                merged.before.extend(&counts);
                for source in merged.draw(config.seed, config.batch_size, step) {
                    counts[source] += 1;
                }
            }
        }
        Ok(merged)
    }

    fn num_steps(&self) -> usize {
        self.tasks.len()
    }

    /// The sources of the images of a step.
    fn draw(&self, seed: u64, batch_size: usize, step: usize) -> Vec<usize> {
        let of_task = |source: &MixedSource| {
            source.first_step <= step && self.tasks.get(step) == Some(&source.task)
        };
        let weights = self.sources.iter().map(|s| if of_task(s) { s.weight } else { 0.0 });
        let mut rng = stream(seed, MERGED, 0, step as u64);
        // The task was drawn, so one of its sources has a weight.
        let drawn = WeightedIndex::new(weights)
            .map(|weighted| (0..batch_size).map(|_| weighted.sample(&mut rng)).collect());
        drawn.unwrap_or_default()
    }

    /// The source of each image of a step, and how many of its samples came before.
    fn step(&self, seed: u64, batch_size: usize, step: usize) -> Option<Vec<(usize, usize)>> {
        self.tasks.get(step)?;
        let count = self.sources.len();
        let mut next = self.before.get(step * count..(step + 1) * count)?.to_vec();
        let place = |source: usize| {
            next[source] += 1;
            (source, next[source] - 1)
        };
        Some(self.draw(seed, batch_size, step).into_iter().map(place).collect())
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
mod tests;

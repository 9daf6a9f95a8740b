//! Whole epochs: every sample once, in batches in a random order.

use rand::seq::SliceRandom;

use super::{EPOCHS, MixedSource, Mixing, MixtureConfig, stream};

/// Batches of whole epochs.
#[derive(Debug, Clone)]
pub(super) struct Epochs {
    num_epochs: usize,
    batch_size: usize,
    /// Sources whose samples share batches, with the number of samples of each.
    groups: Vec<Vec<(usize, usize)>>,
    /// The last epoch that was mixed: its batches, in order.
    mixed: Option<(usize, Vec<Batch>)>,
}

/// Source of each image, and its place in the source's epoch.
type Batch = Vec<(usize, usize)>;

impl Epochs {
    pub(super) fn new(config: &MixtureConfig, sources: &[MixedSource], num_epochs: usize) -> Self {
        let mut groups: Vec<Vec<(usize, usize)>> = Vec::new();
        let used = sources.iter().enumerate().filter(|(_, source)| source.weight > 0.0);
        for (index, source) in used {
            let of_task = |group: &&mut Vec<(usize, usize)>| {
                let first = group.first().and_then(|(first, _)| sources.get(*first));
                first.is_some_and(|first| first.task == source.task)
            };
            let group = match config.mixing {
                Mixing::PerSource => None,
                Mixing::Merged => groups.iter_mut().find(of_task),
            };
            match group {
                Some(group) => group.push((index, source.num_samples)),
                None => groups.push(vec![(index, source.num_samples)]),
            }
        }
        Self { num_epochs, batch_size: config.batch_size.max(1), groups, mixed: None }
    }

    pub(super) fn num_steps(&self) -> usize {
        self.num_epochs * self.steps_per_epoch()
    }

    fn steps_per_epoch(&self) -> usize {
        let sizes =
            self.groups.iter().map(|group| group.iter().map(|(_, size)| size).sum::<usize>());
        sizes.map(|size| size.div_ceil(self.batch_size)).sum()
    }

    /// The source of each image of a step, and how many of its samples came before.
    pub(super) fn step(&mut self, seed: u64, step: usize) -> Option<Batch> {
        if step >= self.num_steps() {
            return None;
        }
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        let known = self.mixed.take().filter(|(known, _)| *known == epoch);
        let (_, batches) = known.unwrap_or_else(|| (epoch, self.mix(seed, epoch)));
        let batch = batches.get(place).cloned();
        self.mixed = Some((epoch, batches));
        batch
    }

    /// The batches of an epoch.
    fn mix(&self, seed: u64, epoch: usize) -> Vec<Batch> {
        let mut rng = stream(seed, EPOCHS, 0, epoch as u64);
        let mut batches = Vec::with_capacity(self.steps_per_epoch());
        for group in &self.groups {
            let all = |(source, size): &(usize, usize)| {
                let (source, first) = (*source, epoch * size);
                (0..*size).map(move |place| (source, first + place))
            };
            let mut samples: Vec<_> = group.iter().flat_map(all).collect();
            // Each source has an order of its own already; of several, they are mixed.
            if group.len() > 1 {
                samples.shuffle(&mut rng);
            }
            batches.extend(samples.chunks(self.batch_size).map(<[_]>::to_vec));
        }
        batches.shuffle(&mut rng);
        batches
    }
}

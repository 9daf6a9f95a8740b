use std::collections::HashSet;

use super::*;

fn source(num_samples: usize, weight: f64, first_step: usize) -> MixedSource {
    MixedSource { task: Task::Narrate, num_samples, weight, first_step }
}

/// Two sources of narratives and one of expressions.
fn sources() -> [MixedSource; 3] {
    [source(10, 1.0, 0), source(7, 3.0, 0), MixedSource { task: Task::Locate, ..source(5, 2.0, 0) }]
}

fn config(seed: u64, num_steps: usize) -> MixtureConfig {
    MixtureConfig { seed, batch_size: 4, mixing: Mixing::PerSource, num_steps, epochs: None }
}

fn plan(seed: u64) -> Mixture {
    Mixture::new(&config(seed, 200), &sources()[..2]).unwrap()
}

/// What identifies a step: its samples, and the first of all its random numbers.
fn seen(mixture: &mut Mixture, step: usize) -> (Vec<(usize, usize)>, Vec<u64>) {
    let StepPlan { samples, mut rows, changes } = mixture.step(step).unwrap();
    let numbers = changes.into_iter().map(|mut rng| rng.random::<u64>());
    (samples, std::iter::once(rows.random::<u64>()).chain(numbers).collect())
}

/// Every way to mix.
fn all_kinds(seed: u64) -> Vec<Mixture> {
    let mut mixtures = Vec::new();
    for mixing in [Mixing::PerSource, Mixing::Merged] {
        for epochs in [None, Some(9)] {
            let config = MixtureConfig { mixing, epochs, ..config(seed, 60) };
            mixtures.push(Mixture::new(&config, &sources()).unwrap());
        }
    }
    mixtures
}

/// Asserts that each source gave whole epochs, as far as it came, and shuffled them anew.
fn assert_epochs(seen: &[Vec<usize>], sizes: &[usize]) {
    for (seen, &size) in seen.iter().zip(sizes) {
        let epochs: Vec<Vec<usize>> = seen.chunks_exact(size).map(<[usize]>::to_vec).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..size).collect::<Vec<_>>());
        }
        assert!(epochs.windows(2).any(|pair| pair[0] != pair[1]), "shuffled anew");
    }
}

#[test]
fn every_epoch_of_a_source_has_each_sample_once() {
    let mut mixture = plan(3);
    let mut seen: [Vec<usize>; 2] = [vec![], vec![]];
    for step in 0..200 {
        let samples = mixture.step(step).unwrap().samples;
        assert!(samples.windows(2).all(|pair| pair[0].0 == pair[1].0), "of one source");
        samples.into_iter().for_each(|(source, sample)| seen[source].push(sample));
    }
    assert!(mixture.step(200).is_none());
    assert!(seen[1].len() > 2 * seen[0].len(), "weights 1 and 3");
    assert_epochs(&seen, &[10, 7]);
}

#[test]
fn a_step_is_the_same_from_wherever_one_comes() {
    for (kind, mut whole) in all_kinds(3).into_iter().enumerate() {
        let all: Vec<_> = (0..whole.num_steps()).map(|step| seen(&mut whole, step)).collect();
        let mut resumed = all_kinds(3).remove(kind);
        for (step, expected) in all.iter().enumerate().skip(37) {
            assert_eq!(seen(&mut resumed, step), *expected, "kind {kind} step {step}");
        }
        let mut other = all_kinds(4).remove(kind);
        assert!(all.iter().enumerate().any(|(step, seen_)| seen(&mut other, step) != *seen_));
    }
}

#[test]
fn a_sample_is_changed_by_other_numbers_in_every_epoch() {
    for mut mixture in all_kinds(1) {
        let mut numbers = HashSet::new();
        let mut count = 0;
        for step in 0..mixture.num_steps() {
            let changes = mixture.step(step).unwrap().changes;
            count += changes.len();
            numbers.extend(changes.into_iter().map(|mut rng| rng.random::<u64>()));
        }
        assert_eq!(numbers.len(), count);
    }
}

#[test]
fn merged_batches_have_images_of_every_source_of_one_task_by_weight() {
    let config = MixtureConfig { mixing: Mixing::Merged, ..config(5, 300) };
    let mut mixture = Mixture::new(&config, &sources()).unwrap();
    let mut seen: [Vec<usize>; 3] = Default::default();
    let mut mixed = 0;
    for step in 0..300 {
        let samples = mixture.step(step).unwrap().samples;
        assert_eq!(samples.len(), 4);
        let of_expressions = samples.iter().filter(|(source, _)| *source == 2).count();
        assert!([0, 4].contains(&of_expressions), "{samples:?}");
        mixed += usize::from(samples.windows(2).any(|pair| pair[0].0 != pair[1].0));
        samples.into_iter().for_each(|(source, sample)| seen[source].push(sample));
    }
    assert!(mixed > 100, "{mixed}");
    let counts: Vec<_> = seen.iter().map(Vec::len).collect();
    // Of 1200 images: 200, 600 and 400 by weights 1, 3 and 2.
    for (count, expected) in counts.iter().zip([200, 600, 400]) {
        assert!(count.abs_diff(expected) < 80, "{counts:?}");
    }
    assert_epochs(&seen, &[10, 7, 5]);
}

#[test]
fn an_epoch_has_every_sample_of_every_source_once_in_batches_of_one_task() {
    for (mixing, per_epoch) in [(Mixing::PerSource, 3 + 2 + 2), (Mixing::Merged, 5 + 2)] {
        let config = MixtureConfig { mixing, epochs: Some(3), ..config(5, 1) };
        let mut mixture = Mixture::new(&config, &sources()).unwrap();
        assert_eq!(mixture.num_steps(), 3 * per_epoch);
        assert!(mixture.step(3 * per_epoch).is_none());
        for epoch in 0..3 {
            let mut seen: HashSet<(usize, usize)> = HashSet::new();
            for step in epoch * per_epoch..(epoch + 1) * per_epoch {
                let samples = mixture.step(step).unwrap().samples;
                assert!((1..=4).contains(&samples.len()));
                let of_expressions = samples.iter().filter(|(source, _)| *source == 2).count();
                assert!(of_expressions == 0 || of_expressions == samples.len());
                for sample in samples {
                    assert!(seen.insert(sample), "{sample:?} twice");
                }
            }
            assert_eq!(seen.len(), 10 + 7 + 5);
        }
    }
}

#[test]
fn no_weight_is_an_error() {
    let new = |sources: &[MixedSource], mixing, epochs| {
        let config = MixtureConfig { mixing, epochs, ..config(0, 9) };
        Mixture::new(&config, sources)
    };
    for mixing in [Mixing::PerSource, Mixing::Merged] {
        for epochs in [None, Some(1)] {
            assert!(new(&[source(1, 0.0, 0)], mixing, epochs).is_err());
            assert!(new(&[source(1, -1.0, 0)], mixing, epochs).is_err());
        }
        assert!(new(&[source(1, 1.0, 5)], mixing, None).is_err(), "nothing to begin with");
    }
}

#[test]
fn a_source_joins_at_its_first_step() {
    let sources = [source(4, 1.0, 0), source(4, 9.0, 50)];
    for mixing in [Mixing::PerSource, Mixing::Merged] {
        let config = MixtureConfig { mixing, batch_size: 2, ..config(1, 200) };
        let mut mixture = Mixture::new(&config, &sources).unwrap();
        let drawn: Vec<usize> =
            (0..200).flat_map(|step| mixture.step(step).unwrap().samples).map(|s| s.0).collect();
        assert!(drawn[..100].iter().all(|source| *source == 0));
        let later = drawn[100..].iter().filter(|source| **source == 1).count();
        assert!((240..300).contains(&later), "{later} of 300 by weights 1 and 9");
    }
}

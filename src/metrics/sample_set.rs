//! What was found about the samples of a set, added one by one and by several workers.

use std::collections::BTreeMap;

/// What was found so far, by the id of the sample: of an image, say, or of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleSet<I, S> {
    samples: BTreeMap<I, S>,
}

impl<I, S> Default for SampleSet<I, S> {
    fn default() -> Self {
        Self { samples: BTreeMap::new() }
    }
}

impl<I, S> From<BTreeMap<I, S>> for SampleSet<I, S> {
    fn from(samples: BTreeMap<I, S>) -> Self {
        Self { samples }
    }
}

impl<I: Ord, S> SampleSet<I, S> {
    /// Adds a sample.
    ///
    /// # Errors
    /// The id, where the sample is there already.
    pub fn add(&mut self, id: I, sample: S) -> Result<(), I> {
        if self.samples.contains_key(&id) {
            return Err(id);
        }
        self.samples.insert(id, sample);
        Ok(())
    }

    /// Adds the samples of another worker. The order of workers does not matter.
    ///
    /// # Errors
    /// The first id that both have.
    pub fn merge(&mut self, other: Self) -> Result<(), I> {
        other.samples.into_iter().try_for_each(|(id, sample)| self.add(id, sample))
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// All samples, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&I, &S)> {
        self.samples.iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn workers_find_what_one_finds_in_any_order() {
        let (mut one, mut first, mut second) =
            (SampleSet::default(), SampleSet::default(), SampleSet::default());
        for id in 0..4 {
            one.add(id, 10 * id).unwrap();
            let worker = if id % 2 == 0 { &mut second } else { &mut first };
            worker.add(id, 10 * id).unwrap();
        }
        assert_eq!(one.add(2, 0), Err(2));
        first.merge(second.clone()).unwrap();
        assert_eq!(first, one);
        assert_eq!(first.merge(second), Err(0), "the samples of a worker twice");
        assert_eq!((one.len(), one.iter().last()), (4, Some((&3, &30))));
    }
}

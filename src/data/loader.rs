//! Batches for burn-train, made ahead of their use on a thread of their own, which has the samples of a
//! batch read on the collator's. Beside the batch in use there are never more than `prefetch` that wait and
//! one in the making.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::batch::HostBatch;
use super::collate::{Collator, Pick, RowChoice};
use super::mixture::{Mixture, StepPlan};
use super::source::Source;
use crate::error::{Error, Result};

/// Makes the batch of a step; `None` past the last.
type Make = dyn FnMut(usize) -> Option<Result<HostBatch>> + Send;

/// Which sample of the data an image of a batch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleName {
    /// Number of its `[[data.sources]]`, from 0.
    pub source: usize,
    /// Its place in there, from 0.
    pub sample: usize,
    /// Its image.
    pub image: PathBuf,
}

/// Batches of steps `range`; the item that progress counts is a batch.
#[derive(Clone)]
pub struct Batches {
    sources: Arc<Vec<Source>>,
    collator: Arc<Collator>,
    plan: Plan,
    range: Range<usize>,
    prefetch: usize,
}

/// Which samples a step has.
#[derive(Clone)]
enum Plan {
    /// Mixed and shuffled, for training.
    Mixed(Mixture),
    /// Source after source in the order of their files, for validation: source and samples per
    /// batch.
    InOrder(Arc<Vec<(usize, Range<usize>)>>),
}

impl Batches {
    /// Mixed and shuffled by `mixture`.
    pub fn mixed(
        sources: Arc<Vec<Source>>,
        collator: Arc<Collator>,
        mixture: Mixture,
        prefetch: usize,
    ) -> Self {
        let range = 0..mixture.num_steps();
        Self { sources, collator, plan: Plan::Mixed(mixture), range, prefetch }
    }

    /// At most `max_batches` of `batch_size` per source, in the order of the files.
    pub fn in_order(
        sources: Arc<Vec<Source>>,
        collator: Arc<Collator>,
        batch_size: usize,
        max_batches: usize,
        prefetch: usize,
    ) -> Self {
        let mut plan = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let count = source.samples.len();
            let starts = (0..count).step_by(batch_size.max(1)).take(max_batches);
            plan.extend(starts.map(|start| (index, start..(start + batch_size).min(count))));
        }
        let range = 0..plan.len();
        Self { sources, collator, plan: Plan::InOrder(Arc::new(plan)), range, prefetch }
    }

    /// Batch `index`, made by the caller's thread; `None` past the last.
    pub fn batch(&self, index: usize) -> Option<Result<HostBatch>> {
        self.maker()(index)
    }

    /// The samples of batch `index`, in its order; none past the last.
    pub fn sample_names(&self, index: usize) -> Vec<SampleName> {
        let samples = match self.plan.clone() {
            Plan::Mixed(mut mixture) => mixture.step(index).map(|plan| plan.samples),
            Plan::InOrder(plan) => plan
                .get(index)
                .map(|(source, samples)| samples.clone().map(|sample| (*source, sample)).collect()),
        };
        let name = |(source, sample): (usize, usize)| SampleName {
            source,
            sample,
            image: self.sources[source].samples.image(sample).path.clone(),
        };
        samples.unwrap_or_default().into_iter().map(name).collect()
    }

    /// A function that makes the batch of any step.
    fn maker(&self) -> Box<Make> {
        let (sources, collator) = (self.sources.clone(), self.collator.clone());
        match self.plan.clone() {
            Plan::Mixed(mut mixture) => Box::new(move |step| {
                let StepPlan { samples, mut rows, changes } = mixture.step(step)?;
                let pick = |(source, sample)| Pick { source: &sources[source], sample };
                let picks: Vec<_> = samples.into_iter().map(pick).collect();
                let choice = RowChoice::Random { rows: &mut rows, samples: &changes };
                Some(collator.collate_mixed(&picks, choice))
            }),
            Plan::InOrder(plan) => Box::new(move |step| {
                let (source, samples) = plan.get(step)?;
                let source = &sources[*source];
                let choice = RowChoice::First(source.config.rows_per_image);
                Some(collator.collate(source, &samples.clone().collect::<Vec<_>>(), choice))
            }),
        }
    }
}

impl DataLoader<HostBatch> for Batches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<HostBatch> + 'a> {
        Box::new(ahead(self.maker(), self.range.clone(), self.prefetch))
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    /// Batches are made on the host and copied by the step that uses them.
    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<HostBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<HostBatch>> {
        let shift = |step: usize| (self.range.start + step).min(self.range.end);
        Arc::new(Self { range: shift(start)..shift(end), ..self.clone() })
    }
}

/// Makes the batches of `steps` on a thread: `prefetch` of them wait at most, while one more is made.
fn ahead(mut make: Box<Make>, steps: Range<usize>, prefetch: usize) -> Prefetched {
    let (sender, receiver) = sync_channel(prefetch);
    let total = steps.len();
    thread::spawn(move || {
        // A panic would look like the end of the data to whoever waits for it.
        let mut careful = |step| {
            catch_unwind(AssertUnwindSafe(|| make(step)))
                .unwrap_or_else(|panic| Some(Err(panicked(step, panic.as_ref()))))
        };
        for batch in steps.map_while(&mut careful) {
            let failed = batch.is_err();
            // The receiver is gone when the run was stopped.
            if sender.send(batch).is_err() || failed {
                break;
            }
        }
    });
    Prefetched { receiver, done: 0, total }
}

fn panicked(step: usize, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Error::Compute {
        problem: format!("the batch of step {} could not be made: panicked: {text}", step + 1),
        help: "Report this as a bug, with what was printed before.".into(),
    }
}

struct Prefetched {
    receiver: Receiver<Result<HostBatch>>,
    done: usize,
    total: usize,
}

impl Iterator for Prefetched {
    type Item = Result<HostBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.receiver.recv().ok()?;
        self.done += 1;
        Some(batch.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<HostBatch> for Prefetched {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("batches".into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::data::batch::BatchDims;
    use crate::data::sample::Task;

    /// A batch that only says which step it is of.
    fn batch(step: usize) -> HostBatch {
        let dims = BatchDims {
            images: step,
            canvas_px: 0,
            rows: 0,
            prompts: 0,
            text_tokens: 0,
            context_tokens: 0,
        };
        HostBatch::empty(Task::Narrate, dims)
    }

    #[test]
    fn no_more_batches_are_made_than_may_wait_and_one() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = made.clone();
        let make = move |step| {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(Ok(batch(step)))
        };
        let mut batches = ahead(Box::new(make), 5..30, 3);
        for step in 5..30 {
            let in_use = batches.next().unwrap().unwrap();
            assert_eq!(in_use.dims.images, step, "in the order of the steps");
            // Time enough to make them all.
            thread::sleep(Duration::from_millis(3));
            let ahead = made.load(Ordering::SeqCst) - (step - 4);
            assert!(ahead <= 3 + 1, "{ahead}");
        }
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_panic_while_a_batch_is_made_is_an_error_that_says_which() {
        let make = |step| match step {
            2 => panic!("an image of {} pixels", -1),
            step => Some(Ok(batch(step))),
        };
        let mut batches = ahead(Box::new(make), 0..9, 1);
        assert!(batches.next().unwrap().is_ok() && batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("the batch of step 3") && error.contains("-1 pixels"), "{error}");
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_batch_that_fails_is_the_last() {
        let make = |step| match step {
            2 => Some(Err(Error::format("a.png", "broken", ""))),
            step => Some(Ok(batch(step))),
        };
        let found: Vec<_> = ahead(Box::new(make), 0..9, 1).map(|batch| batch.is_ok()).collect();
        assert_eq!(found, [true, true, false]);
    }
}

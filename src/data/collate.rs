//! Samples → [`HostBatch`], on several threads: rows are chosen (`choice`), images and texts encoded
//! (`encode`), and all of them stacked (`stack`).

mod choice;
mod encode;
mod stack;

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use self::choice::RowChoice;
use self::choice::choices;
use self::encode::Item;
use super::alignment::Alignment;
use super::batch::HostBatch;
use super::feature_cache::FeatureCache;
use super::source::Source;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// What samples become batches with.
#[derive(Debug, Clone)]
pub struct Collator {
    /// Texts to ids.
    pub tokenizer: Tokenizer,
    /// How words find their places.
    pub alignment: Alignment,
    /// Side of the canvas, in pixels.
    pub canvas_px: usize,
    /// Points that a trace is told by; 0 tells it by its box.
    pub trace_points: usize,
    /// Features to take instead of pixels, where there are any.
    pub features: Option<Arc<FeatureCache>>,
    /// Threads that samples are read on; the caller's own without.
    workers: Option<Arc<ThreadPool>>,
}

/// A sample of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// Where it is from.
    pub source: &'a Source,
    /// Its place there.
    pub sample: usize,
}

impl Collator {
    /// Reads samples on the thread that asks for a batch, and tells traces by their boxes.
    pub fn new(tokenizer: Tokenizer, alignment: Alignment, canvas_px: usize) -> Self {
        Self { tokenizer, alignment, canvas_px, trace_points: 0, features: None, workers: None }
    }

    /// The same with `count` threads that read samples; one per core where that is `None`.
    ///
    /// # Errors
    /// [`Error::Compute`] where they cannot be started.
    pub fn with_workers(self, count: Option<usize>) -> Result<Self> {
        let builder = ThreadPoolBuilder::new().thread_name(|index| format!("data-{index}"));
        let pool = builder.num_threads(count.unwrap_or(0)).build();
        let workers = Some(Arc::new(pool.map_err(|error| Error::Compute {
            problem: format!("cannot start the threads that read data: {error}"),
            help: "Set data.workers to a smaller number.".into(),
        })?));
        Ok(Self { workers, ..self })
    }

    /// Makes a batch of the samples of `source` at `indices`.
    ///
    /// # Errors
    /// As [`Self::collate_mixed`].
    pub fn collate(
        &self,
        source: &Source,
        indices: &[usize],
        choice: RowChoice<'_>,
    ) -> Result<HostBatch> {
        let picks: Vec<_> = indices.iter().map(|&sample| Pick { source, sample }).collect();
        self.collate_mixed(&picks, choice)
    }

    /// Makes a batch of samples of one task, in their order.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where an image or a text cannot be read, for the first such
    /// sample; [`Error::Compute`] without a sample.
    pub fn collate_mixed(&self, picks: &[Pick<'_>], choice: RowChoice<'_>) -> Result<HostBatch> {
        if picks.is_empty() {
            return Err(Error::Compute {
                problem: "a batch of no images was asked for".into(),
                help: "Set training.batch_size to at least 1.".into(),
            });
        }
        let (choices, seed) = choices(picks, choice);
        let make = || {
            let items: Vec<Result<Item>> = picks
                .par_iter()
                .zip(choices)
                .map(|(pick, choice)| self.item(pick, choice))
                .collect();
            let items = items.into_iter().collect::<Result<Vec<Item>>>()?;
            Ok(HostBatch { seed, ..self.stack(picks, &items) })
        };
        match &self.workers {
            Some(workers) => workers.install(make),
            None => make(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

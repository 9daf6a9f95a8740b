//! [`Samples`]: the samples of a source, in memory or in their file.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::formats::NarrativeIndex;
use super::sample::{ImageFile, Row, Sample};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// The samples of a source, counted from 0. Reading one costs the same wherever it stands.
#[derive(Debug, Clone)]
pub enum Samples {
    /// In memory.
    Loaded(Vec<Sample>),
    /// Narratives, which stay in their file until they are asked for.
    Narratives(Arc<NarrativeIndex>),
}

impl From<Vec<Sample>> for Samples {
    fn from(samples: Vec<Sample>) -> Self {
        Self::Loaded(samples)
    }
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Loaded(samples) => samples.len(),
            Self::Narratives(index) => index.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows a sample has; 0 past the last.
    pub fn num_rows(&self, sample: usize) -> usize {
        match self {
            Self::Loaded(samples) => samples.get(sample).map_or(0, |sample| sample.rows.len()),
            Self::Narratives(index) => index.num_rows(sample),
        }
    }

    /// Where the image of a sample is.
    pub fn image(&self, sample: usize) -> Cow<'_, ImageFile> {
        match self {
            Self::Loaded(samples) => {
                let image = samples.get(sample).map(|sample| Cow::Borrowed(&sample.image));
                image.unwrap_or_else(|| Cow::Owned(ImageFile::from(Path::new(""))))
            }
            Self::Narratives(index) => Cow::Owned(index.image(sample).into()),
        }
    }

    /// The region of a row, normalised to the image; `None` where it is about the whole image.
    pub fn region(&self, sample: usize, row: usize) -> Option<BoundingBox> {
        match self {
            Self::Loaded(samples) => samples.get(sample)?.rows.get(row)?.region,
            Self::Narratives(_) => None,
        }
    }

    /// A row of a sample.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where its file cannot be read any more; [`Error::Compute`] where
    /// there is no such row.
    pub fn row(&self, sample: usize, row: usize) -> Result<Cow<'_, Row>> {
        match self {
            Self::Loaded(samples) => {
                let row = samples.get(sample).and_then(|sample| sample.rows.get(row));
                row.map(Cow::Borrowed).ok_or_else(none)
            }
            Self::Narratives(index) => index.row(sample, row).map(Cow::Owned),
        }
    }

    /// A sample with all its rows.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub fn get(&self, sample: usize) -> Result<Cow<'_, Sample>> {
        match self {
            Self::Loaded(samples) => samples.get(sample).map(Cow::Borrowed).ok_or_else(none),
            Self::Narratives(index) => index.sample(sample).map(Cow::Owned),
        }
    }

    /// Those that are in memory.
    #[cfg(test)]
    pub(crate) fn loaded_mut(&mut self) -> &mut [Sample] {
        match self {
            Self::Loaded(samples) => samples,
            Self::Narratives(_) => &mut [],
        }
    }

    /// All of them, one after the other.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub fn iter(&self) -> impl Iterator<Item = Result<Cow<'_, Sample>>> {
        (0..self.len()).map(|sample| self.get(sample))
    }
}

fn none() -> Error {
    Error::Compute {
        problem: "a sample was asked for that a source does not have".into(),
        help: "Report this as a bug.".into(),
    }
}

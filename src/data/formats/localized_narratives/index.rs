//! [`NarrativeIndex`]: where each narrative stands in its file. Files of narratives are read through
//! once, on all cores, and every line is checked ([`builder`]); what stays in memory is where the good
//! ones are. A narrative is read again when it is asked for, with one seek.

mod builder;

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use self::builder::Builder;
use super::super::skipped::Skipped;
use super::super::{Request, shards};
use super::{Narrative, file_names, parse};
use crate::data::read_at::read_exact_at;
use crate::data::sample::{Row, Sample, Task};
use crate::error::{Error, Result};

/// Stands for an image that is in a folder below that of the images.
const BELOW: u8 = u8::MAX;

/// A file of narratives: a shard, or all there is.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    /// Bytes of the shards before it. Places are counted through all of them.
    begin: u64,
}

/// An index, what was left out of it, and how many lines there were.
pub(in super::super) struct Indexed {
    pub(in super::super) index: NarrativeIndex,
    pub(in super::super) skipped: Skipped,
    pub(in super::super) num_records: usize,
}

/// The narratives of a file, by image, in the order of the file.
#[derive(Debug)]
pub struct NarrativeIndex {
    /// What the narratives are read for. Those that have nothing for it are not in the index.
    task: Task,
    /// At least one.
    shards: Vec<Shard>,
    /// Points of the trace that are kept of each utterance.
    trace_points: usize,
    images: PathBuf,
    /// Where images are that are in a folder below that.
    below: HashMap<u32, PathBuf>,
    /// The dataset's names of the images, one after the other.
    ids: String,
    /// Where each image's name ends, and which of its [`file_names`] is there, or [`BELOW`].
    entries: Vec<(u32, u8)>,
    /// Where the narratives of each image begin in `lines`; one more than images.
    starts: Vec<u32>,
    /// Offset and length in bytes of each narrative, by image.
    lines: Vec<(u64, u32)>,
}

impl NarrativeIndex {
    /// Reads through the narratives of the images in the folder `request.images`; none may be left.
    /// Those that have no row for `task` are left out.
    pub(in super::super) fn open(task: Task, request: &Request<'_>) -> Result<Indexed> {
        let mut builder = Builder::new(task, request)?;
        for path in shards::files(request.annotations)? {
            builder.read(path)?;
        }
        Ok(builder.finish())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of narratives of an image; 0 past the last.
    pub fn num_rows(&self, image: usize) -> usize {
        let start = |at: usize| self.starts.get(at).map_or(self.lines.len(), |s| *s as usize);
        start(image + 1) - start(image)
    }

    /// Where the image is.
    pub fn image(&self, image: usize) -> PathBuf {
        let (id, name) = self.entry(image);
        let below = u32::try_from(image).ok().and_then(|image| self.below.get(&image));
        if let Some(path) = below {
            return path.clone();
        }
        let names = file_names(id);
        self.images.join(names.get(name).or(names.first()).map_or(id, String::as_str))
    }

    /// The dataset's name for an image.
    pub fn image_id(&self, image: usize) -> &str {
        self.entry(image).0
    }

    fn entry(&self, image: usize) -> (&str, usize) {
        let end = |at: usize| self.entries.get(at).map_or(0, |(end, _)| *end as usize);
        let begin = image.checked_sub(1).map_or(0, end);
        let name = self.entries.get(image).map_or(0, |(_, name)| usize::from(*name));
        (self.ids.get(begin..end(image)).unwrap_or_default(), name)
    }

    /// Reads narrative `row` of an image, whole.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no longer what it was.
    pub fn row(&self, image: usize, row: usize) -> Result<Row> {
        Ok(self.narrative(image, row)?.row())
    }

    fn narrative(&self, image: usize, row: usize) -> Result<Narrative> {
        let none = || Error::Compute {
            problem: "a narrative was asked for that is not in the index".into(),
            help: "Report this as a bug.".into(),
        };
        let start = *self.starts.get(image).ok_or_else(none)? as usize;
        let (offset, length) = *self.lines.get(start + row).ok_or_else(none)?;
        let shard = self.shards.iter().rfind(|shard| shard.begin <= offset).ok_or_else(none)?;
        let changed = || {
            let problem = "has changed while it was in use";
            Error::format(&shard.path, problem, "Leave data alone until the command has ended.")
        };
        let mut bytes = vec![0; length as usize];
        read_exact_at(&shard.file, &mut bytes, offset - shard.begin)
            .map_err(Error::io("read", &shard.path))?;
        let narrative = parse(&bytes, self.trace_points).map_err(|_| changed())?;
        match narrative.image_id.to_string() == self.image_id(image) {
            true => Ok(narrative),
            false => Err(changed()),
        }
    }

    /// Reads an image with all its narratives.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub fn sample(&self, image: usize) -> Result<Sample> {
        let mut rows = Vec::new();
        for row in 0..self.num_rows(image) {
            rows.extend(self.narrative(image, row)?.rows(self.task));
        }
        Ok(Sample {
            image: self.image(image).into(),
            image_id: self.image_id(image).to_string(),
            task: self.task,
            rows,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

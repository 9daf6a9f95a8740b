//! [`NarrativeIndex`]: where each narrative stands in its file. Files of narratives are read through
//! once, on all cores, and every line is checked; what stays in memory is where the good ones are.
//! A narrative is read again when it is asked for, with one seek.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::image_folder::ImageFolder;
use super::super::record::Id;
use super::super::skipped::{Fault, Place, Reason, Skipped};
use super::super::{Request, shards};
use super::{Narrative, file_names, parse};
use crate::data::read_at::read_exact_at;
use crate::data::sample::{Row, Sample, Task};
use crate::error::{Error, Result};

/// Bytes of the file that a thread reads at a time. A line belongs to the block that it begins in.
const BLOCK_BYTES: u64 = 4 << 20;
/// Blocks per thread that are read before what was found in them is gathered.
const BLOCKS_PER_THREAD: usize = 4;
/// Bytes that are read at a time beyond a block, for the rest of its last line.
const OVERHANG_BYTES: u64 = 64 << 10;

/// What UTF-8 of Windows may begin with, and JSON does not know.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
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

/// A line of a block that is not blank.
struct Scanned {
    /// From 0 at the beginning of the block.
    line: usize,
    place: (u64, u32),
    /// What the line is about, where it says so.
    id: Option<Id>,
    found: Result<Key, Fault>,
}

/// What is kept of a narrative.
struct Key {
    image_id: String,
    /// Of the image, the annotator and the caption. (Several people narrate an image, and one may do so
    /// again; in the same words it is a copy of the line.)
    identity: u128,
    /// What is wrong with it nonetheless.
    notes: Vec<Fault>,
}

/// The lines of a block.
struct Block {
    scanned: Vec<Scanned>,
    /// Blank ones included.
    num_lines: usize,
}

impl NarrativeIndex {
    /// Reads through the narratives of the images in the folder `request.images`; none may be left.
    /// Those that have no row for `task` are left out.
    pub(in super::super) fn open(task: Task, request: &Request<'_>) -> Result<Indexed> {
        let mut gathered = Gathered::new(task, request, ImageFolder::open(request.images)?);
        let (mut shards, mut begin) = (Vec::new(), 0);
        for path in shards::files(request.annotations)? {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let length = file.metadata().map_err(Error::io("read", &path))?.len();
            gathered.read(&path, &file, begin, length)?;
            shards.push(Shard { path, file, begin });
            begin += length;
        }
        let Gathered { ids, entries, below, lines, skipped, num_records, .. } = gathered;
        let (starts, lines) = by_image(entries.len(), &lines);
        let (trace_points, images) = (request.trace_points, request.images.to_path_buf());
        let index = Self { shards, trace_points, images, below, ids, entries, starts, lines };
        Ok(Indexed { index, skipped, num_records })
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

    /// Reads narrative `row` of an image.
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
        match parse(&bytes, self.trace_points).1 {
            Ok(narrative) if narrative.image_id.to_string() == self.image_id(image) => {
                Ok(narrative)
            }
            _ => Err(changed()),
        }
    }

    /// Reads an image with all its narratives.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub fn sample(&self, image: usize) -> Result<Sample> {
        self.sample_for(Task::Narrate, image)
    }

    /// The same for a task that the index was opened for.
    pub(super) fn sample_for(&self, task: Task, image: usize) -> Result<Sample> {
        let mut rows = Vec::new();
        for row in 0..self.num_rows(image) {
            rows.extend(self.narrative(image, row)?.rows(task));
        }
        Ok(Sample {
            image: self.image(image).into(),
            image_id: self.image_id(image).to_string(),
            task,
            rows,
        })
    }
}

/// Reads the block that begins at `begin` and checks the lines that begin in it.
fn scan(task: Task, path: &Path, file: &File, begin: u64, length: u64) -> Result<Block> {
    let end = (begin + BLOCK_BYTES).min(length);
    // One byte before the block says whether a line begins at its first.
    let from = begin.saturating_sub(1);
    let mut bytes = vec![0; (end - from) as usize];
    read_exact_at(file, &mut bytes, from).map_err(Error::io("read", path))?;
    let mut last = end;
    while bytes.last() != Some(&b'\n') && last < length {
        let more = OVERHANG_BYTES.min(length - last);
        let at = bytes.len();
        bytes.resize(at + more as usize, 0);
        read_exact_at(file, &mut bytes[at..], last).map_err(Error::io("read", path))?;
        last += more;
        if let Some(newline) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            bytes.truncate(at + newline + 1);
            break;
        }
    }
    let mut at = match begin {
        0 if bytes.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
        0 => 0,
        _ => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1),
    };
    let mut block = Block { scanned: Vec::new(), num_lines: 0 };
    while from + (at as u64) < end && at < bytes.len() {
        let rest = &bytes[at..];
        let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest, |end| &rest[..end]);
        if !line.trim_ascii().is_empty() {
            let length = u32::try_from(line.len()).map_err(|_| too_long(path))?;
            let place = (from + at as u64, length);
            let (id, found) = key(task, line);
            block.scanned.push(Scanned { line: block.num_lines, place, id, found });
        }
        block.num_lines += 1;
        at += line.len() + 1;
    }
    Ok(block)
}

fn too_long(path: &Path) -> Error {
    Error::format(path, "a line has more than 4 GiB", "Give a JSON object on each line.")
}

fn key(task: Task, line: &[u8]) -> (Option<Id>, Result<Key, Fault>) {
    let (id, narrative) = parse(line, 0);
    (id, narrative.and_then(|narrative| key_of(task, narrative)))
}

fn key_of(task: Task, mut narrative: Narrative) -> Result<Key, Fault> {
    let notes = std::mem::take(&mut narrative.notes);
    let Narrative { image_id, annotator_id, caption, .. } = &narrative;
    let image_id = image_id.to_string();
    let mut identity = Xxh3::new();
    let annotator_id = annotator_id.as_ref().map(Id::to_string).unwrap_or_default();
    for part in [&image_id, &annotator_id, caption] {
        identity.update(&(part.len() as u64).to_le_bytes());
        identity.update(part.as_bytes());
    }
    if narrative.rows(task).is_empty() {
        return Err(Fault::new(Reason::NoUtterance, "no utterance stands in the caption"));
    }
    Ok(Key { image_id, identity: identity.digest128(), notes })
}

/// Narratives in the order of the file → where those of each image begin, and all of them by image.
fn by_image(num_images: usize, lines: &[(u32, (u64, u32))]) -> (Vec<u32>, Vec<(u64, u32)>) {
    let mut starts = vec![0u32; num_images + 1];
    for (image, _) in lines {
        starts[*image as usize + 1] += 1;
    }
    for image in 0..num_images {
        starts[image + 1] += starts[image];
    }
    let mut next = starts.clone();
    let mut sorted = vec![(0, 0); lines.len()];
    for (image, place) in lines {
        let next = &mut next[*image as usize];
        sorted[*next as usize] = *place;
        *next += 1;
    }
    (starts, sorted)
}

/// What was found so far.
struct Gathered {
    task: Task,
    folder: ImageFolder,
    ids: String,
    entries: Vec<(u32, u8)>,
    below: HashMap<u32, PathBuf>,
    /// Image and place of the narratives, in the order of the file.
    lines: Vec<(u32, (u64, u32))>,
    /// Where each image is, by the hash of its name.
    image_of: HashMap<u128, u32>,
    /// Identities of the narratives.
    seen: HashSet<u128>,
    skipped: Skipped,
    /// Lines that are not blank, usable or not.
    num_records: usize,
}

impl Gathered {
    fn new(task: Task, request: &Request<'_>, folder: ImageFolder) -> Self {
        Self {
            task,
            folder,
            ids: String::new(),
            entries: Vec::new(),
            below: HashMap::new(),
            lines: Vec::new(),
            image_of: HashMap::new(),
            seen: HashSet::new(),
            skipped: Skipped::keeping(request.examples),
            num_records: 0,
        }
    }

    /// Reads a file of `length` bytes; `begin`: bytes of the files before it.
    fn read(&mut self, path: &Path, file: &File, begin: u64, length: u64) -> Result<()> {
        let blocks: Vec<u64> = (0..length.div_ceil(BLOCK_BYTES)).map(|i| i * BLOCK_BYTES).collect();
        let mut num_lines = 0;
        for wave in blocks.chunks(rayon::current_num_threads().max(1) * BLOCKS_PER_THREAD) {
            let scanned: Vec<_> =
                wave.par_iter().map(|block| scan(self.task, path, file, *block, length)).collect();
            for block in scanned {
                let block = block?;
                let lines = block.num_lines;
                self.add(path, block, begin, num_lines)?;
                num_lines += lines;
            }
        }
        Ok(())
    }

    /// `num_lines`: lines of the file before the block.
    fn add(&mut self, path: &Path, block: Block, begin: u64, num_lines: usize) -> Result<()> {
        for Scanned { line, place: (offset, length), id, found } in block.scanned {
            self.num_records += 1;
            if self.lines.len() >= u32::MAX as usize {
                let help = "Split the file into several sources.";
                return Err(Error::format(path, "has over 4 billion lines", help));
            }
            // Lines are counted from 1.
            let place = Place::Line { path, line: num_lines + line + 1, id: id.as_ref() };
            let added = found.and_then(|key| {
                self.add_narrative(&key, (begin + offset, length)).map(|()| key.notes)
            });
            match added {
                Ok(notes) => notes.into_iter().for_each(|note| self.skipped.note(place, note)),
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        Ok(())
    }

    fn add_narrative(&mut self, key: &Key, place: (u64, u32)) -> Result<(), Fault> {
        let image_id = &key.image_id;
        if self.seen.contains(&key.identity) {
            let message = format!("the narrative of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        let hash = xxh3_128(image_id.as_bytes());
        let image = match self.image_of.get(&hash) {
            Some(image) => *image,
            None => {
                let names = file_names(image_id);
                let image = self.entries.len() as u32;
                let name = match self.folder.find_index(&names) {
                    Ok(name) => name as u8,
                    Err(_) => {
                        self.below.insert(image, self.folder.find_below(&names)?);
                        BELOW
                    }
                };
                self.ids.push_str(image_id);
                let end = u32::try_from(self.ids.len());
                let end = end.map_err(|_| Fault::new(Reason::BrokenRecord, "too many images"))?;
                self.entries.push((end, name));
                self.image_of.insert(hash, image);
                image
            }
        };
        self.lines.push((image, place));
        self.seen.insert(key.identity);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

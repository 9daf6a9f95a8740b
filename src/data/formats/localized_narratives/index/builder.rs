//! Files of narratives → [`NarrativeIndex`].

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::{Refused, file_names, parse};
use super::{BELOW, Indexed, NarrativeIndex, Shard};
use crate::data::formats::Request;
use crate::data::formats::image_folder::ImageFolder;
use crate::data::formats::record::{BYTE_ORDER_MARK, Id};
use crate::data::formats::skipped::{Fault, Place, Reason, Skipped};
use crate::data::read_at::read_exact_at;
use crate::data::sample::Task;
use crate::error::{Error, Result};

/// Bytes of the file that a thread reads at a time. A line belongs to the block that it begins in.
pub(super) const BLOCK_BYTES: u64 = 4 << 20;
/// Blocks per thread that are read before what was found in them is gathered.
const BLOCKS_PER_THREAD: usize = 4;
/// Bytes that are read at a time beyond a block, for the rest of its last line.
const OVERHANG_BYTES: u64 = 64 << 10;

/// A line of a block that is not blank.
struct Scanned {
    /// From 0 at the beginning of the block.
    line: usize,
    place: (u64, u32),
    found: Result<Key, Refused>,
}

/// What is kept of a narrative.
struct Key {
    image_id: Id,
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
            let found = key(task, line);
            block.scanned.push(Scanned { line: block.num_lines, place, found });
        }
        block.num_lines += 1;
        at += line.len() + 1;
    }
    Ok(block)
}

fn too_long(path: &Path) -> Error {
    Error::format(path, "a line has more than 4 GiB", "Give a JSON object on each line.")
}

fn key(task: Task, line: &[u8]) -> Result<Key, Refused> {
    let mut narrative = parse(line, 0)?;
    let notes = std::mem::take(&mut narrative.notes);
    let image_id = narrative.image_id.clone();
    let mut identity = Xxh3::new();
    let annotator_id = narrative.annotator_id.as_ref().map(Id::to_string).unwrap_or_default();
    for part in [&image_id.to_string(), &annotator_id, &narrative.caption] {
        identity.update(&(part.len() as u64).to_le_bytes());
        identity.update(part.as_bytes());
    }
    if narrative.rows(task).is_empty() {
        let fault = Fault::new(Reason::NoUtterance, "no utterance stands in the caption");
        return Err(Refused { image_id: Some(image_id), fault });
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
pub(super) struct Builder {
    /// Without its narratives, which are put in order at the end.
    index: NarrativeIndex,
    folder: ImageFolder,
    /// Image and place of the narratives, in the order of the file.
    lines: Vec<(u32, (u64, u32))>,
    /// Where each image is, by the hash of its name.
    image_of: HashMap<u128, u32>,
    /// Identities of the narratives.
    seen: HashSet<u128>,
    skipped: Skipped,
    /// Lines that are not blank, usable or not.
    num_records: usize,
    /// Of the files so far.
    num_bytes: u64,
}

impl Builder {
    pub(super) fn new(task: Task, request: &Request<'_>) -> Result<Self> {
        let folder = ImageFolder::open(request.images)?;
        let index = NarrativeIndex {
            task,
            shards: Vec::new(),
            trace_points: request.trace_points,
            images: request.images.to_path_buf(),
            below: HashMap::new(),
            ids: String::new(),
            entries: Vec::new(),
            starts: Vec::new(),
            lines: Vec::new(),
        };
        Ok(Self {
            index,
            folder,
            lines: Vec::new(),
            image_of: HashMap::new(),
            seen: HashSet::new(),
            skipped: Skipped::keeping(request.examples),
            num_records: 0,
            num_bytes: 0,
        })
    }

    /// Reads a file through.
    pub(super) fn read(&mut self, path: PathBuf) -> Result<()> {
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let task = self.index.task;
        let blocks: Vec<u64> = (0..length.div_ceil(BLOCK_BYTES)).map(|i| i * BLOCK_BYTES).collect();
        let mut num_lines = 0;
        for wave in blocks.chunks(rayon::current_num_threads().max(1) * BLOCKS_PER_THREAD) {
            let scanned: Vec<_> =
                wave.par_iter().map(|block| scan(task, &path, &file, *block, length)).collect();
            for block in scanned {
                let block = block?;
                let lines = block.num_lines;
                self.add(&path, block, num_lines)?;
                num_lines += lines;
            }
        }
        self.index.shards.push(Shard { path, file, begin: self.num_bytes });
        self.num_bytes += length;
        Ok(())
    }

    /// `num_lines`: lines of the file before the block.
    fn add(&mut self, path: &Path, block: Block, num_lines: usize) -> Result<()> {
        for Scanned { line, place: (offset, length), found } in block.scanned {
            self.num_records += 1;
            if self.lines.len() >= u32::MAX as usize {
                let help = "Split the file into several sources.";
                return Err(Error::format(path, "has over 4 billion lines", help));
            }
            // Lines are counted from 1.
            let line = num_lines + line + 1;
            let key = match found {
                Ok(key) => key,
                Err(Refused { image_id, fault }) => {
                    self.skipped.add(Place::Line { path, line, id: image_id.as_ref() }, fault);
                    continue;
                }
            };
            let place = Place::Line { path, line, id: Some(&key.image_id) };
            match self.add_narrative(&key, (self.num_bytes + offset, length)) {
                Ok(()) => key.notes.into_iter().for_each(|note| self.skipped.note(place, note)),
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        Ok(())
    }

    fn add_narrative(&mut self, key: &Key, place: (u64, u32)) -> Result<(), Fault> {
        let image_id = key.image_id.to_string();
        if self.seen.contains(&key.identity) {
            let message = format!("the narrative of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        let hash = xxh3_128(image_id.as_bytes());
        let image = match self.image_of.get(&hash) {
            Some(image) => *image,
            None => {
                let image = self.add_image(&image_id)?;
                self.image_of.insert(hash, image);
                image
            }
        };
        self.lines.push((image, place));
        self.seen.insert(key.identity);
        Ok(())
    }

    fn add_image(&mut self, image_id: &str) -> Result<u32, Fault> {
        let index = &mut self.index;
        let image = index.entries.len() as u32;
        let names = file_names(image_id);
        let name = match self.folder.find_index(&names) {
            Ok(name) => name as u8,
            Err(_) => {
                index.below.insert(image, self.folder.find_below(&names)?);
                BELOW
            }
        };
        index.ids.push_str(image_id);
        let end = u32::try_from(index.ids.len());
        let end = end.map_err(|_| Fault::new(Reason::BrokenRecord, "too many images"))?;
        index.entries.push((end, name));
        Ok(image)
    }

    pub(super) fn finish(self) -> Indexed {
        let Self { index, lines, skipped, num_records, .. } = self;
        let (starts, lines) = by_image(index.entries.len(), &lines);
        Indexed { index: NarrativeIndex { starts, lines, ..index }, skipped, num_records }
    }
}

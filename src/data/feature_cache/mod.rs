//! [`FeatureCache`]: what frozen image encoders make of images, kept on disk.
//!
//! A cache is a folder per state of the encoders, named by the hash of everything that features depend
//! on but the image; an image is known by the hash of its file's bytes. So nothing in a cache can be
//! stale: where weights, settings or files change, so do the names. Features are in segments, files that
//! are written beside their place, and moved there when they are whole.

mod segment;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

pub use self::segment::{FeatureShape, SegmentWriter};
use self::segment::{SEGMENT, Segment};
use super::image_file::{DecodeConfig, ImageOrientation};
use super::sample::ImageFile;
use crate::error::{Error, Result};

/// Bytes that are read at a time while hashing.
const CHUNK_BYTES: usize = 1 << 16;

/// An image as a cache knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageUse {
    /// Its file.
    pub file: ImageFile,
    /// Which way up it is read.
    pub orientation: ImageOrientation,
}

/// A hash of the bytes of an image file and of which way up it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content(u128);

impl ImageUse {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn content(&self) -> Result<Content> {
        let read = || -> io::Result<u128> {
            let mut file = self.file.open()?;
            let mut hash = Xxh3::new();
            hash.update(&[u8::from(self.orientation == ImageOrientation::Stored)]);
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok(hash.digest128()),
                    count => hash.update(&chunk[..count]),
                }
            }
        };
        read().map(Content).map_err(Error::io("read", &self.file.path))
    }
}

/// Features on disk, mapped into memory.
#[derive(Debug)]
pub struct FeatureCache {
    folder: PathBuf,
    segments: Vec<Arc<Segment>>,
    /// Segment and record of each image.
    records: HashMap<Content, (usize, usize)>,
    /// What was in the files when the cache was opened.
    contents: HashMap<ImageUse, Content>,
}

/// The features of one image.
#[derive(Debug, Clone)]
pub struct CachedFeatures {
    segment: Arc<Segment>,
    record: usize,
}

impl FeatureCache {
    /// Opens the cache in `folder`, which is made where it is not there.
    ///
    /// Segments that are not whole are left out: nobody moves one to its place before it is.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut paths: Vec<_> = fs::read_dir(folder)
            .map_err(Error::io("read", folder))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == SEGMENT))
            .collect();
        paths.sort_unstable();
        let mut cache = Self {
            folder: folder.to_path_buf(),
            segments: Vec::new(),
            records: HashMap::new(),
            contents: HashMap::new(),
        };
        for path in paths {
            match Segment::open(&path) {
                Ok(segment) => cache.add(segment),
                Err(error) => tracing::warn!("{error}: its features are made again"),
            }
        }
        Ok(cache)
    }

    fn add(&mut self, segment: Segment) {
        let index = self.segments.len();
        for (record, content) in segment.contents().enumerate() {
            self.records.entry(Content(content)).or_insert((index, record));
        }
        self.segments.push(Arc::new(segment));
    }

    /// Looks into the files of `images` again, and says which have no features yet: one of each content,
    /// in their order.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read.
    pub fn missing(&mut self, images: &[ImageUse]) -> Result<Vec<(ImageUse, Content)>> {
        let contents: Vec<Result<Content>> = images.par_iter().map(ImageUse::content).collect();
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for (image, content) in images.iter().zip(contents) {
            let content = content?;
            self.contents.insert(image.clone(), content);
            if !self.records.contains_key(&content) && seen.insert(content) {
                missing.push((image.clone(), content));
            }
        }
        Ok(missing)
    }

    /// Begins a new segment.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be created.
    pub fn begin_segment(&self, shape: FeatureShape) -> Result<SegmentWriter> {
        SegmentWriter::create(&self.folder, shape)
    }

    /// Puts a whole segment in its place.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn commit(&mut self, segment: SegmentWriter) -> Result<()> {
        let path = segment.finish()?;
        self.add(Segment::open(&path)?);
        Ok(())
    }

    /// The features of an image that was asked for with [`Self::missing`].
    ///
    /// # Errors
    /// [`Error::Format`] where there are none, or they are damaged.
    pub fn get(&self, file: &ImageFile, decoding: DecodeConfig) -> Result<CachedFeatures> {
        let image = ImageUse { file: file.clone(), orientation: decoding.orientation };
        let found = self.contents.get(&image).and_then(|content| self.records.get(content));
        let none = || {
            let problem = format!("has no features of {file}");
            Error::format(&self.folder, problem, "Begin again: they are made at the start.")
        };
        let (segment, record) = *found.ok_or_else(none)?;
        let segment = self.segments.get(segment).ok_or_else(none)?;
        segment.check(record)?;
        Ok(CachedFeatures { segment: segment.clone(), record })
    }
}

impl CachedFeatures {
    /// Un-padded width and height of the image in pixels of the canvas.
    pub fn size(&self) -> (u32, u32) {
        self.segment.size(self.record)
    }

    /// What shape they have.
    pub fn shape(&self) -> &FeatureShape {
        self.segment.shape()
    }

    /// The fused map, `[D, H, W]`, then SAM's where the shape has one.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        let (floats, _) = self.segment.bytes(self.record).as_chunks::<4>();
        floats.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }
}

/// Keeps other processes from making the same features at the same time; given back when it is dropped,
/// or its process ends.
#[derive(Debug)]
pub struct CacheLock(#[allow(dead_code, reason = "held, not used")] Option<File>);

impl CacheLock {
    /// Waits for the lock of the cache in `folder`; `waiting` is called before, where another process has
    /// it. Where the file system knows no locks, features may be made twice, and nothing worse.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be written to.
    pub fn wait(folder: &Path, waiting: impl FnOnce()) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join("lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let taken = match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                waiting();
                file.lock()
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        match taken {
            Ok(()) => Ok(Self(Some(file))),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Self(None)),
            Err(error) => Err(Error::io("lock", path)(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

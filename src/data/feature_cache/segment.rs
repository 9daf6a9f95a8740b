//! A file of features: the values of every image, then which images they are of, then what to expect.
//!
//! | part | bytes |
//! |---|---|
//! | magic | 8 |
//! | values of each image, little-endian 32-bit floats | images · 4 · values |
//! | per image: content 16, width 4, height 4, checksum of its values 8 | images · 32 |
//! | fused `[D, H, W]`, SAM `[D, H, W]` or zeros, images | 7 · 8 |
//! | checksum of the two parts above | 8 |

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use memmap2::Mmap;
use xxhash_rust::xxh3::xxh3_64;

use super::Content;
use crate::error::{Error, Result};

/// What the names of segments end with.
pub(super) const SEGMENT: &str = "features";
const MAGIC: &[u8; 8] = b"pxlfeat1";
/// Bytes of the index per image.
const ENTRY_BYTES: usize = 32;
/// Bytes after the index: seven numbers and the checksum.
const FOOTER_BYTES: usize = 64;

const HELP: &str = "Delete the file; features are made again where they are missing.";

/// What there is of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureShape {
    /// The fused map: channels, height and width, `[D, H, W]`.
    pub fused: [usize; 3],
    /// SAM's own map, likewise; `None` where only the fused one is kept.
    pub sam: Option<[usize; 3]>,
}

impl FeatureShape {
    /// Values of an image.
    pub fn num_values(&self) -> usize {
        self.num_fused() + self.sam.map_or(0, |sam| sam.iter().product())
    }

    /// Values of the fused map.
    pub fn num_fused(&self) -> usize {
        self.fused.iter().product()
    }

    /// Bytes of an image on disk.
    pub fn num_bytes(&self) -> u64 {
        4 * self.num_values() as u64 + ENTRY_BYTES as u64
    }

    fn to_numbers(self) -> [u64; 6] {
        let [d, h, w] = self.fused;
        let [e, i, j] = self.sam.unwrap_or_default();
        [d, h, w, e, i, j].map(|number| number as u64)
    }

    fn from_numbers([d, h, w, e, i, j]: [usize; 6]) -> Self {
        let sam = [e, i, j];
        Self { fused: [d, h, w], sam: (sam != [0; 3]).then_some(sam) }
    }
}

/// A whole segment, mapped into memory.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    bytes: Mmap,
    shape: FeatureShape,
    num_images: usize,
}

impl Segment {
    /// Maps the file at `path`, and checks everything but the values.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is not a whole segment.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let bytes = map(&file).map_err(Error::io("map", path))?;
        Self::parse(path, bytes)
            .ok_or_else(|| Error::format(path, "is not a whole file of features", HELP))
    }

    fn parse(path: &Path, bytes: Mmap) -> Option<Self> {
        let footer_at = bytes.len().checked_sub(FOOTER_BYTES)?;
        let (numbers, _) = bytes.get(footer_at..)?.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let sizes: Vec<usize> =
            numbers[..7].iter().map(|n| usize::try_from(*n)).collect::<Result<_, _>>().ok()?;
        let shape = FeatureShape::from_numbers(sizes[..6].try_into().ok()?);
        let num_images = sizes[6];
        let product = |sizes: [usize; 3]| {
            sizes.into_iter().try_fold(4usize, |product, size| product.checked_mul(size))
        };
        let record = product(shape.fused)?.checked_add(product(shape.sam.unwrap_or_default())?)?;
        let index_at = num_images.checked_mul(record)?.checked_add(MAGIC.len())?;
        let length = num_images.checked_mul(ENTRY_BYTES)?.checked_add(index_at)?;
        let is_whole = length == footer_at
            && bytes.starts_with(MAGIC)
            && xxh3_64(&bytes[index_at..footer_at + 56]) == numbers[7];
        is_whole.then(|| Self { path: path.to_path_buf(), bytes, shape, num_images })
    }

    pub(super) fn shape(&self) -> &FeatureShape {
        &self.shape
    }

    /// The contents of its images.
    pub(super) fn contents(&self) -> impl Iterator<Item = u128> + '_ {
        (0..self.num_images).map(|record| u128::from_le_bytes(self.entry(record, 0)))
    }

    /// Un-padded width and height of an image.
    pub(super) fn size(&self, record: usize) -> (u32, u32) {
        let number = |at| u32::from_le_bytes(self.entry(record, at));
        (number(16), number(20))
    }

    /// The values of an image.
    pub(super) fn bytes(&self, record: usize) -> &[u8] {
        let length = 4 * self.shape.num_values();
        let begin = MAGIC.len() + record * length;
        self.bytes.get(begin..begin + length).unwrap_or_default()
    }

    /// Checks the values of an image.
    ///
    /// # Errors
    /// [`Error::Format`] where they are not those that were written.
    pub(super) fn check(&self, record: usize) -> Result<()> {
        match xxh3_64(self.bytes(record)) == u64::from_le_bytes(self.entry(record, 24)) {
            true => Ok(()),
            false => Err(Error::format(&self.path, "holds damaged features", HELP)),
        }
    }

    fn entry<const N: usize>(&self, record: usize, at: usize) -> [u8; N] {
        let index = MAGIC.len() + self.num_images * 4 * self.shape.num_values();
        let begin = index + record * ENTRY_BYTES + at;
        let bytes = self.bytes.get(begin..begin + N).and_then(|bytes| bytes.try_into().ok());
        bytes.unwrap_or([0; N])
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: segments are moved to their place when they are whole and made read-only; nothing writes to
    // one after that. Whoever cuts one short by other means ends the process with a signal.
    unsafe { Mmap::map(file) }
}

/// Distinguishes segments that one process begins in the same moment.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A segment that is being written.
#[derive(Debug)]
pub struct SegmentWriter {
    /// Where it is for now.
    partial: PathBuf,
    /// Where it will be.
    path: PathBuf,
    file: BufWriter<File>,
    shape: FeatureShape,
    index: Vec<u8>,
    num_images: u64,
}

impl SegmentWriter {
    pub(super) fn create(folder: &Path, shape: FeatureShape) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{since:032x}-{}-{next}", std::process::id());
        let (partial, path) =
            (folder.join(format!("{name}.partial")), folder.join(format!("{name}.{SEGMENT}")));
        let file = File::create_new(&partial).map_err(Error::io("create", &partial))?;
        let mut file = BufWriter::new(file);
        file.write_all(MAGIC).map_err(Error::io("write", &partial))?;
        Ok(Self { partial, path, file, shape, index: Vec::new(), num_images: 0 })
    }

    /// Appends the features of an image: `values` as its shape has them, `size` its un-padded width and
    /// height in pixels of the canvas.
    ///
    /// # Errors
    /// [`Error::Io`] where they cannot be written; [`Error::Compute`] where they are not of the shape.
    pub fn push(&mut self, content: Content, size: (u32, u32), values: &[f32]) -> Result<()> {
        if values.len() != self.shape.num_values() {
            return Err(Error::Compute {
                problem: format!("{} values are not {:?}", values.len(), self.shape),
                help: "Report this as a bug.".into(),
            });
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.index.extend(content.0.to_le_bytes());
        self.index.extend(size.0.to_le_bytes());
        self.index.extend(size.1.to_le_bytes());
        self.index.extend(xxh3_64(&bytes).to_le_bytes());
        self.num_images += 1;
        self.file.write_all(&bytes).map_err(Error::io("write", &self.partial))
    }

    /// Number of images so far.
    pub fn len(&self) -> usize {
        self.num_images as usize
    }

    /// Whether there is no image yet.
    pub fn is_empty(&self) -> bool {
        self.num_images == 0
    }

    /// Writes the rest, waits until all is on the disk, and moves the file to its place.
    pub(super) fn finish(mut self) -> Result<PathBuf> {
        for number in self.shape.to_numbers().into_iter().chain([self.num_images]) {
            self.index.extend(number.to_le_bytes());
        }
        let checksum = xxh3_64(&self.index);
        self.index.extend(checksum.to_le_bytes());
        self.write_index().map_err(Error::io("write", &self.path))?;
        Ok(self.path.clone())
    }

    fn write_index(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.index)?;
        self.file.flush()?;
        let file = self.file.get_ref();
        let mut permissions = file.metadata()?.permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions)?;
        file.sync_all()?;
        fs::rename(&self.partial, &self.path)
    }
}

/// What was begun and not finished goes; where the process was killed before, it stays as a `.partial`
/// file that nobody reads.
impl Drop for SegmentWriter {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
    }
}

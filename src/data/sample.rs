//! [`Sample`]: the one thing that every dataset turns into.

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::mask::Mask;
use crate::geometry::{BoundingBox, Point};

/// What a sample teaches or tests.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Whole image → caption, with a location per word.
    Narrate,
    /// Location → caption.
    Describe,
    /// Expression → box.
    Locate,
    /// Whole image → boxes of what is there, each with a caption (dense object captioning).
    Detect,
}

impl Task {
    /// Every task, in the order of tables and reports.
    pub const ALL: [Self; 4] = [Self::Narrate, Self::Describe, Self::Locate, Self::Detect];

    /// The name used in TOML, on the command line and in `evaluation.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Narrate => "narrate",
            Self::Describe => "describe",
            Self::Locate => "locate",
            Self::Detect => "detect",
        }
    }

    /// Whether its texts are captions of regions, each of which is a prompt of its own.
    pub fn captions_regions(self) -> bool {
        matches!(self, Self::Describe | Self::Detect)
    }
}

/// A piece of text and the place it was said about.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatedSpan {
    /// Bytes of the row's text that the utterance covers; `None` where the text does not contain it
    /// (rank alignment still uses its place in the order).
    pub span: Option<Range<usize>>,
    /// The trace's box during the utterance, normalised to the image, within `[0, 1]`.
    pub bounds: BoundingBox,
    /// When it was said: begin and end, in seconds of the recording; `None` where nobody spoke.
    pub seconds: Option<[f32; 2]>,
    /// Where the trace was at equally spaced moments of it, normalised to the image, within `[0, 1]`;
    /// as many as the reader was asked to keep.
    pub points: Vec<Point>,
}

impl LocatedSpan {
    /// A piece of text with a place, and no recording behind it.
    pub fn new(span: Option<Range<usize>>, bounds: BoundingBox) -> Self {
        Self { span, bounds, seconds: None, points: Vec::new() }
    }
}

/// One text about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The caption to write, or the expression to locate.
    pub text: String,
    /// What the text answers; `None` where nobody asked.
    pub question: Option<String>,
    /// For narrations: where each utterance is, in order of time. For descriptions of what a trace was
    /// drawn over: the trace.
    pub locations: Vec<LocatedSpan>,
    /// The box to describe, or to find; normalised to the image. `None` is the whole image.
    pub region: Option<BoundingBox>,
    /// The pixels of the object in the region, where they were asked for; of the size that the
    /// annotation gives the image.
    pub mask: Option<Mask>,
}

impl Row {
    /// A text about the whole image.
    pub fn of_image(text: impl Into<String>) -> Self {
        Self { text: text.into(), question: None, locations: Vec::new(), region: None, mask: None }
    }

    /// A text about a region, which is normalised to the image.
    pub fn of_region(text: impl Into<String>, region: BoundingBox) -> Self {
        Self { region: Some(region), ..Self::of_image(text) }
    }

    /// The trace that a description is about, in order, normalised to the image; empty for a box.
    pub fn trace(&self) -> impl Iterator<Item = Point> + '_ {
        self.locations.iter().flat_map(|location| location.points.iter().copied())
    }
}

/// Where the bytes of an image are: a file, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageFile {
    /// The file.
    pub path: PathBuf,
    /// The part of the file that is the image; `None` is all of it.
    pub part: Option<FilePart>,
}

/// A run of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePart {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
}

impl ImageFile {
    /// Its bytes, however many they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        if self.part.is_none() {
            return fs::read(&self.path);
        }
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// To read its bytes one after the other.
    pub(super) fn open(&self) -> io::Result<impl Read> {
        let mut file = fs::File::open(&self.path)?;
        let whole = FilePart { offset: 0, length: u64::MAX };
        let FilePart { offset, length } = self.part.unwrap_or(whole);
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(length))
    }
}

impl From<PathBuf> for ImageFile {
    fn from(path: PathBuf) -> Self {
        Self { path, part: None }
    }
}

impl From<&PathBuf> for ImageFile {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Path> for ImageFile {
    fn from(path: &Path) -> Self {
        path.to_path_buf().into()
    }
}

impl From<&Self> for ImageFile {
    fn from(image: &Self) -> Self {
        image.clone()
    }
}

impl fmt::Display for ImageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "{} (byte {})", self.path.display(), part.offset),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// One image with the texts of one task about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where the image is.
    pub image: ImageFile,
    /// The dataset's name for the image.
    pub image_id: String,
    /// What the rows are for.
    pub task: Task,
    /// At least one.
    pub rows: Vec<Row>,
}

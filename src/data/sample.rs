//! [`Sample`]: the one thing that every dataset turns into.

use std::ops::Range;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;

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
}

/// One text about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The caption to write, or the expression to locate.
    pub text: String,
    /// For narrations: where each utterance is, in order of time.
    pub locations: Vec<LocatedSpan>,
    /// The box to describe, or to find; normalised to the image. `None` is the whole image.
    pub region: Option<BoundingBox>,
    /// The pixels of the object in the region, where they were asked for; of the size that the
    /// annotation gives the image.
    pub mask: Option<Mask>,
}

/// One image with the texts of one task about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where the image is.
    pub image: PathBuf,
    /// The dataset's name for the image.
    pub image_id: String,
    /// What the rows are for.
    pub task: Task,
    /// At least one.
    pub rows: Vec<Row>,
}

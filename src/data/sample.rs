//! [`Sample`]: the one thing that every dataset turns into.

use std::ops::Range;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Task {
    /// Every task, in the order of tables and reports.
    pub const ALL: [Self; 3] = [Self::Narrate, Self::Describe, Self::Locate];

    /// The name used in TOML, on the command line and in `evaluation.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Narrate => "narrate",
            Self::Describe => "describe",
            Self::Locate => "locate",
        }
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
    /// The trace during the utterance, in order, normalised to the image, within `[0, 1]`; empty where
    /// it is not asked for.
    pub points: Vec<Point>,
}

/// One text about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The caption to write, or the expression to locate.
    pub text: String,
    /// For narrations: where each utterance is, in order of time. For descriptions of what a trace was
    /// drawn over: the trace.
    pub locations: Vec<LocatedSpan>,
    /// The box to describe, or to find; normalised to the image. `None` is the whole image.
    pub region: Option<BoundingBox>,
}

impl Row {
    /// The trace that a description is about, in order, normalised to the image; empty for a box.
    pub fn trace(&self) -> impl Iterator<Item = Point> + '_ {
        self.locations.iter().flat_map(|location| location.points.iter().copied())
    }
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

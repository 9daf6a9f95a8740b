//! Floor 4: narrate, describe, locate, detect; images and prompts in, typed answers out.
//!
//! | file | subject |
//! |---|---|
//! | [`predictor`] | the model with what it needs; images that it has looked at |
//! | [`open`] | models on disk |
//! | `narrate`, `describe`, `locate`, `written_box`, `segment`, [`detect`] | the tasks, in words |
//! | `pipeline`, `prompt`, `writing`, `places` | what they share, in ids and tensors; golden cases go through it, too |
//! | [`results`], [`timing`] | answers as commands print them, and how long they took |
//! | [`evaluation`] | answers on held-out images, scored |

mod describe;
pub mod detect;
pub mod evaluation;
mod locate;
mod narrate;
pub mod open;
mod pipeline;
mod places;
pub mod predictor;
mod prompt;
pub mod results;
mod segment;
pub mod streaming;
#[cfg(test)]
pub(crate) mod testing;
pub mod timing;
mod writing;
mod written_box;

pub use detect::DetectionLimits;
pub use open::default_model;
pub use predictor::Predictor;
pub(crate) use prompt::Prompt as IdPrompt;
pub use results::{Answer, ImageResult};
pub use timing::{Stage, Timings};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::mask::CocoMask;
use crate::geometry::{BoundingBox, Point, polyline};

/// A token that the model wrote: a word or a piece of one, or the end of the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: i64,
    /// How the tokenizer spells it, marks of word boundaries included.
    pub piece: String,
    /// Its log-probability after those before it.
    pub log_prob: f32,
}

/// A word of a text that has no places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WrittenWord {
    /// Its pieces, joined.
    pub text: String,
    /// Sum of its pieces' log-probabilities.
    pub log_prob: f32,
}

/// A word and its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocatedWord {
    /// Its pieces, joined.
    pub text: String,
    /// Where it is, normalised to the image; may reach outside.
    pub bounds: BoundingBox,
    /// The centre of that box.
    pub point: Point,
    /// Sum of its pieces' log-probabilities.
    pub log_prob: f32,
}

impl LocatedWord {
    /// A word in a box.
    pub fn new(text: String, bounds: BoundingBox, log_prob: f32) -> Self {
        Self { text, bounds, point: bounds.center(), log_prob }
    }
}

/// A caption of the whole image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Narration {
    /// The words, one space apart.
    pub caption: String,
    /// The words and their places.
    pub words: Vec<LocatedWord>,
    /// Each token that was written, the end included unless the text was cut.
    pub tokens: Vec<Token>,
    /// Log-probability of each of the tokens.
    pub token_log_probs: Vec<f32>,
    /// Σ log-probability / number of words (`spec/inference.md` §4); of a beam search, Σ log-probability /
    /// length penalty (§5).
    pub score: f32,
}

/// What a description is asked about, normalised to the image.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A box.
    Box(BoundingBox),
    /// Points on it, and points that are not: at least one on it.
    Points {
        /// On what is meant.
        positive: Vec<Point>,
        /// Off it.
        negative: Vec<Point>,
    },
    /// A line drawn over it, in order.
    Trace(Vec<Point>),
}

impl Place {
    /// The box, or the one around the points on what is meant.
    pub fn bounds(&self) -> BoundingBox {
        match self {
            Self::Box(bounds) => *bounds,
            Self::Points { positive: points, .. } | Self::Trace(points) => {
                polyline::bounds(points).unwrap_or(BoundingBox::UNIT)
            }
        }
    }
}

impl From<BoundingBox> for Place {
    fn from(bounds: BoundingBox) -> Self {
        Self::Box(bounds)
    }
}

/// A caption of a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// What was asked about, normalised to the image; of points and traces, the box around them.
    pub region: BoundingBox,
    /// The words, one space apart.
    pub caption: String,
    /// The words. They have no places of their own: only narratives teach any.
    pub words: Vec<WrittenWord>,
    /// Each token that was written, the end included unless the text was cut.
    pub tokens: Vec<Token>,
    /// Log-probability of each of the tokens.
    pub token_log_probs: Vec<f32>,
    /// As [`Narration::score`].
    pub score: f32,
}

/// Where an expression is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// What was asked for.
    pub expression: String,
    /// Its box, normalised to the image; may reach outside.
    pub bounds: BoundingBox,
    /// The centre of that box.
    pub point: Point,
    /// Its mask, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<LocatedMask>,
}

impl Location {
    /// An expression in a box, without a mask.
    pub fn new(expression: String, bounds: BoundingBox) -> Self {
        Self { expression, bounds, point: bounds.center(), mask: None }
    }
}

/// Which pixels of the image an expression is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocatedMask {
    /// The pixels, of the size of the image; none may be inside.
    pub segmentation: CocoMask,
    /// The IoU with the true mask that the model expects. It is not held within 0 and 1.
    pub predicted_iou: f32,
}

/// Something that was found, with its caption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detection {
    /// Its box, normalised to the image and within it.
    pub bounds: BoundingBox,
    /// The centre of that box.
    pub point: Point,
    /// How sure the model is that something is there, from 0 to 1: √(probability of an object ·
    /// score of the proposal) (`spec/model.md` §10.5); with [`Predictor::with_rescoring`], √(that ·
    /// probability of the caption).
    pub score: f32,
    /// The words, one space apart.
    pub caption: String,
    /// The words. They have no places of their own: only narratives teach any.
    pub words: Vec<WrittenWord>,
    /// Each token that was written, the end included unless the text was cut.
    pub tokens: Vec<Token>,
    /// Of the caption, as [`Narration::score`].
    pub log_prob: f32,
}

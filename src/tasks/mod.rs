//! Floor 4: narrate, describe, locate; an image and a prompt in, a typed result out.

mod describe;
pub mod evaluation;
mod locate;
mod narrate;
pub mod predictor;
mod prompt;
#[cfg(test)]
mod testing;
mod writing;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::BoundingBox;

/// A word and its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocatedWord {
    /// Its pieces, joined.
    pub text: String,
    /// Where it is, normalised to the image; may reach outside.
    pub bounds: BoundingBox,
    /// Sum of its pieces' log-probabilities.
    pub log_prob: f32,
}

/// A caption of the whole image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Narration {
    /// The words, one space apart.
    pub caption: String,
    /// The words and their places.
    pub words: Vec<LocatedWord>,
    /// Log-probability of each token that was written, the end included unless the text was cut.
    pub token_log_probs: Vec<f32>,
    /// Σ log-probability / number of words (`spec/inference.md` §4); of a beam search, Σ log-probability /
    /// length penalty (§5).
    pub score: f32,
}

/// A caption of a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// What was asked about, normalised to the image.
    pub region: BoundingBox,
    /// The words, one space apart.
    pub caption: String,
    /// Log-probability of each token that was written, the end included unless the text was cut.
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
}

//! What is told about an image, in the form that commands print with `--json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::timing::Timings;
use super::{Description, Detection, Location, Narration};

/// The number of the format: it grows when a field goes or changes its meaning, not when one is added.
pub const FORMAT_VERSION: u32 = 1;

/// What a model answered about one image. Places are shares of the image: x from 0 at its left edge to
/// 1 at its right one, y from 0 at the top to 1 at the bottom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageResult {
    /// Number of this format: 1.
    pub version: u32,
    /// The image that was asked about.
    pub image: AskedImage,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// How long that took.
    pub timings: Timings,
}

/// An image as it was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedImage {
    /// Its file, as it was given.
    pub path: String,
    /// Width in pixels, the right way up.
    pub width: u32,
    /// Height in pixels, the right way up.
    pub height: u32,
}

/// The answer of one of the four tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Answer {
    /// Of *narrate*.
    Narrate {
        /// The caption, with a place for every word.
        narration: Narration,
    },
    /// Of *describe*.
    Describe {
        /// One for each place, in the order in which they were asked about.
        descriptions: Vec<Description>,
    },
    /// Of *locate*.
    Locate {
        /// One for each expression, in the order in which they were asked for.
        locations: Vec<Location>,
    },
    /// Of *detect*.
    Detect {
        /// By falling score.
        detections: Vec<Detection>,
    },
}

impl Answer {
    /// The name of its task.
    pub fn task(&self) -> &'static str {
        match self {
            Self::Narrate { .. } => "narrate",
            Self::Describe { .. } => "describe",
            Self::Locate { .. } => "locate",
            Self::Detect { .. } => "detect",
        }
    }
}

/// The JSON Schema of [`ImageResult`], as it is in `docs/src/results.schema.json`.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(ImageResult);
    let title = "What pixelllm narrate, describe, locate and detect print with --json, per image";
    schema.insert("title".into(), title.into());
    schema.to_value()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::geometry::BoundingBox;

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let committed = include_str!("../../docs/src/results.schema.json");
        let committed: serde_json::Value = serde_json::from_str(committed).unwrap();
        assert_eq!(
            committed,
            schema(),
            "after a change: pixelllm schema > docs/src/results.schema.json"
        );
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written_with_its_task_beside_it() {
        let bounds = BoundingBox::new(0.25, 0.5, 0.75, 1.0);
        let result = ImageResult {
            version: FORMAT_VERSION,
            image: AskedImage { path: "a.png".into(), width: 64, height: 48 },
            answer: Answer::Locate { locations: vec![Location::new("the star".into(), bounds)] },
            timings: Timings::default(),
        };
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["task"], result.answer.task());
        assert_eq!(json["locations"][0]["point"]["y"], 0.75);
        assert_eq!(serde_json::from_value::<ImageResult>(json).unwrap(), result);
    }
}

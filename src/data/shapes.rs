//! The `shapes` world.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the world is like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Seed.
    pub seed: u64,
}

/// What an object is like, in words.
pub mod attributes {
    /// Size, colour, pattern, shape.
    const WORDS: [&[&str]; 4] = [
        &["small", "large"],
        &["red", "green", "blue", "yellow", "purple", "orange", "white", "black"],
        &["solid", "striped", "dotted", "checkered"],
        &["circle", "square", "triangle", "star", "cross", "ring"],
    ];

    /// The first word of each attribute in a text.
    pub fn words_of(text: &str) -> [Option<&'static str>; 4] {
        let lower = text.to_lowercase();
        let words: Vec<_> = lower.split(|c: char| !c.is_alphanumeric()).collect();
        WORDS.map(|known| words.iter().find_map(|w| known.iter().copied().find(|k| k == w)))
    }
}

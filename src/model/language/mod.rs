//! Language models: visual tokens as a prefix in, one feature and one row of logits per token out.

pub mod git;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use git::GitConfig;

/// Which language model writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LanguageConfig {
    /// The small GIT-style decoder (`spec/model.md` §7).
    Git(GitConfig),
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self::Git(GitConfig::default())
    }
}

/// What a tokenizer tells the model: the size of the vocabulary and its special ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Number of ids, `V`.
    pub size: usize,
    /// Padding; 0 in both published vocabularies.
    pub pad: i64,
    /// First token of every text.
    pub begin: i64,
    /// Last token of every text.
    pub end: i64,
}

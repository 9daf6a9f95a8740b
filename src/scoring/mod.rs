//! Floor 5: scores of predictions in files, with no model: what `pixelllm score` does.
//!
//! | file | subject |
//! |---|---|
//! | [`files`] | reading JSON, ids |
//! | [`captions`] | COCO captions: BLEU, METEOR, ROUGE-L, CIDEr |
//! | [`referring`] | boxes and masks of expressions |
//! | [`dense`] | dense captions: mean average precision |
//! | [`traces`] | places of the words of narratives |

pub mod captions;
pub mod dense;
pub mod files;
pub mod referring;
pub mod traces;

use std::collections::BTreeMap;

use serde::Serialize;

use self::files::Id;

/// What may be wrong without being an error, and what else is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What only one of the two files has is counted and left out.
    pub allow_missing: bool,
    /// How many times the samples are drawn again, for confidence intervals; 0 for none.
    pub num_resamples: usize,
    /// Where the drawing starts.
    pub seed: u64,
}

/// A score of the set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedScore {
    /// As the field calls it.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Of the bootstrap, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// In the order to be shown.
    pub scores: Vec<NamedScore>,
    /// How many samples were scored: images, expressions.
    pub num_samples: usize,
    /// What was left out, for the user to read.
    pub notes: Vec<String>,
    /// Scores of each sample, by its id.
    #[serde(skip)]
    pub per_sample: Vec<(Id, BTreeMap<String, f64>)>,
}

impl Scored {
    fn new<N: Into<String>>(
        scores: impl IntoIterator<Item = (N, f64)>,
        intervals: &[[f64; 2]],
    ) -> Self {
        let named = scores.into_iter().enumerate().map(|(at, (name, value))| NamedScore {
            name: name.into(),
            value,
            interval: intervals.get(at).copied(),
        });
        let scores = named.collect();
        Self { scores, num_samples: 0, notes: Vec::new(), per_sample: Vec::new() }
    }
}

//! Floor 5: scores of predictions in files, with no model: what `pixelllm score` does.
//!
//! | file | subject |
//! |---|---|
//! | [`files`] | opening JSON, which ids both files have |
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

use crate::data::formats::Id;
use crate::error::Result;
use crate::metrics::bootstrap;
use crate::metrics::meteor::Meteor;
use crate::metrics::sample_set::SampleSet;

/// Opens METEOR. It has long tables, which are read while other threads read captions.
pub type OpenMeteor<'a> = &'a (dyn Fn() -> Result<Meteor> + Sync);

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
    /// Scores of a set with their intervals, in the same order.
    fn new<N: Into<String>>(
        num_samples: usize,
        scores: impl IntoIterator<Item = (N, f64)>,
        intervals: &[[f64; 2]],
    ) -> Self {
        let named = scores.into_iter().enumerate().map(|(at, (name, value))| NamedScore {
            name: name.into(),
            value,
            interval: intervals.get(at).copied(),
        });
        let scores = named.collect();
        Self { scores, num_samples, notes: Vec::new(), per_sample: Vec::new() }
    }

    /// As `scores_of` says of the whole set and, for the intervals, of samples that are drawn from it: what it
    /// does not name of these is 0. `scores_of_one` says what is told of a single sample.
    fn of_set<S: Sync>(
        set: &SampleSet<Id, S>,
        options: Options,
        scores_of: impl Fn(&[&S]) -> Vec<(String, f64)> + Sync,
        scores_of_one: impl Fn(&S) -> BTreeMap<String, f64>,
    ) -> Self {
        let samples: Vec<&S> = set.iter().map(|(_, sample)| sample).collect();
        let scores = scores_of(&samples);
        let resampled = |drawn: &[usize]| {
            let drawn: Vec<&S> = drawn.iter().map(|&at| samples[at]).collect();
            let found: BTreeMap<String, f64> = scores_of(&drawn).into_iter().collect();
            scores.iter().map(|(name, _)| found.get(name).copied().unwrap_or(0.0)).collect()
        };
        let intervals =
            bootstrap::intervals(samples.len(), options.num_resamples, options.seed, resampled);
        let mut scored = Self::new(samples.len(), scores, &intervals);
        let one = |(id, sample): (&Id, &S)| (id.clone(), scores_of_one(sample));
        scored.per_sample = set.iter().map(one).collect();
        scored
    }
}

//! Beam search (`spec/inference.md` §5): several texts at once, of which the most probable survive.
//!
//! The device reads tokens and makes log-probabilities of them; which texts survive is decided here on
//! the host, once they are read back: one round trip per step.
//!
//! Letters: `R` rows, `K` beams per row, `M` tokens, `V` vocabulary, `P·K` candidates per step.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decoding::suppress_repeats;
use super::{LanguageModel, LanguageState, Vocabulary};
use crate::model::ConfigProblem;

/// The log-probability of what cannot be. Finite, as in the reference: a slot that was never filled has
/// this score.
const IMPOSSIBLE: f32 = -1.0e7;

/// Settings of a beam search; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BeamConfig {
    /// Number of texts in progress, and of texts that are found.
    pub beams: usize,
    /// Candidates per step and beam.
    pub candidates_per_beam: usize,
    /// α of `((5 + length) / 6)^α`, by which the log-probability of a text is divided; 0 favours short
    /// texts, 1 long ones.
    pub length_penalty: f64,
    /// Whether no token may follow itself. The paper's beams let it, unlike its greedy decoding.
    pub suppress_repeats: bool,
}

impl Default for BeamConfig {
    fn default() -> Self {
        Self { beams: 4, candidates_per_beam: 2, length_penalty: 0.6, suppress_repeats: false }
    }
}

impl BeamConfig {
    /// What cannot be done; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let counts = [("beams", self.beams), ("candidates_per_beam", self.candidates_per_beam)];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| {
            let (problem, allowed) = ("is 0".to_string(), "at least 1".to_string());
            ConfigProblem { key: key.to_string(), problem, allowed }
        });
        let penalty = (!self.length_penalty.is_finite()).then(|| ConfigProblem {
            key: "length_penalty".to_string(),
            problem: format!("is {}", self.length_penalty),
            allowed: "a finite number".to_string(),
        });
        zero.chain(penalty).collect()
    }

    /// What the log-probability of a text of `length` is divided by.
    fn penalty(&self, length: usize) -> f32 {
        ((5.0 + length as f64) / 6.0).powf(self.length_penalty) as f32
    }
}

/// The texts that were found, the best last.
#[derive(Debug, Clone)]
pub struct Beams {
    /// `[R, K, M]`: begin, words, end; end again in what is left. All zeros where a slot was never
    /// filled.
    pub tokens: Tensor<3, Int>,
    /// Log-probability of each token, `[R, K, M]`; 0 at begin and after the first end.
    pub log_probs: Tensor<3>,
    /// `[R, K]`: log-probability over length penalty; where no text of the row came to an end,
    /// log-probabilities of texts in progress.
    pub scores: Tensor<2>,
}

/// Searches for the most probable texts of at most `max_tokens`, the last of which is always an end;
/// more tokens than the model has positions cannot be asked for.
///
/// `state` has read the prefix of each of the `R` texts and nothing else.
pub fn beam_search(
    model: &LanguageModel,
    state: LanguageState,
    max_tokens: usize,
    config: &BeamConfig,
) -> Beams {
    let rows = state.num_rows();
    let max_tokens = max_tokens.min(model.max_text_tokens());
    let mut state = state.repeat_rows(config.beams);
    let read = |parents: Option<Tensor<1, Int>>, tokens: Tensor<2, Int>| {
        if let Some(parents) = parents {
            // Beams are of the row that they come from, so that they share its prefix.
            state = state.clone().reorder_texts(parents);
        }
        let features = model.read(&mut state, tokens);
        model.logits(features).squeeze_dim(1)
    };
    beam_search_by(read, rows, max_tokens, &model.vocabulary(), config, &model.device())
}

/// Beam search over any `read`: the beam `[R·K]` that each beam continues (`None` where each continues
/// itself) and its last token `[R·K, 1]` → logits `[R·K, V]`.
pub fn beam_search_by(
    mut read: impl FnMut(Option<Tensor<1, Int>>, Tensor<2, Int>) -> Tensor<2>,
    rows: usize,
    max_tokens: usize,
    vocabulary: &Vocabulary,
    config: &BeamConfig,
    device: &Device,
) -> Beams {
    let max_tokens = max_tokens.max(1);
    let mut rows: Vec<_> = (0..rows).map(|_| Row::new(max_tokens, vocabulary, config)).collect();
    let mut parents = None;
    for position in 1..max_tokens.saturating_sub(1) {
        if rows.iter().all(|row| row.is_decided(max_tokens, config)) {
            break;
        }
        let last = last_tokens(&rows, device);
        let logits = read(parents, last.clone());
        let logits = if config.suppress_repeats { suppress_repeats(logits, last) } else { logits };
        let size = logits.dims()[1];
        let log_probs: Vec<f32> = log_softmax(logits, 1).into_data().iter::<f32>().collect();
        let of_row = log_probs.chunks(size * config.beams);
        let continued: Vec<i64> = rows
            .iter_mut()
            .zip(of_row)
            .enumerate()
            .flat_map(|(index, (row, log_probs))| {
                let first = index * config.beams;
                let beams = row.step(log_probs, position, vocabulary, config);
                beams.into_iter().map(move |beam| (first + beam) as i64)
            })
            .collect();
        let moved = continued.iter().enumerate().any(|(beam, &parent)| beam as i64 != parent);
        parents = moved.then(|| Tensor::from_data(continued.as_slice(), device));
    }
    finish(rows, max_tokens, vocabulary, device)
}

/// The newest token of each live text, `[R·K, 1]`.
fn last_tokens(rows: &[Row], device: &Device) -> Tensor<2, Int> {
    let live = rows.iter().flat_map(|row| &row.live);
    let last: Vec<i64> = live.filter_map(|text| text.tokens.last().copied()).collect();
    Tensor::<1, Int>::from_data(last.as_slice(), device).unsqueeze_dim(1)
}

/// A text with what it is worth.
#[derive(Debug, Clone)]
struct Text {
    /// Begin and what follows up to now.
    tokens: Vec<i64>,
    /// Log-probability of each.
    log_probs: Vec<f32>,
    /// Of a text in progress its log-probability, of a finished one that over the length penalty.
    score: f32,
    /// Whether an end is its last token.
    is_finished: bool,
}

/// A search in progress; texts are in increasing order of scores.
struct Row {
    /// Texts that have no end yet.
    live: Vec<Text>,
    /// Texts that have one, and unfilled slots.
    finished: Vec<Text>,
}

/// A continuation of a live text.
struct Candidate {
    beam: usize,
    token: i64,
    /// Of the token.
    log_prob: f32,
    /// Of the whole text.
    score: f32,
}

impl Row {
    fn new(max_tokens: usize, vocabulary: &Vocabulary, config: &BeamConfig) -> Self {
        let begun = |score| Text {
            tokens: vec![vocabulary.begin],
            log_probs: vec![0.0],
            score,
            is_finished: false,
        };
        let unfilled = Text {
            tokens: vec![0; max_tokens],
            log_probs: vec![0.0; max_tokens],
            score: IMPOSSIBLE,
            is_finished: false,
        };
        // All beams begin alike: but for one, they are none.
        let scores = std::iter::once(0.0).chain(std::iter::repeat(IMPOSSIBLE));
        Self {
            live: scores.take(config.beams).map(begun).collect(),
            finished: vec![unfilled; config.beams],
        }
    }

    /// Whether no live text can become better than the worst finished one.
    fn is_decided(&self, max_tokens: usize, config: &BeamConfig) -> bool {
        let score = |text: &Text| if text.is_finished { text.score } else { IMPOSSIBLE };
        let worst = self.finished.iter().map(score).fold(f32::INFINITY, f32::min);
        let hope = self.live.last().map_or(IMPOSSIBLE, |text| text.score);
        worst > hope / config.penalty(max_tokens)
    }

    /// Continues the live texts by a token at `position`, given its `log_probs` `[K, V]`. Which live text
    /// each of them continues.
    fn step(
        &mut self,
        log_probs: &[f32],
        position: usize,
        vocabulary: &Vocabulary,
        config: &BeamConfig,
    ) -> Vec<usize> {
        let candidates = self.candidates(log_probs, config);
        let ends = |candidate: &Candidate| candidate.token == vocabulary.end;
        let unless = |is_impossible: bool| if is_impossible { IMPOSSIBLE } else { 0.0 };

        let before = self.finished.len();
        let known = self.finished.iter().map(|text| text.score);
        let ended =
            candidates.iter().map(|one| one.score / config.penalty(position) + unless(!ends(one)));
        let finished = best(known.chain(ended), config.beams).into_iter();
        let finished = finished.map(|(place, score)| match place.checked_sub(before) {
            None => self.finished[place].clone(),
            Some(place) => {
                let candidate = &candidates[place];
                self.continued(candidate, score, ends(candidate))
            }
        });
        let finished = finished.collect();

        let going_on = candidates.iter().map(|one| one.score + unless(ends(one)));
        let going_on = best(going_on, config.beams);
        let parents = going_on.iter().map(|(place, _)| candidates[*place].beam).collect();
        let live = going_on
            .into_iter()
            .map(|(place, score)| self.continued(&candidates[place], score, false))
            .collect();
        (self.live, self.finished) = (live, finished);
        parents
    }

    /// The best continuations, in increasing order.
    fn candidates(&self, log_probs: &[f32], config: &BeamConfig) -> Vec<Candidate> {
        let size = log_probs.len() / self.live.len().max(1);
        let scores = log_probs.chunks(size.max(1)).zip(&self.live);
        let scores = scores.flat_map(|(row, text)| row.iter().map(|one| one + text.score));
        let chosen = best(scores, config.beams * config.candidates_per_beam);
        let candidate = |(place, score)| Candidate {
            beam: place / size,
            token: (place % size) as i64,
            log_prob: log_probs[place],
            score,
        };
        chosen.into_iter().map(candidate).collect()
    }

    fn continued(&self, candidate: &Candidate, score: f32, is_finished: bool) -> Text {
        let Text { mut tokens, mut log_probs, .. } = self.live[candidate.beam].clone();
        tokens.push(candidate.token);
        log_probs.push(candidate.log_prob);
        Text { tokens, log_probs, score, is_finished }
    }

    /// The finished texts; the live ones where there are none.
    fn into_texts(self) -> Vec<Text> {
        let any = self.finished.iter().any(|text| text.is_finished);
        if any { self.finished } else { self.live }
    }
}

/// The texts of all rows, filled up with ends.
fn finish(rows: Vec<Row>, max_tokens: usize, vocabulary: &Vocabulary, device: &Device) -> Beams {
    let num_rows = rows.len();
    let texts: Vec<Text> = rows.into_iter().flat_map(Row::into_texts).collect();
    let beams = texts.len() / num_rows.max(1);
    let filled = |text: &Text| {
        let rest = max_tokens - text.tokens.len();
        let tokens = text.tokens.iter().copied();
        tokens.chain(std::iter::repeat_n(vocabulary.end, rest)).collect::<Vec<_>>()
    };
    let tokens = texts.iter().flat_map(filled).collect::<Vec<_>>();
    let log_probs = |text: &Text| {
        let rest = max_tokens - text.log_probs.len();
        let log_probs = text.log_probs.iter().copied();
        log_probs.chain(std::iter::repeat_n(0.0, rest)).collect::<Vec<f32>>()
    };
    let log_probs = texts.iter().flat_map(log_probs).collect::<Vec<_>>();
    let scores = texts.iter().map(|text| text.score).collect::<Vec<_>>();
    let shape = [num_rows, beams, max_tokens];
    Beams {
        tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
        log_probs: Tensor::from_data(TensorData::new(log_probs, shape), device),
        scores: Tensor::from_data(TensorData::new(scores, [num_rows, beams]), device),
    }
}

/// Where the `count` largest are, and how large, in increasing order. Of equals, the first is the larger.
fn best(scores: impl Iterator<Item = f32>, count: usize) -> Vec<(usize, f32)> {
    // In decreasing order; few, so that most scores are compared with the last one only.
    let mut kept: Vec<(usize, f32)> = Vec::with_capacity(count + 1);
    for (place, score) in scores.enumerate() {
        let is_full = kept.len() == count;
        if is_full && kept.last().is_none_or(|(_, least)| score <= *least) {
            continue;
        }
        kept.insert(kept.partition_point(|(_, known)| *known >= score), (place, score));
        kept.truncate(count);
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests;

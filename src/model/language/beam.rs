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
mod tests {
    use burn::tensor::Distribution;

    use super::super::LanguageConfig;
    use super::super::decoding::greedy;
    use super::super::git::GitConfig;
    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 4, pad: 0, begin: 1, end: 2 };

    /// A language in which the next token depends on the last: `table[last][next]` probabilities.
    fn search(
        table: [[f32; 4]; 4],
        max_tokens: usize,
        config: &BeamConfig,
    ) -> (Vec<i64>, Vec<f32>) {
        let device = Device::flex();
        let table = Tensor::<2>::from_data(table, &device).log();
        let read = |_: Option<Tensor<1, Int>>, tokens: Tensor<2, Int>| {
            table.clone().select(0, tokens.flatten::<1>(0, 1))
        };
        let beams = beam_search_by(read, 1, max_tokens, &VOCABULARY, config, &device);
        let tokens = beams.tokens.into_data().iter::<i64>().collect();
        (tokens, beams.scores.into_data().iter::<f32>().collect())
    }

    /// Token 0 is likely at first but leads nowhere; token 3 leads to a sure end.
    const GARDEN_PATH: [[f32; 4]; 4] = [
        [0.25, 0.25, 0.25, 0.25],
        [0.5, 0.05, 0.05, 0.4],
        [0.25, 0.25, 0.25, 0.25],
        [0.02, 0.02, 0.94, 0.02],
    ];

    #[test]
    fn the_best_text_need_not_begin_with_the_best_token() {
        let config = BeamConfig {
            beams: 2,
            candidates_per_beam: 2,
            length_penalty: 0.0,
            ..BeamConfig::default()
        };
        let (tokens, scores) = search(GARDEN_PATH, 5, &config);
        assert_eq!(tokens[5..], [1, 3, 2, 2, 2]);
        assert!((scores[1] - (0.4f32 * 0.94).ln()).abs() < 1e-5);
        assert!(scores[0] < scores[1]);
    }

    #[test]
    fn a_finished_text_is_divided_by_the_penalty_of_its_length() {
        let config = BeamConfig {
            beams: 2,
            candidates_per_beam: 2,
            length_penalty: 1.0,
            ..BeamConfig::default()
        };
        let (tokens, scores) = search(GARDEN_PATH, 5, &config);
        assert_eq!(tokens[5..], [1, 3, 2, 2, 2]);
        assert!((scores[1] - (0.4f32 * 0.94).ln() / (7.0 / 6.0)).abs() < 1e-5);
    }

    #[test]
    fn texts_without_an_end_have_their_plain_log_probability() {
        let config = BeamConfig { beams: 1, candidates_per_beam: 1, ..BeamConfig::default() };
        let (tokens, scores) = search([[0.7, 0.1, 0.1, 0.1]; 4], 4, &config);
        assert_eq!(tokens, [1, 0, 0, 2]);
        assert!((scores[0] - 2.0 * 0.7f32.ln()).abs() < 1e-5);
    }

    /// A decoder with random weights, and the state after the prefixes of two texts.
    fn random_decoder() -> (LanguageModel, LanguageState) {
        let device = Device::flex();
        let config = GitConfig {
            width: 8,
            depth: 2,
            num_heads: 2,
            mlp_width: 16,
            max_positions: 6,
            dropout: 0.0,
            initial_deviation: 0.7,
            ..GitConfig::default()
        };
        let model = LanguageConfig::Git(config).init(4, VOCABULARY, &device);
        let visual = Tensor::random([2, 3, 4], Distribution::Normal(0.0, 1.0), &device);
        let state = model.begin(visual, None);
        (model, state)
    }

    #[test]
    fn a_reordered_state_gives_what_reading_each_text_again_gives() {
        let (model, state) = random_decoder();
        let config = BeamConfig { beams: 3, candidates_per_beam: 1, ..BeamConfig::default() };
        let cached = beam_search(&model, state.clone(), 6, &config);
        let mut so_far: Option<Tensor<2, Int>> = None;
        let read = |parents: Option<Tensor<1, Int>>, tokens: Tensor<2, Int>| {
            let past = so_far.take().zip(parents).map(|(past, parents)| past.select(0, parents));
            let texts = match past {
                Some(past) => Tensor::cat(vec![past, tokens], 1),
                None => tokens,
            };
            so_far = Some(texts.clone());
            let features = model.read(&mut state.clone().repeat_rows(3), texts);
            let [_, length, _] = features.dims();
            model.logits(features.narrow(1, length - 1, 1)).squeeze_dim(1)
        };
        let again = beam_search_by(read, 2, 6, &VOCABULARY, &config, &model.device());
        let ids = |beams: &Beams| beams.tokens.to_data().iter::<i64>().collect::<Vec<_>>();
        assert_eq!(ids(&cached), ids(&again));
        let difference = (cached.scores - again.scores).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-4, "{difference}");
    }

    #[test]
    fn one_beam_with_one_candidate_is_greedy() {
        let config = BeamConfig {
            beams: 1,
            candidates_per_beam: 1,
            suppress_repeats: true,
            ..BeamConfig::default()
        };
        for _ in 0..5 {
            let (model, state) = random_decoder();
            let beams = beam_search(&model, state.clone(), 6, &config);
            let texts = greedy(&model, state, 6);
            let tokens: Tensor<2, Int> = beams.tokens.squeeze_dim(1);
            tokens.into_data().assert_eq(&texts.tokens.into_data(), true);
            let log_probs: Tensor<2> = beams.log_probs.squeeze_dim(1);
            let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-5);
            log_probs.into_data().assert_approx_eq(&texts.log_probs.into_data(), tolerance);
        }
    }

    #[test]
    fn the_score_of_a_text_is_made_of_the_log_probabilities_of_its_tokens() {
        let (model, state) = random_decoder();
        let config = BeamConfig { length_penalty: 0.0, ..BeamConfig::default() };
        let beams = beam_search(&model, state, 6, &config);
        let sums: Vec<f32> = beams.log_probs.sum_dim(2).into_data().iter::<f32>().collect();
        let scores: Vec<f32> = beams.scores.into_data().iter::<f32>().collect();
        let filled = sums.iter().zip(&scores).filter(|(_, score)| **score > IMPOSSIBLE / 2.0);
        assert!(filled.clone().count() >= 2, "the best of each row at least");
        for (sum, score) in filled {
            assert!((sum - score).abs() < 1e-4, "{sum} {score}");
        }
    }

    #[test]
    fn repeats_are_suppressed_where_that_is_asked_for() {
        // 3 follows itself for sure; without that, 0 does best.
        let table = [[0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7], [0.25; 4], [0.2, 0.05, 0.05, 0.7]];
        let config = |suppress_repeats| BeamConfig {
            beams: 1,
            candidates_per_beam: 1,
            suppress_repeats,
            ..BeamConfig::default()
        };
        assert_eq!(search(table, 5, &config(false)).0, [1, 3, 3, 3, 2]);
        let (tokens, scores) = search(table, 5, &config(true));
        assert_eq!(tokens, [1, 3, 0, 3, 2]);
        // Without the token before: 0.7 / 0.9, 0.2 / 0.3, 0.7 / 0.9.
        let expected = 2.0 * (0.7f32 / 0.9).ln() + (0.2f32 / 0.3).ln();
        assert!((scores[0] - expected).abs() < 1e-5);
    }

    #[test]
    fn of_equals_the_first_is_the_larger() {
        let scores = [1.0, 3.0, 2.0, 3.0, 0.0, 2.0];
        assert_eq!(best(scores.into_iter(), 3), [(2, 2.0), (3, 3.0), (1, 3.0)]);
        assert_eq!(best(scores.into_iter().take(2), 3), [(0, 1.0), (1, 3.0)]);
    }
}

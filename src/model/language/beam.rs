//! Beam search (`spec/inference.md` §5): several texts at once, of which the most probable survive.
//!
//! Letters: `R` rows, `K` beams per row, `M` tokens, `V` vocabulary, `P·K` candidates per step.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Device, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LanguageModel, LanguageState, Vocabulary};
use crate::model::ConfigProblem;

/// The log-probability of what cannot be. Finite, as in the reference: a slot that was never filled has
/// this score.
const IMPOSSIBLE: f32 = -1.0e7;

/// Sizes of a beam search; defaults are the paper's.
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
}

impl Default for BeamConfig {
    fn default() -> Self {
        Self { beams: 4, candidates_per_beam: 2, length_penalty: 0.6 }
    }
}

impl BeamConfig {
    /// What cannot be done; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let counts = [("beams", self.beams), ("candidates_per_beam", self.candidates_per_beam)];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0);
        zero.map(|(key, _)| ConfigProblem {
            key: key.to_string(),
            problem: "is 0".to_string(),
            allowed: "at least 1".to_string(),
        })
        .collect()
    }

    /// What the log-probability of a text of `length` is divided by.
    fn penalty(&self, length: usize) -> f64 {
        ((5.0 + length as f64) / 6.0).powf(self.length_penalty)
    }
}

/// The texts that were found, the best last.
#[derive(Debug, Clone)]
pub struct Beams {
    /// `[R, K, M]`: begin, words, end; end again in what is left. All zeros where a slot was never
    /// filled.
    pub tokens: Tensor<3, Int>,
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
            state = state.clone().select_rows(parents);
        }
        let features = model.read(&mut state, tokens);
        model.logits(features).squeeze_dim(1)
    };
    beam_search_by(read, rows, max_tokens, &model.vocabulary(), config, &model.device())
}

/// Beam search over any `read`: the beam `[R·K]` that each beam continues (`None` at first, where each
/// continues itself) and its last token `[R·K, 1]` → logits `[R·K, V]`.
pub fn beam_search_by(
    mut read: impl FnMut(Option<Tensor<1, Int>>, Tensor<2, Int>) -> Tensor<2>,
    rows: usize,
    max_tokens: usize,
    vocabulary: &Vocabulary,
    config: &BeamConfig,
    device: &Device,
) -> Beams {
    let max_tokens = max_tokens.max(1);
    let mut search = Search::new(rows, max_tokens, vocabulary, config, device);
    let (mut parents, mut last) = (None, search.last_tokens(0));
    for position in 1..max_tokens.saturating_sub(1) {
        if search.is_decided(max_tokens) {
            break;
        }
        let logits = read(parents, last);
        parents = Some(search.step(logits, position));
        last = search.last_tokens(position);
    }
    search.finish()
}

/// Texts with their scores, in increasing order of scores.
#[derive(Debug, Clone)]
struct Texts {
    /// `[R, K, M]`
    tokens: Tensor<3, Int>,
    /// `[R, K]`
    scores: Tensor<2>,
}

impl Texts {
    /// The `count` best, and which of these they were, `[R, count]`.
    fn best(&self, count: usize) -> (Self, Tensor<2, Int>) {
        let (scores, order) = best(self.scores.clone(), count);
        let tokens = select(self.tokens.clone(), order.clone());
        (Self { tokens, scores }, order)
    }
}

/// A search in progress.
struct Search<'a> {
    /// Texts that have no end yet, with log-probabilities.
    live: Texts,
    /// Texts that have one, with log-probabilities over length penalties.
    finished: Texts,
    /// Whether a slot of `finished` is filled, `[R, K]`.
    is_finished: Tensor<2, Bool>,
    vocabulary: &'a Vocabulary,
    config: &'a BeamConfig,
}

impl<'a> Search<'a> {
    fn new(
        rows: usize,
        max_tokens: usize,
        vocabulary: &'a Vocabulary,
        config: &'a BeamConfig,
        device: &Device,
    ) -> Self {
        let beams = config.beams;
        let begin = Tensor::<3, Int>::full([rows, beams, 1], vocabulary.begin, device);
        let ends = Tensor::<3, Int>::full([rows, beams, max_tokens], vocabulary.end, device);
        // All beams begin alike: but for one, they are none.
        let first = Tensor::<2>::zeros([rows, 1], device);
        let other = Tensor::<2>::full([rows, 1], IMPOSSIBLE, device);
        let scores = std::iter::once(first).chain(std::iter::repeat_n(other, beams - 1));
        let nothing = Tensor::<2>::full([rows, beams], IMPOSSIBLE, device);
        Self {
            live: Texts {
                tokens: ends.slice_assign([0..rows, 0..beams, 0..1], begin),
                scores: Tensor::cat(scores.collect(), 1),
            },
            finished: Texts {
                tokens: Tensor::zeros([rows, beams, max_tokens], device),
                scores: nothing.clone(),
            },
            is_finished: nothing.greater_elem(0.0),
            vocabulary,
            config,
        }
    }

    /// The token of each live text at `position`, `[R·K, 1]`.
    fn last_tokens(&self, position: usize) -> Tensor<2, Int> {
        let [rows, beams, _] = self.live.tokens.dims();
        self.live.tokens.clone().narrow(2, position, 1).reshape([rows * beams, 1])
    }

    /// Whether no live text can become better than the worst finished one, in any row.
    fn is_decided(&self, max_tokens: usize) -> bool {
        let [_, beams] = self.live.scores.dims();
        let unfilled = self.is_finished.clone().bool_not();
        let worst = self.finished.scores.clone().mask_fill(unfilled, IMPOSSIBLE).min_dim(1);
        let hope = self.live.scores.clone().narrow(1, beams - 1, 1);
        let hope = hope / self.config.penalty(max_tokens);
        worst.greater(hope).all().into_scalar::<bool>()
    }

    /// Continues the live texts by a token at `position`, given `logits` `[R·K, V]` of it. Which of the
    /// `R·K` beams each of them continues, `[R·K]`.
    fn step(&mut self, logits: Tensor<2>, position: usize) -> Tensor<1, Int> {
        let [rows, beams, _] = self.live.tokens.dims();
        let [_, size] = logits.dims();
        let log_probs = log_softmax(logits, 1).reshape([rows, beams, size]);
        let log_probs = log_probs + self.live.scores.clone().unsqueeze_dim(2);
        let count = (beams * self.config.candidates_per_beam).min(beams * size);
        let (scores, chosen) = best(log_probs.reshape([rows, beams * size]), count);
        let beam = chosen.clone().div_scalar(size as i64);
        let token = chosen - beam.clone().mul_scalar(size as i64);
        let tokens = select(self.live.tokens.clone(), beam.clone());
        let ranges = [0..rows, 0..count, position..position + 1];
        let tokens = tokens.slice_assign(ranges, token.clone().unsqueeze_dim(2));
        let ends = token.equal_elem(self.vocabulary.end);

        self.add_finished(&tokens, &scores, &ends, position);
        let unless = ends.float() * IMPOSSIBLE;
        let (live, order) = Texts { tokens, scores: scores + unless }.best(beams);
        self.live = live;

        let row = Tensor::<1, Int>::arange(0..rows as i64, &order.device()).unsqueeze_dim::<2>(1);
        let parents = beam.gather(1, order) + row.mul_scalar(beams as i64);
        parents.reshape([rows * beams])
    }

    /// Keeps the best of what was finished before and what ends at `position`.
    ///
    /// # Shapes
    /// - `tokens`: `[R, P·K, M]`
    /// - `scores`, `ends`: `[R, P·K]`
    fn add_finished(
        &mut self,
        tokens: &Tensor<3, Int>,
        scores: &Tensor<2>,
        ends: &Tensor<2, Bool>,
        position: usize,
    ) {
        let unless = ends.clone().bool_not().float() * IMPOSSIBLE;
        let scores = scores.clone() / self.config.penalty(position) + unless;
        let all = Texts {
            tokens: Tensor::cat(vec![self.finished.tokens.clone(), tokens.clone()], 1),
            scores: Tensor::cat(vec![self.finished.scores.clone(), scores], 1),
        };
        let flags = Tensor::cat(vec![self.is_finished.clone(), ends.clone()], 1);
        let (finished, order) = all.best(self.config.beams);
        self.is_finished = flags.int().gather(1, order).greater_elem(0);
        self.finished = finished;
    }

    /// The finished texts of each row; the live ones where there are none.
    fn finish(self) -> Beams {
        let [rows, beams, length] = self.live.tokens.dims();
        let any = self.is_finished.int().max_dim(1).greater_elem(0);
        let scores =
            self.live.scores.mask_where(any.clone().expand([rows, beams]), self.finished.scores);
        let any = any.unsqueeze_dim::<3>(2).expand([rows, beams, length]);
        let tokens = self.live.tokens.mask_where(any, self.finished.tokens);
        // What stands behind the first end is no text.
        let ends = tokens.clone().equal_elem(self.vocabulary.end).int().cumsum(2);
        let tokens = tokens.mask_fill(ends.greater_elem(0), self.vocabulary.end);
        Beams { tokens, scores }
    }
}

/// The `count` largest of each row in increasing order, and where they are. Of equals, the first is
/// the larger.
///
/// # Shapes
/// - `scores`: `[R, C]`
/// - results: `[R, count]`
fn best(scores: Tensor<2>, count: usize) -> (Tensor<2>, Tensor<2, Int>) {
    let [_, columns] = scores.dims();
    let ids = Tensor::<1, Int>::arange(0..columns as i64, &scores.device()).unsqueeze::<2>();
    let mut rest = scores;
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for _ in 0..count.min(columns) {
        let (value, place) = rest.clone().max_dim_with_indices(1);
        rest = rest.mask_fill(ids.clone().equal(place.clone()), f32::NEG_INFINITY);
        values.insert(0, value);
        places.insert(0, place);
    }
    (Tensor::cat(values, 1), Tensor::cat(places, 1))
}

/// `tokens` `[R, C, M]` at `places` `[R, K]` → `[R, K, M]`.
fn select(tokens: Tensor<3, Int>, places: Tensor<2, Int>) -> Tensor<3, Int> {
    let [rows, _, length] = tokens.dims();
    let [_, count] = places.dims();
    tokens.gather(1, places.unsqueeze_dim::<3>(2).expand([rows, count, length]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::super::LanguageConfig;
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
        let config = BeamConfig { beams: 2, candidates_per_beam: 2, length_penalty: 0.0 };
        let (tokens, scores) = search(GARDEN_PATH, 5, &config);
        assert_eq!(tokens[5..], [1, 3, 2, 2, 2]);
        assert!((scores[1] - (0.4f32 * 0.94).ln()).abs() < 1e-5);
        assert!(scores[0] < scores[1]);
    }

    #[test]
    fn a_finished_text_is_divided_by_the_penalty_of_its_length() {
        let config = BeamConfig { beams: 2, candidates_per_beam: 2, length_penalty: 1.0 };
        let (tokens, scores) = search(GARDEN_PATH, 5, &config);
        assert_eq!(tokens[5..], [1, 3, 2, 2, 2]);
        assert!((scores[1] - (0.4f32 * 0.94).ln() / (7.0 / 6.0)).abs() < 1e-5);
    }

    #[test]
    fn texts_without_an_end_have_their_plain_log_probability() {
        let config = BeamConfig { beams: 1, candidates_per_beam: 1, length_penalty: 0.6 };
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
        let config = BeamConfig { beams: 3, candidates_per_beam: 1, length_penalty: 0.6 };
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
}

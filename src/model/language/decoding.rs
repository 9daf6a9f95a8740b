//! Writing texts token by token (`spec/inference.md` §4), by whichever method.
//!
//! Letters: `R` rows, `M` tokens, `T` tokens that were read, `V` vocabulary, `D` width.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::beam::{BeamConfig, Beams, beam_search};
use super::sampling::{SampleConfig, Sampler};
use super::{LanguageModel, LanguageState, Vocabulary};
use crate::model::ConfigProblem;

/// The logit of a token that must not follow.
const FORBIDDEN: f32 = -10_000.0;

/// How texts are found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Decoding {
    /// The most probable token at each step, the same never twice in a row: the paper's single texts.
    #[default]
    Greedy,
    /// The best of several texts that are written at the same time: the paper's captions.
    #[serde(rename = "beam")]
    Beams(BeamConfig),
    /// Tokens are drawn by their probability.
    Sample(SampleConfig),
}

impl Decoding {
    /// What cannot be done; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        match self {
            Self::Greedy => Vec::new(),
            Self::Beams(config) => config.validate(),
            Self::Sample(config) => config.validate(),
        }
    }
}

/// Texts that a model wrote: `R` rows of `M` tokens.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `[R, M]`: begin, words, end; end again in what is left.
    pub tokens: Tensor<2, Int>,
    /// Log-probability of each token, `[R, M]`, whatever a temperature makes of it; 0 at begin and after
    /// the first end.
    pub log_probs: Tensor<2>,
    /// `[R]`. Of a text of single tokens, Σ log-probability / number of words: the end counts in the sum,
    /// not in the number. Of the best of several beams as in [`Beams::scores`].
    pub scores: Tensor<1>,
    /// Features of every token that was read, `[R, T, D]` with `T ≤ M`: at least up to the last word
    /// of each row. Texts are causal, so these are what reading the whole text at once would give.
    pub features: Tensor<3>,
    /// Every text of a beam search, of which the last is this one; `None` of other methods.
    pub beams: Option<Beams>,
}

/// Written texts `[B, N, L]`, filled up with ends, as texts to read: from the second end on, padding.
pub fn pad_behind_end(tokens: Tensor<3, Int>, vocabulary: &Vocabulary) -> Tensor<3, Int> {
    let ends = tokens.clone().equal_elem(vocabulary.end).int().cumsum(2);
    tokens.mask_fill(ends.greater_elem(1), vocabulary.pad)
}

/// Writes a text of at most `max_tokens` after each prefix, the last of which is always an end; more
/// tokens than the model has positions cannot be asked for.
///
/// `state` has read the prefix of each of the `R` texts and nothing else.
pub fn write(
    model: &LanguageModel,
    state: LanguageState,
    max_tokens: usize,
    decoding: &Decoding,
) -> Generated {
    // On one of the threads that take part in products: to hand them work from outside costs more than
    // a small product.
    rayon::scope(|_| match decoding {
        Decoding::Greedy => greedy(model, state, max_tokens),
        Decoding::Sample(config) => sample(model, state, max_tokens, config),
        Decoding::Beams(config) => {
            let beams = beam_search(model, state.clone(), max_tokens, config);
            read_best(model, state, beams)
        }
    })
}

/// The best text of each row, read anew for its features: beams drop theirs on the way.
fn read_best(model: &LanguageModel, state: LanguageState, beams: Beams) -> Generated {
    let [rows, count, length] = beams.tokens.dims();
    let best = |length| [0..rows, count - 1..count, 0..length];
    let tokens = beams.tokens.clone().slice(best(length));
    let vocabulary = model.vocabulary();
    let text = pad_behind_end(tokens.clone(), &vocabulary);
    let tokens = tokens.squeeze_dim::<2>(1);
    // One end is read, as it is while writing; what follows the longest text is not.
    let words = tokens.clone().not_equal_elem(vocabulary.end).int().sum_dim(1);
    let longest = words.max().into_scalar::<i64>().max(1) as usize;
    let text = text.squeeze_dim::<2>(1).narrow(1, 0, (longest + 1).min(length));
    Generated {
        features: model.read_text(state, text),
        tokens,
        log_probs: beams.log_probs.clone().slice(best(length)).squeeze_dim(1),
        scores: beams.scores.clone().narrow(1, count - 1, 1).squeeze_dim(1),
        beams: Some(beams),
    }
}

/// Takes the most probable token at each step, the same never twice in a row. Arguments as those of
/// [`write`].
pub fn greedy(model: &LanguageModel, state: LanguageState, max_tokens: usize) -> Generated {
    write_tokens(model, state, max_tokens, true, most_probable)
}

/// Draws each token. For several texts of each prefix, repeat the rows of `state`. Arguments as those of
/// [`write`].
pub fn sample(
    model: &LanguageModel,
    state: LanguageState,
    max_tokens: usize,
    config: &SampleConfig,
) -> Generated {
    let mut sampler = Sampler::new(config, state.num_rows());
    let draw = |log_probs| sampler.draw(log_probs);
    write_tokens(model, state, max_tokens, config.suppress_repeats, draw)
}

/// As [`write_by`], over what `model` reads after `state`.
fn write_tokens(
    model: &LanguageModel,
    mut state: LanguageState,
    max_tokens: usize,
    suppress: bool,
    choose: impl FnMut(Tensor<2>) -> Tensor<2, Int>,
) -> Generated {
    let rows = state.num_rows();
    let max_tokens = max_tokens.min(model.max_text_tokens());
    let read = |tokens: Tensor<2, Int>| {
        let features = model.read(&mut state, tokens);
        (model.logits(features.clone()).squeeze_dim(1), features)
    };
    write_by(read, choose, suppress, rows, max_tokens, &model.vocabulary(), &model.device())
}

/// Log-probabilities `[R, V]` → the largest of each row, `[R, 1]`.
pub fn most_probable(log_probs: Tensor<2>) -> Tensor<2, Int> {
    log_probs.argmax(1)
}

/// `logits` `[R, V]` of what follows the tokens `previous` `[R, 1]`, in which these follow themselves
/// never.
pub fn suppress_repeats(logits: Tensor<2>, previous: Tensor<2, Int>) -> Tensor<2> {
    let suppressed = logits.clone().gather(1, previous.clone()).clamp_max(FORBIDDEN);
    logits.scatter(1, previous, suppressed, IndexingUpdateOp::Assign)
}

/// Decoding over any `read`: the last token of each row `[R, 1]` → logits `[R, V]` and features
/// `[R, 1, D]`; `choose` takes a token `[R, 1]` by log-probabilities `[R, V]`. With `suppress`, no token
/// follows itself.
pub fn write_by(
    mut read: impl FnMut(Tensor<2, Int>) -> (Tensor<2>, Tensor<3>),
    mut choose: impl FnMut(Tensor<2>) -> Tensor<2, Int>,
    suppress: bool,
    rows: usize,
    max_tokens: usize,
    vocabulary: &Vocabulary,
    device: &Device,
) -> Generated {
    let mut previous = Tensor::<2, Int>::full([rows, 1], vocabulary.begin, device);
    let mut tokens = vec![previous.clone()];
    let mut log_probs = vec![Tensor::<2>::zeros([rows, 1], device)];
    let (mut logits, first) = read(previous.clone());
    let mut features = vec![first];
    for _ in 2..max_tokens {
        if suppress {
            logits = suppress_repeats(logits, previous.clone());
        }
        let all = log_softmax(logits, 1);
        let chosen = choose(all.clone());
        let log_prob = all.gather(1, chosen.clone());
        let ended = previous.equal_elem(vocabulary.end);
        previous = chosen.mask_fill(ended.clone(), vocabulary.end);
        tokens.push(previous.clone());
        log_probs.push(log_prob.mask_fill(ended, 0.0));
        if previous.clone().equal_elem(vocabulary.end).all().into_scalar::<bool>() {
            break;
        }
        let (next, feature) = read(previous.clone());
        logits = next;
        features.push(feature);
    }
    let rest = max_tokens.saturating_sub(tokens.len());
    if rest > 0 {
        tokens.push(Tensor::full([rows, rest], vocabulary.end, device));
        log_probs.push(Tensor::zeros([rows, rest], device));
    }
    let (tokens, log_probs) = (Tensor::cat(tokens, 1), Tensor::cat(log_probs, 1));
    let words = tokens.clone().not_equal_elem(vocabulary.end).float().sum_dim(1) - 1.0;
    let scores = log_probs.clone().sum_dim(1) / words.clamp_min(1.0);
    let features = Tensor::cat(features, 1);
    Generated { tokens, log_probs, scores: scores.squeeze_dim(1), features, beams: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 4, pad: 0, begin: 1, end: 2 };

    /// Texts of `rows` in a language in which each token has the same probabilities at every step.
    fn written(
        probabilities: [f32; 4],
        rows: usize,
        choose: impl FnMut(Tensor<2>) -> Tensor<2, Int>,
    ) -> Generated {
        let device = Device::flex();
        let logits = Tensor::<1>::from_data(probabilities, &device).log().unsqueeze::<2>();
        let read = |_: Tensor<2, Int>| {
            (logits.clone().repeat_dim(0, rows), Tensor::zeros([rows, 1, 1], &device))
        };
        write_by(read, choose, true, rows, 6, &VOCABULARY, &device)
    }

    fn ids(generated: &Generated) -> Vec<i64> {
        generated.tokens.to_data().iter::<i64>().collect()
    }

    #[test]
    fn no_token_follows_itself_and_the_score_counts_the_end_but_not_its_length() {
        // 3 is the most probable, then 0: they must alternate up to the last place.
        let generated = written([0.3, 0.1, 0.2, 0.4], 1, most_probable);
        assert_eq!(ids(&generated), [1, 3, 0, 3, 0, 2]);
        // Without the token before: 0.4 / 0.9, then 0.3 / 0.6 and 0.4 / 0.7.
        let expected = ((0.4f32 / 0.9).ln() + 2.0 * 0.5f32.ln() + (0.4f32 / 0.7).ln()) / 4.0;
        let score = generated.scores.clone().into_scalar::<f32>();
        assert!((score - expected).abs() < 1e-5, "{score} {expected}");
        let ended = written([0.1, 0.1, 0.7, 0.1], 1, most_probable);
        assert_eq!(ids(&ended), [1, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn drawn_texts_end_and_keep_the_model_s_own_log_probabilities() {
        let config = SampleConfig { temperature: 0.3, ..SampleConfig::default() };
        let rows = 500;
        let mut sampler = Sampler::new(&config, rows);
        let generated = written([0.3, 0.1, 0.2, 0.4], rows, |log_probs| sampler.draw(log_probs));
        let ids = ids(&generated);
        let log_probs: Vec<f32> = generated.log_probs.into_data().iter::<f32>().collect();
        // After begin 0.3, 0.2 and 0.4 of 0.9 are left; at this temperature 3 is drawn mostly.
        let first = |token: i64| ids.chunks(6).filter(|text| text[1] == token).count();
        assert!(first(1) == 0 && first(3) > first(0) && first(0) > first(2) && first(2) > 0);
        for (text, log_probs) in ids.chunks(6).zip(log_probs.chunks(6)) {
            let share = [0.3f32, 0.0, 0.2, 0.4][text[1] as usize] / 0.9;
            assert!((log_probs[1] - share.ln()).abs() < 1e-5);
            let end = text.iter().position(|&id| id == 2).unwrap_or(6);
            assert!(text[end..].iter().all(|&id| id == 2), "{text:?}");
            assert!(log_probs[(end + 1).min(6)..].iter().all(|&one| one == 0.0));
            assert!(text[..end].windows(2).all(|pair| pair[0] != pair[1]), "{text:?}");
        }
    }

    #[test]
    fn without_suppression_a_token_may_follow_itself() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.3f32, 0.1, 0.2, 0.4]], &device).log();
        let read = |_| (logits.clone(), Tensor::zeros([1, 1, 1], &device));
        let text = write_by(read, most_probable, false, 1, 5, &VOCABULARY, &device);
        assert_eq!(ids(&text), [1, 3, 3, 3, 2]);
    }

    #[test]
    fn a_suppressed_logit_is_lowered_and_never_raised() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[1.5, -20_000.0], [2.5, 3.5]], &device);
        let previous = |ids: [[i64; 1]; 2]| Tensor::<2, Int>::from_data(ids, &device);
        let values = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        let lowered = suppress_repeats(logits.clone(), previous([[0], [1]]));
        assert_eq!(values(lowered), [-10_000.0, -20_000.0, 2.5, -10_000.0]);
        let lowered = suppress_repeats(logits, previous([[1], [0]]));
        assert_eq!(values(lowered), [1.5, -20_000.0, -10_000.0, 3.5]);
    }

    #[test]
    fn the_first_end_stays_and_from_the_second_on_is_padding() {
        let device = Device::flex();
        let vocabulary = Vocabulary { size: 8, pad: 0, begin: 1, end: 2 };
        let texts = [[[1, 5, 2, 2, 2], [1, 5, 6, 7, 2], [1, 2, 4, 2, 3]]];
        let read = pad_behind_end(Tensor::<3, Int>::from_data(texts, &device), &vocabulary);
        let expected = [1, 5, 2, 0, 0, 1, 5, 6, 7, 2, 1, 2, 4, 0, 0];
        assert_eq!(read.into_data().iter::<i64>().collect::<Vec<_>>(), expected);
    }
}

use burn::tensor::Distribution;

use super::super::LanguageConfig;
use super::super::decoding::greedy;
use super::super::git::{self, GitConfig};
use super::*;

const VOCABULARY: Vocabulary = Vocabulary { size: 4, pad: 0, begin: 1, end: 2 };

/// A language in which the next token depends on the last: `table[last][next]` probabilities.
fn search(table: [[f32; 4]; 4], max_tokens: usize, config: &BeamConfig) -> (Vec<i64>, Vec<f32>) {
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
    let config = BeamConfig { beams: 2, length_penalty: 0.0, ..BeamConfig::default() };
    let (tokens, scores) = search(GARDEN_PATH, 5, &config);
    assert_eq!(tokens[5..], [1, 3, 2, 2, 2]);
    assert!((scores[1] - (0.4f32 * 0.94).ln()).abs() < 1e-5);
    assert!(scores[0] < scores[1]);
}

#[test]
fn a_finished_text_is_divided_by_the_penalty_of_its_length() {
    let config = BeamConfig { beams: 2, length_penalty: 1.0, ..BeamConfig::default() };
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
    let config = GitConfig { initial_deviation: 0.7, ..git::tests::config() };
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
        let past = so_far.take().map(|past| match parents {
            Some(parents) => past.select(0, parents),
            None => past,
        });
        let texts = Tensor::cat(past.into_iter().chain([tokens]).collect(), 1);
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

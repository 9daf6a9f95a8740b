//! Writing texts token by token (`spec/inference.md` §4).

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor};

use super::{LanguageModel, LanguageState, Vocabulary};

/// The logit of a token that must not follow.
const FORBIDDEN: f32 = -10_000.0;
/// Below it, the noise of sampling could not be told from rounding.
const LOWEST_TEMPERATURE: f64 = 1e-4;

/// Texts that a model wrote: `R` rows of `M` tokens.
#[derive(Debug, Clone)]
pub struct Generated {
    /// `[R, M]`: begin, words, end; end again in what is left.
    pub tokens: Tensor<2, Int>,
    /// Log-probability of each token, `[R, M]`; 0 at begin and after the first end.
    pub log_probs: Tensor<2>,
    /// Features of every token that was read, `[R, T, D]` with `T ≤ M`: at least up to the last word
    /// of each row. Texts are causal, so these are what reading the whole text at once would give.
    pub features: Tensor<3>,
}

impl Generated {
    /// Σ log-probability / number of words, `[R]`: the end counts in the sum, not in the number.
    pub fn scores(&self, vocabulary: &Vocabulary) -> Tensor<1> {
        let words = self.tokens.clone().not_equal_elem(vocabulary.end).float().sum_dim(1) - 1.0;
        let scores = self.log_probs.clone().sum_dim(1) / words.clamp_min(1.0);
        scores.squeeze_dim(1)
    }
}

/// Written texts `[B, N, L]`, filled up with ends, as texts to read: from the second end on, padding.
pub fn pad_behind_end(tokens: Tensor<3, Int>, vocabulary: &Vocabulary) -> Tensor<3, Int> {
    let ends = tokens.clone().equal_elem(vocabulary.end).int().cumsum(2);
    tokens.mask_fill(ends.greater_elem(1), vocabulary.pad)
}

/// Takes the most probable token at each step, the same never twice in a row. The last of
/// `max_tokens` is always an end; more tokens than the model has positions cannot be asked for.
///
/// `state` has read the prefix of each of the `R` texts and nothing else.
pub fn greedy(model: &LanguageModel, state: LanguageState, max_tokens: usize) -> Generated {
    write(model, state, max_tokens, most_probable)
}

/// As [`greedy`], but draws each token with the probability that the model gives it once logits are
/// divided by `temperature`: 1 as the model says, towards 0 the most probable. For several texts of
/// each prefix, repeat the rows of `state`.
pub fn sample(
    model: &LanguageModel,
    state: LanguageState,
    max_tokens: usize,
    temperature: f64,
) -> Generated {
    write(model, state, max_tokens, |log_probs| drawn(log_probs, temperature))
}

fn write(
    model: &LanguageModel,
    mut state: LanguageState,
    max_tokens: usize,
    choose: impl Fn(Tensor<2>) -> Tensor<2, Int>,
) -> Generated {
    let rows = state.num_rows();
    let max_tokens = max_tokens.min(model.max_text_tokens());
    let read = |tokens: Tensor<2, Int>| {
        let features = model.read(&mut state, tokens);
        (model.logits(features.clone()).squeeze_dim(1), features)
    };
    write_by(read, choose, rows, max_tokens, &model.vocabulary(), &model.device())
}

/// Log-probabilities `[R, V]` → the largest of each row, `[R, 1]`.
pub fn most_probable(log_probs: Tensor<2>) -> Tensor<2, Int> {
    log_probs.argmax(1)
}

/// Log-probabilities `[R, V]` → one token of each row, `[R, 1]`, drawn with Gumbel noise: the largest
/// of log-probabilities with such noise is each token as often as its probability says.
fn drawn(log_probs: Tensor<2>, temperature: f64) -> Tensor<2, Int> {
    let uniform = Distribution::Uniform(f64::from(f32::MIN_POSITIVE), 1.0);
    let uniform = Tensor::<2>::random(log_probs.dims(), uniform, &log_probs.device());
    // A draw of exactly 1 would be an infinity.
    let noise = -(-uniform.log()).clamp_min(f32::MIN_POSITIVE).log();
    (log_probs / temperature.max(LOWEST_TEMPERATURE) + noise).argmax(1)
}

/// Decoding over any `read`: the last token of each row `[R, 1]` → logits `[R, V]` and features
/// `[R, 1, D]`; `choose` takes a token `[R, 1]` by log-probabilities `[R, V]`.
pub fn write_by(
    mut read: impl FnMut(Tensor<2, Int>) -> (Tensor<2>, Tensor<3>),
    choose: impl Fn(Tensor<2>) -> Tensor<2, Int>,
    rows: usize,
    max_tokens: usize,
    vocabulary: &Vocabulary,
    device: &Device,
) -> Generated {
    let mut previous = Tensor::<2, Int>::full([rows, 1], vocabulary.begin, device);
    let mut tokens = vec![previous.clone()];
    let mut log_probs = vec![Tensor::<2>::zeros([rows, 1], device)];
    let ids = Tensor::<1, Int>::arange(0..vocabulary.size as i64, device).unsqueeze::<2>();
    let (mut logits, first) = read(previous.clone());
    let mut features = vec![first];
    for _ in 2..max_tokens {
        let repeated = ids.clone().equal(previous.clone());
        let suppressed = logits.clone().clamp_max(FORBIDDEN);
        let scores = log_softmax(logits.mask_where(repeated, suppressed), 1);
        let chosen = choose(scores.clone());
        let score = scores.gather(1, chosen.clone());
        let ended = previous.equal_elem(vocabulary.end);
        previous = chosen.mask_fill(ended.clone(), vocabulary.end);
        tokens.push(previous.clone());
        log_probs.push(score.mask_fill(ended, 0.0));
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
    Generated {
        tokens: Tensor::cat(tokens, 1),
        log_probs: Tensor::cat(log_probs, 1),
        features: Tensor::cat(features, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 4, pad: 0, begin: 1, end: 2 };

    /// Texts of `rows` in a language in which each token has the same probabilities at every step.
    fn written(
        probabilities: [f32; 4],
        rows: usize,
        choose: impl Fn(Tensor<2>) -> Tensor<2, Int>,
    ) -> Generated {
        let device = Device::flex();
        let logits = Tensor::<1>::from_data(probabilities, &device).log().unsqueeze::<2>();
        let read = |_: Tensor<2, Int>| {
            (logits.clone().repeat_dim(0, rows), Tensor::zeros([rows, 1, 1], &device))
        };
        write_by(read, choose, rows, 6, &VOCABULARY, &device)
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
        let score = generated.scores(&VOCABULARY).into_scalar::<f32>();
        assert!((score - expected).abs() < 1e-5, "{score} {expected}");
        let ended = written([0.1, 0.1, 0.7, 0.1], 1, most_probable);
        assert_eq!(ids(&ended), [1, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn samples_are_as_frequent_as_probable_and_a_low_temperature_is_greedy() {
        Device::flex().seed(3);
        let probabilities = [0.2, 0.1, 0.1, 0.6];
        let first = |temperature: f64| {
            let rows = 2000;
            let generated = written(probabilities, rows, |scores| drawn(scores, temperature));
            let first = generated.tokens.narrow(1, 1, 1).equal_elem(3).int().sum();
            first.into_scalar::<i64>() as f64 / rows as f64
        };
        // Begin is not drawn after itself.
        let share = first(1.0);
        assert!((share - 0.6 / 0.9).abs() < 0.05, "{share}");
        assert!(first(0.0) > 0.999);
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

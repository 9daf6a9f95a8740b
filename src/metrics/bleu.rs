//! BLEU (Papineni et al., 2002) as the COCO evaluation computes it: with the reference of the closest
//! length, and with small numbers in place of smoothing.

use super::coco::{CaptionScore, Captions, MAX_NGRAM};
use super::ngrams::{self, Numbered};

/// Added to numbers of n-grams and lengths that are divided by, so that none is 0. Like [`TINY`] it shows
/// in the scores of single images, and is the COCO evaluation's.
const SMALL: f64 = 1e-9;
/// Added to numbers of matches, so that a product without matches is not 0 but small.
const TINY: f64 = 1e-15;

/// Counts of one image, or sums over many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    candidate_length: usize,
    reference_length: usize,
    /// n-grams of the candidate, by n.
    ngrams: [usize; MAX_NGRAM],
    /// Of these, those that a reference has; each counts as often as the reference that has it most.
    matches: [usize; MAX_NGRAM],
}

impl Counts {
    pub(super) fn of(captions: &Numbered) -> Self {
        let Numbered { candidate, references } = captions;
        let length = candidate.len();
        // Of two that are equally close, the shorter.
        let closest = references.iter().map(|r| (r.len().abs_diff(length), r.len())).min();
        let mut counts = Self {
            candidate_length: length,
            reference_length: closest.map_or(0, |(_, length)| length),
            ..Self::default()
        };
        let ours = ngrams::counts(candidate);
        let mut most = vec![0; ours.len()];
        for reference in references {
            let theirs = ngrams::counts(reference);
            for (at, other) in ngrams::common(&ours, &theirs) {
                most[at] = theirs[other].1.max(most[at]);
            }
        }
        for (&(ngram, count), most) in ours.iter().zip(most) {
            let n = ngrams::length(ngram) - 1;
            counts.ngrams[n] += count;
            counts.matches[n] += count.min(most);
        }
        counts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.candidate_length += other.candidate_length;
        self.reference_length += other.reference_length;
        for n in 0..MAX_NGRAM {
            self.ngrams[n] += other.ngrams[n];
            self.matches[n] += other.matches[n];
        }
    }

    /// BLEU-1 to BLEU-4: geometric means of the precisions, less where the candidate is too short.
    pub(super) fn scores(&self) -> [f64; MAX_NGRAM] {
        let ratio = (self.candidate_length as f64 + TINY) / (self.reference_length as f64 + SMALL);
        let brevity_penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|n| {
            product *= (self.matches[n] as f64 + TINY) / (self.ngrams[n] as f64 + SMALL);
            product.powf(1.0 / (n as f64 + 1.0)) * brevity_penalty
        })
    }
}

/// BLEU-1 to BLEU-4 of a set: counts are summed over the images, not scores.
pub fn bleu(set: &[Captions]) -> [CaptionScore; MAX_NGRAM] {
    let mut sum = Counts::default();
    let mut per_image = Vec::with_capacity(set.len());
    for captions in set {
        let counts = Counts::of(&ngrams::numbered(captions));
        sum.add(&counts);
        per_image.push(counts.scores());
    }
    let corpus = if set.is_empty() { [0.0; MAX_NGRAM] } else { sum.scores() };
    std::array::from_fn(|n| CaptionScore {
        corpus: corpus[n],
        per_image: per_image.iter().map(|scores| scores[n]).collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(captions: &[(&str, &[&str])]) -> Vec<Captions> {
        captions.iter().map(|(said, texts)| Captions::of(said, texts).unwrap()).collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn precisions_and_their_geometric_means_by_hand() {
        // Words: 4 of 5 ("a" counts once per reference's one), pairs: "small red", "red circle" of 4,
        // triples: "small red circle" of 3.
        let scores = bleu(&set(&[("the small red circle a", &["a small red circle there"])]));
        close(scores[0].corpus, 0.8);
        close(scores[1].corpus, (0.8_f64 * 0.5).sqrt());
        close(scores[2].corpus, (0.8_f64 * 0.5 / 3.0).cbrt());
        // No match of 2: (… · 1e-15 / 2)^¼.
        close(scores[3].corpus, (0.8_f64 * 0.5 / 3.0 * 1e-15 / 2.0).powf(0.25));
    }

    #[test]
    fn counts_are_summed_over_images() {
        // 1 of 1 words and 1 of 3: 2 of 4, not the mean 2/3. Lengths 4 and 1 + 3.
        let [scores, ..] = bleu(&set(&[("red", &["red"]), ("a red one", &["two blue red"])]));
        close(scores.corpus, 0.5);
        close(scores.per_image[0], 1.0);
        close(scores.per_image[1], 1.0 / 3.0);
    }

    #[test]
    fn a_short_caption_is_penalised_against_the_closest_reference() {
        let references: &[&str] = &["red circle and blue square", "red circle on top"];
        let [scores, ..] = bleu(&set(&[("red circle", references)]));
        // 2 words against 4 (not 5).
        close(scores.corpus, (1.0_f64 - 2.0).exp());
        let [scores, ..] = bleu(&set(&[("", references)]));
        close(scores.corpus, 0.0);
    }

    #[test]
    fn a_repeated_word_counts_as_often_as_the_reference_that_has_it_most() {
        let references: &[&str] = &["the cat is on the mat", "there is a cat on the mat"];
        let [scores, ..] = bleu(&set(&[("the the the the the the the", references)]));
        close(scores.corpus, 2.0 / 7.0);
    }
}

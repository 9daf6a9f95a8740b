//! CIDEr (Vedantam et al., 2015) as the COCO evaluation computes it, with the clipping and the length
//! penalty of CIDEr-D: how much of the references' *telling* n-grams a caption has, where those that
//! occur with many images of the set tell little.

use std::collections::HashMap;

use rayon::prelude::*;

use super::coco::{CaptionScore, Captions, MAX_NGRAM};
use super::ngrams::{self, FastHash, Ngram, Numbered};

/// Standard deviation of the length penalty, in words; CIDEr-D's.
const SIGMA: f64 = 6.0;
/// Brings scores to a readable size; CIDEr's.
const SCALE: f64 = 10.0;

/// Weighted n-grams of a caption.
struct Weighted {
    /// In order.
    weights: Vec<(Ngram, f64)>,
    /// Euclidean norms, by n.
    norms: [f64; MAX_NGRAM],
    /// The number of word *pairs*, which the penalty is about in the COCO evaluation: one less than the
    /// number of words, so that differences are the same but for an empty caption.
    length: f64,
}

/// What an n-gram tells: less, the more images of a set it occurs with.
struct Tellings {
    /// Of the n-grams of references.
    known: HashMap<Ngram, f64, FastHash>,
    /// Of all others, the most.
    unknown: f64,
}

impl Tellings {
    fn of(set: &[Numbered]) -> Self {
        let log_num_images = (set.len() as f64).ln();
        let mut known: HashMap<Ngram, f64, FastHash> = HashMap::default();
        let mut once = Vec::new();
        for captions in set {
            once.clear();
            captions.references.iter().for_each(|words| ngrams::extend(&mut once, words));
            once.sort_unstable();
            once.dedup();
            for &ngram in &once {
                *known.entry(ngram).or_default() += 1.0;
            }
        }
        known.values_mut().for_each(|images| *images = log_num_images - images.ln());
        Self { known, unknown: log_num_images }
    }

    fn weigh(&self, caption: &[u32]) -> Weighted {
        let mut norms = [0.0; MAX_NGRAM];
        let weigh = |(ngram, count): (Ngram, usize)| {
            let telling = self.known.get(&ngram).copied().unwrap_or(self.unknown);
            let weight = count as f64 * telling;
            norms[ngrams::length(ngram) - 1] += weight * weight;
            (ngram, weight)
        };
        let weights = ngrams::counts(caption).into_iter().map(weigh).collect();
        let length = caption.len().saturating_sub(1) as f64;
        Weighted { weights, norms: norms.map(f64::sqrt), length }
    }
}

impl Weighted {
    /// Cosine similarity, mean over n; weights above the reference's count as the reference's.
    fn similarity(&self, reference: &Self) -> f64 {
        let mut similarity = [0.0; MAX_NGRAM];
        for (ours, theirs) in ngrams::common(&self.weights, &reference.weights) {
            let ((ngram, weight), (_, theirs)) = (self.weights[ours], reference.weights[theirs]);
            similarity[ngrams::length(ngram) - 1] += weight.min(theirs) * theirs;
        }
        for (similarity, (ours, theirs)) in
            similarity.iter_mut().zip(self.norms.iter().zip(reference.norms))
        {
            if *ours != 0.0 && theirs != 0.0 {
                *similarity /= ours * theirs;
            }
        }
        let difference = self.length - reference.length;
        let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        similarity.iter().sum::<f64>() / MAX_NGRAM as f64 * penalty
    }
}

/// CIDEr of a set: the mean over the images. In a set of one image every n-gram occurs with all images
/// and tells nothing: its score is 0.
pub fn cider(set: &[Captions]) -> CaptionScore {
    cider_of_numbered(&ngrams::numbered_set(set))
}

/// As [`cider`], of captions that were numbered as a set.
pub(super) fn cider_of_numbered(set: &[Numbered]) -> CaptionScore {
    let tellings = Tellings::of(set);
    let scores = set.par_iter().map(|captions| {
        let candidate = tellings.weigh(&captions.candidate);
        let references = captions.references.iter();
        let similarities =
            references.map(|reference| candidate.similarity(&tellings.weigh(reference)));
        SCALE * super::mean(similarities).unwrap_or(0.0)
    });
    CaptionScore::mean_of(scores.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn score(captions: &[(&str, &[&str])]) -> CaptionScore {
        let set = captions.iter().map(|(said, texts)| Captions::of(said, texts).unwrap());
        cider(&set.collect::<Vec<_>>())
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn a_right_caption_scores_ten_times_the_share_of_lengths_that_it_has() {
        // Two words: n = 1 and n = 2 are 1 each, n = 3 and n = 4 have nothing: 10 · 2 / 4.
        let scores = score(&[("red circle", &["red circle"]), ("blue square", &["blue square"])]);
        close(scores.corpus, 5.0);
    }

    #[test]
    fn words_of_every_image_count_nothing() {
        // "a" is in both: weight ln 2 − ln 2 = 0. "a red": "red" 1 of 1 word; the pair 1 of 1.
        let scores = score(&[("a red", &["a red"]), ("a red", &["a blue"])]);
        close(scores.per_image[0], 5.0);
        close(scores.per_image[1], 0.0);
    }

    #[test]
    fn repetition_is_clipped_and_length_penalised() {
        // "red red" against "red": weights 2 ln 2 and ln 2, clipped to ln 2 · ln 2 / (2 ln 2 · ln 2);
        // lengths differ by 1.
        let scores = score(&[("red red", &["red"]), ("blue", &["blue"])]);
        close(scores.per_image[0], 10.0 * 0.5 / 4.0 * (-1.0_f64 / 72.0).exp());
        close(scores.per_image[1], 2.5);
        assert_eq!(score(&[("", &["red"]), ("blue", &["blue"])]).per_image[0], 0.0);
    }

    #[test]
    fn a_set_of_one_image_has_nothing_to_tell() {
        assert_eq!(score(&[("red circle", &["red circle"])]).corpus, 0.0);
        assert_eq!(score(&[]), CaptionScore { corpus: 0.0, per_image: vec![] });
    }
}

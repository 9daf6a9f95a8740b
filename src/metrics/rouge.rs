//! ROUGE-L (Lin, 2004) as the COCO evaluation computes it.

use std::borrow::Borrow;

use rayon::prelude::*;

use super::coco::{CaptionScore, Captions};

/// How much recall weighs against precision: the COCO evaluation's.
const BETA: f64 = 1.2;

/// ROUGE-L of a set: from longest common subsequences with the references, the largest precision and the
/// largest recall, be they of different references. The mean over the images.
pub fn rouge_l(set: &[impl Borrow<Captions> + Sync]) -> CaptionScore {
    let scores = set.par_iter().map(|captions| of_image(captions.borrow()));
    CaptionScore::mean_of(scores.collect())
}

fn of_image(captions: &Captions) -> f64 {
    let candidate: Vec<&str> = captions.candidate.split(' ').collect();
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &captions.references {
        let reference: Vec<&str> = reference.split(' ').collect();
        let common = longest_common_subsequence(&candidate, &reference) as f64;
        precision = precision.max(common / candidate.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
    // lengths[j]: of what was seen of `a` with the first j of `b`.
    let mut lengths = vec![0; b.len() + 1];
    for word in a {
        let mut before = 0;
        for (j, other) in b.iter().enumerate() {
            let above = lengths[j + 1];
            lengths[j + 1] = if word == other { before + 1 } else { above.max(lengths[j]) };
            before = above;
        }
    }
    lengths[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn score(candidate: &str, references: &[&str]) -> f64 {
        rouge_l(&[Captions::of(candidate, references).unwrap()]).corpus
    }

    #[test]
    fn subsequences_may_have_gaps_and_keep_their_order() {
        let length = |a: &str, b: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (a.split(' ').collect(), b.split(' ').collect());
            longest_common_subsequence(&a, &b)
        };
        assert_eq!(length("a x b y c", "a b c"), 3);
        assert_eq!(length("c b a", "a b c"), 1);
        assert_eq!(length("a b c b d a b", "b d c a b a"), 4);
        assert_eq!(length("a", "b"), 0);
    }

    #[test]
    fn precision_and_recall_may_be_of_different_references() {
        // "red circle": 2 of 2 written; of "big red" 1 of 2, of the long one 2 of 5.
        let found = score("red circle", &["big red", "a red and round circle"]);
        let (precision, recall) = (1.0, 0.5);
        assert!((found - 2.44 * precision * recall / (recall + 1.44 * precision)).abs() < 1e-12);
        assert_eq!(score("red", &["red"]), 1.0);
        assert_eq!(score("", &["red"]), 0.0);
        assert_eq!(score("blue", &["red"]), 0.0);
    }
}

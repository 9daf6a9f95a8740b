//! Captions as the COCO evaluation compares them: tokenised, and joined by single spaces.
//!
//! Captions stay text here because the measures cut it at different places: BLEU and CIDEr at any white
//! space, ROUGE-L at spaces only, for which an empty caption is one empty token.

use super::penn_treebank::tokenize;

/// The longest n-grams that BLEU and CIDEr look at.
pub(super) const MAX_NGRAM: usize = 4;

/// Tokenised captions of an image (or a region).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captions {
    /// What was written.
    pub candidate: String,
    /// What people wrote.
    pub references: Vec<String>,
}

impl Captions {
    /// Tokenises the captions. References without tokens are left out, and there is nothing to compare
    /// where none is left.
    pub fn of(candidate: &str, references: &[impl AsRef<str>]) -> Option<Self> {
        let references = references.iter().map(|reference| tokenize(reference.as_ref()));
        let references: Vec<_> = references.filter(|reference| !reference.is_empty()).collect();
        (!references.is_empty()).then(|| Self { candidate: tokenize(candidate), references })
    }

    /// Tokenises the captions and keeps all of them, as the COCO evaluation does.
    pub fn all_of(candidate: &str, references: &[impl AsRef<str>]) -> Self {
        let references = references.iter().map(|reference| tokenize(reference.as_ref()));
        Self { candidate: tokenize(candidate), references: references.collect() }
    }
}

/// A measure of a set of captions.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptionScore {
    /// Of the whole set; for BLEU not the mean of the images.
    pub corpus: f64,
    /// Of each image, in the order of the set.
    pub per_image: Vec<f64>,
}

impl CaptionScore {
    /// The mean of the images is the score of the set; 0 of an empty set.
    pub(super) fn mean_of(per_image: Vec<f64>) -> Self {
        Self { corpus: super::mean(per_image.iter().copied()).unwrap_or(0.0), per_image }
    }
}

/// Words between white space.
pub(super) fn words(caption: &str) -> impl Iterator<Item = &str> {
    caption.split_whitespace()
}

//! Floor 1: scores on plain data; no tensors, no model.

pub mod attributes;
pub mod bleu;
pub mod bootstrap;
pub mod caption_set;
pub mod captions;
pub mod cider;
pub mod coco;
pub mod dense_captions;
pub mod located_captions;
pub mod located_expressions;
pub mod merging;
pub mod meteor;
mod ngrams;
pub mod penn_treebank;
pub mod point;
pub mod referring;
pub mod referring_masks;
pub mod rouge;
pub mod sample_set;
pub mod score;
pub mod trace;
pub mod word_places;

pub use score::{Evaluation, Score};

/// Mean of `values`; `None` of none. A value that is no number makes the mean none either, so that a
/// broken model is not scored by the answers that happen to be whole.
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        values.into_iter().fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_nothing_is_none() {
        assert_eq!(mean([]), None);
        assert_eq!(mean([1.0, 2.0, 6.0]), Some(3.0));
        assert!(mean([1.0, f64::NAN]).is_some_and(f64::is_nan));
    }
}

//! Two plain measures of captions on any data: the same words, and how many words are shared.
//!
//! Words are runs of letters and digits, in lower case. Of several references, the best counts.

use std::collections::HashMap;

/// The words of a caption.
pub fn words(caption: &str) -> Vec<String> {
    let lower = caption.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_string).collect()
}

/// Whether the caption has the words of a reference, in its order.
pub fn is_exact_match(predicted: &str, references: &[impl AsRef<str>]) -> bool {
    let predicted = words(predicted);
    references.iter().any(|reference| words(reference.as_ref()) == predicted)
}

/// F1 of the words shared with the best reference, whatever their order; a word counts as often as
/// both have it. 1 where both have no words.
pub fn token_f1(predicted: &str, references: &[impl AsRef<str>]) -> f64 {
    let predicted = words(predicted);
    references
        .iter()
        .map(|reference| f1(&predicted, &words(reference.as_ref())))
        .fold(0.0, f64::max)
}

fn f1(predicted: &[String], reference: &[String]) -> f64 {
    let total = predicted.len() + reference.len();
    if total == 0 {
        return 1.0;
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in reference {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in predicted {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    // The harmonic mean of shared / predicted and shared / reference.
    2.0 * f64::from(shared) / total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_do_not_count() {
        assert!(is_exact_match("A red circle .", &["a blue one", "a Red, circle"]));
        assert!(!is_exact_match("red a circle", &["a red circle"]));
        assert_eq!(token_f1("red a circle", &["a red circle"]), 1.0);
    }

    #[test]
    fn repeated_words_count_as_often_as_both_have_them() {
        // Shared: "red" once, "circle": 2 of 4 and 2 of 2.
        assert!((token_f1("red red red circle", &["red circle"]) - 2.0 * 2.0 / 6.0).abs() < 1e-12);
        assert_eq!(token_f1("red", &["blue", "red"]), 1.0, "the best reference counts");
        assert_eq!(token_f1("red", &["blue"]), 0.0);
        assert_eq!(token_f1("", &["..."]), 1.0);
        assert_eq!(token_f1("", &["red"]), 0.0);
        assert_eq!(token_f1("red", &[""; 0]), 0.0);
    }
}

//! Whether captions of things name the right attributes: size, colour, fill pattern, shape.
//!
//! Only what the reference says is asked for; an attribute that the prediction adds costs nothing.

/// The word of each attribute in a caption; `None` where it is not said.
pub type AttributeWords<'a> = [Option<&'a str>; 4];

/// Shares of attributes that are right; higher is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttributeScores {
    /// Of all attributes that the references say, the share that the predictions say the same.
    pub attribute_accuracy: f64,
    /// Of all captions whose reference says an attribute, the share with every one right.
    pub all_attributes: f64,
    /// Captions whose reference says an attribute.
    pub num_captions: usize,
}

impl AttributeScores {
    /// Scores of `(predicted, reference)`; `None` where no reference says an attribute.
    pub fn of<'a>(
        captions: impl IntoIterator<Item = (AttributeWords<'a>, AttributeWords<'a>)>,
    ) -> Option<Self> {
        let (mut asked, mut right, mut all_right, mut num_captions) = (0_usize, 0, 0_usize, 0);
        for (predicted, reference) in captions {
            let said: Vec<bool> = predicted
                .iter()
                .zip(&reference)
                .filter(|(_, reference)| reference.is_some())
                .map(|(predicted, reference)| predicted == reference)
                .collect();
            if said.is_empty() {
                continue;
            }
            let number_right = said.iter().filter(|&&right| right).count();
            asked += said.len();
            right += number_right;
            all_right += usize::from(number_right == said.len());
            num_captions += 1;
        }
        (num_captions > 0).then(|| Self {
            attribute_accuracy: right as f64 / asked as f64,
            all_attributes: all_right as f64 / num_captions as f64,
            num_captions,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_reference_says_is_asked_for() {
        let small_red_circle = [Some("small"), Some("red"), None, Some("circle")];
        let captions = [
            // All three, and a pattern that nobody asked for.
            ([Some("small"), Some("red"), Some("striped"), Some("circle")], small_red_circle),
            // One wrong, one missing.
            ([Some("small"), Some("blue"), None, None], small_red_circle),
            // Nothing to ask for.
            ([Some("large"), None, None, None], [None; 4]),
        ];
        let scores = AttributeScores::of(captions).unwrap();
        assert!((scores.attribute_accuracy - 4.0 / 6.0).abs() < 1e-12);
        assert_eq!(scores.all_attributes, 0.5);
        assert_eq!(scores.num_captions, 2);
        assert_eq!(AttributeScores::of([([Some("small"); 4], [None; 4])]), None);
    }
}

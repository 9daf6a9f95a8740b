//! Trivial answers, taken from the training split: what a model must beat to have learnt to look.

use std::collections::HashMap;
use std::hash::Hash;

use crate::data::sample::Task;
use crate::data::shapes::attributes::words_of;
use crate::data::source::Source;
use crate::error::Result;
use crate::geometry::BoundingBox;

/// A box without size at the centre of the image: the baseline of places of words.
pub const CENTER: BoundingBox = BoundingBox::new(0.5, 0.5, 0.5, 0.5);

/// The same answer for every image; `None` where the training split has nothing to take it from.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    /// The mean box of the regions of *locate*, normalised to the image.
    pub region: Option<BoundingBox>,
    /// The mean box of the utterances of *narrate*, normalised to the image.
    pub utterance: Option<BoundingBox>,
    /// The most frequent narrative, the first of the file among equals.
    pub narrative: Option<String>,
    /// The most frequent caption of *describe*, the first of the file among equals.
    pub caption: Option<String>,
    /// The most frequent word of each attribute (size, colour, pattern, shape) in the captions of
    /// *describe*: a stronger answer to the question of attributes than any caption of the file, as
    /// captions are often all different.
    pub attributes: [Option<&'static str>; 4],
}

impl Baselines {
    /// Baselines of the sources of the training split.
    ///
    /// # Errors
    /// What [`Samples::get`](crate::data::samples::Samples::get) finds.
    pub fn of(train: &[Source]) -> Result<Self> {
        let (mut regions, mut utterances) = (MeanBox::default(), MeanBox::default());
        let (mut narratives, mut captions) = (MostFrequent::default(), MostFrequent::default());
        let mut attributes: [MostFrequent<&'static str>; 4] = Default::default();
        for source in train {
            for sample in source.samples.iter() {
                for row in &sample?.rows {
                    match source.task() {
                        Task::Locate => regions.add(row.region.unwrap_or(BoundingBox::UNIT)),
                        Task::Narrate => {
                            row.locations.iter().for_each(|place| utterances.add(place.bounds));
                            narratives.add(row.text.clone());
                        }
                        Task::Describe => {
                            let words = words_of(&row.text);
                            for (counts, word) in attributes.iter_mut().zip(words) {
                                word.into_iter().for_each(|word| counts.add(word));
                            }
                            captions.add(row.text.clone());
                        }
                    }
                }
            }
        }
        Ok(Self {
            region: regions.mean(),
            utterance: utterances.mean(),
            narrative: narratives.answer(),
            caption: captions.answer(),
            attributes: attributes.map(MostFrequent::answer),
        })
    }
}

/// The mean of boxes.
#[derive(Debug, Default)]
struct MeanBox {
    sum: [f64; 4],
    count: usize,
}

impl MeanBox {
    fn add(&mut self, bounds: BoundingBox) {
        for (sum, value) in self.sum.iter_mut().zip(bounds.to_array()) {
            *sum += f64::from(value);
        }
        self.count += 1;
    }

    fn mean(&self) -> Option<BoundingBox> {
        let [x0, y0, x1, y1] = self.sum.map(|sum| (sum / self.count as f64) as f32);
        (self.count > 0).then(|| BoundingBox::new(x0, y0, x1, y1))
    }
}

/// What comes most often, the first to come among equals.
#[derive(Debug)]
struct MostFrequent<T> {
    /// How often, and minus the first position, so that the largest is the answer.
    counts: HashMap<T, (usize, isize)>,
    position: isize,
}

impl<T> Default for MostFrequent<T> {
    fn default() -> Self {
        Self { counts: HashMap::new(), position: 0 }
    }
}

impl<T: Eq + Hash> MostFrequent<T> {
    fn add(&mut self, value: T) {
        self.counts.entry(value).or_insert((0, -self.position)).0 += 1;
        self.position += 1;
    }

    fn answer(self) -> Option<T> {
        self.counts.into_iter().max_by_key(|(_, rank)| *rank).map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_box_and_the_most_frequent_text_by_hand() {
        let mean = |boxes: &[BoundingBox]| {
            let mut mean = MeanBox::default();
            boxes.iter().for_each(|bounds| mean.add(*bounds));
            mean.mean()
        };
        let boxes = [BoundingBox::new(0.0, 0.0, 0.5, 1.0), BoundingBox::new(0.5, 0.25, 1.0, 0.75)];
        assert_eq!(mean(&boxes), Some(BoundingBox::new(0.25, 0.125, 0.75, 0.875)));
        assert_eq!(mean(&[]), None);
        let most_frequent = |texts: &[&'static str]| {
            let mut counts = MostFrequent::default();
            texts.iter().for_each(|text| counts.add(*text));
            counts.answer()
        };
        assert_eq!(most_frequent(&["b", "a", "a", "c", "b"]), Some("b"));
        assert_eq!(most_frequent(&["b", "a", "a"]), Some("a"));
        assert_eq!(most_frequent(&[]), None);
    }
}

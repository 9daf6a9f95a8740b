//! Trivial answers, taken from the training split: what a model must beat to have learnt to look.

use std::collections::HashMap;
use std::hash::Hash;

use super::mean_mask::{MaskCounts, MeanMask};
use crate::data::sample::{Row, Task};
use crate::data::shapes::attributes::words_of;
use crate::data::source::Source;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::dense_captions::Detection;

/// A box without size at the centre of the image: the baseline of places of words.
pub const CENTER: BoundingBox = BoundingBox::new(0.5, 0.5, 0.5, 0.5);

/// The same answer for every image; `None` where the training split has nothing to take it from.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    /// The mean box of the regions of *locate*, normalised to the image.
    pub region: Option<BoundingBox>,
    /// The pixels that most often belong to what an expression of *locate* names.
    pub mask: Option<MeanMask>,
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
    /// The same boxes with the same caption in every image, for *detect*.
    pub detections: Option<TrivialDetections>,
}

/// Boxes of the mean size all over the image, with the most frequent caption.
#[derive(Debug, Clone, PartialEq)]
pub struct TrivialDetections {
    /// The most frequent caption of *detect*, the first of the file among equals.
    pub caption: String,
    /// Boxes normalised to the image, half a box apart or less, each with the share of the training
    /// regions that it overlaps by 0.5 or more: its score.
    pub boxes: Vec<(BoundingBox, f32)>,
}

impl TrivialDetections {
    fn of(regions: &[BoundingBox], caption: Option<&str>) -> Option<Self> {
        let mut mean = MeanBox::default();
        regions.iter().for_each(|region| mean.add(*region));
        let mean = mean.mean()?;
        let (columns, rows) = (positions(mean.width())?, positions(mean.height())?);
        let scored = |x: f32, y: f32| {
            let one = BoundingBox::from_xywh(x, y, mean.width(), mean.height());
            let near = regions.iter().filter(|region| region.iou(one) >= 0.5).count();
            (one, near as f32 / regions.len() as f32)
        };
        let row = |&y: &f32| columns.iter().map(move |&x| scored(x, y)).collect::<Vec<_>>();
        let boxes = rows.iter().flat_map(row).collect();
        Some(Self { caption: caption?.to_string(), boxes })
    }

    /// The same in an image of so many pixels.
    pub fn in_image(&self, width: f32, height: f32) -> Vec<Detection> {
        let detection = |(bounds, score): &(BoundingBox, f32)| Detection {
            bounds: bounds.scale(width, height).to_xywh(),
            score: *score,
            caption: self.caption.clone(),
        };
        self.boxes.iter().map(detection).collect()
    }
}

/// Where boxes of a size begin on an axis from 0 to 1: from one end to the other, half a box apart or
/// less; `None` where the size is none.
fn positions(size: f32) -> Option<Vec<f32>> {
    let room = 1.0 - size;
    let is_size = size > 0.0 && room >= 0.0;
    let count = (2.0 * room / size).ceil() as usize;
    let at = |step: usize| room * step as f32 / count.max(1) as f32;
    is_size.then(|| (0..=count).map(at).collect())
}

impl Baselines {
    /// Baselines of the sources of the training split.
    ///
    /// # Errors
    /// What [`Samples::get`](crate::data::samples::Samples::get) finds.
    pub fn of(train: &[Source]) -> Result<Self> {
        let mut seen = Seen::default();
        for source in train {
            for sample in source.samples.iter() {
                sample?.rows.iter().for_each(|row| seen.add(source.task(), row));
            }
        }
        let detected_caption = seen.detected_captions.answer();
        Ok(Self {
            region: seen.regions.mean(),
            mask: seen.masks.mean(),
            utterance: seen.utterances.mean(),
            narrative: seen.narratives.answer(),
            caption: seen.captions.answer(),
            attributes: seen.attributes.map(MostFrequent::answer),
            detections: TrivialDetections::of(&seen.detected, detected_caption.as_deref()),
        })
    }
}

/// What the rows of the training split had so far.
#[derive(Default)]
struct Seen {
    regions: MeanBox,
    masks: MaskCounts,
    utterances: MeanBox,
    narratives: MostFrequent<String>,
    captions: MostFrequent<String>,
    attributes: [MostFrequent<&'static str>; 4],
    detected: Vec<BoundingBox>,
    detected_captions: MostFrequent<String>,
}

impl Seen {
    fn add(&mut self, task: Task, row: &Row) {
        let region = row.region.unwrap_or(BoundingBox::UNIT);
        match task {
            Task::Locate => {
                self.regions.add(region);
                row.mask.iter().for_each(|mask| self.masks.add(mask));
            }
            Task::Narrate => {
                row.locations.iter().for_each(|place| self.utterances.add(place.bounds));
                self.narratives.add(row.text.clone());
            }
            Task::Describe => {
                for (counts, word) in self.attributes.iter_mut().zip(words_of(&row.text)) {
                    word.into_iter().for_each(|word| counts.add(word));
                }
                self.captions.add(row.text.clone());
            }
            Task::Detect => {
                self.detected.push(region);
                self.detected_captions.add(row.text.clone());
            }
        }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn trivial_detections_cover_the_image_and_are_as_sure_as_they_are_often_right() {
        // Both of half the image's width and height: 0, 0.25 and 0.5 on either axis.
        let regions =
            [BoundingBox::new(0.0, 0.0, 0.5, 0.5), BoundingBox::new(0.5, 0.25, 1.0, 0.75)];
        let found = TrivialDetections::of(&regions, Some("a thing")).unwrap();
        assert_eq!(found.boxes.len(), 9);
        let score = |x: f32, y: f32| {
            found.boxes.iter().find(|(one, _)| (one.x0, one.y0) == (x, y)).unwrap().1
        };
        assert_eq!([score(0.0, 0.0), score(0.5, 0.25), score(0.5, 0.5)], [0.5, 0.5, 0.0]);
        let [.., last] = &found.in_image(40.0, 20.0)[..] else { unreachable!() };
        assert_eq!((last.bounds, last.caption.as_str()), ([20.0, 10.0, 20.0, 10.0], "a thing"));
        assert_eq!(TrivialDetections::of(&[], Some("a thing")), None);
        assert_eq!(
            TrivialDetections::of(&[BoundingBox::UNIT], Some("all")).unwrap().boxes.len(),
            1
        );
    }

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

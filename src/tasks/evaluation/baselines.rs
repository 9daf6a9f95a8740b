//! Trivial answers, taken from the training split: what a model must beat to have learnt to look.

use std::collections::HashMap;

use super::mean_mask::MeanMask;
use crate::data::sample::Task;
use crate::data::shapes::attributes::words_of;
use crate::data::source::Source;
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
        let mean = mean_box(regions.iter().copied())?;
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
    pub fn of(train: &[Source]) -> Self {
        let rows = |task: Task| {
            let sources = train.iter().filter(move |source| source.task() == task);
            sources.flat_map(|source| &source.samples).flat_map(|sample| &sample.rows)
        };
        let words: Vec<_> = rows(Task::Describe).map(|row| words_of(&row.text)).collect();
        let detected = rows(Task::Detect).map(|row| row.region.unwrap_or(BoundingBox::UNIT));
        let detected: Vec<BoundingBox> = detected.collect();
        let locations = rows(Task::Narrate).flat_map(|row| &row.locations);
        let texts = |task| rows(task).map(|row| row.text.as_str());
        Self {
            region: mean_box(rows(Task::Locate).map(|row| row.region.unwrap_or(BoundingBox::UNIT))),
            mask: MeanMask::of(rows(Task::Locate).filter_map(|row| row.mask.as_ref())),
            utterance: mean_box(locations.map(|location| location.bounds)),
            narrative: most_frequent(texts(Task::Narrate)).map(str::to_string),
            caption: most_frequent(texts(Task::Describe)).map(str::to_string),
            attributes: [0, 1, 2, 3]
                .map(|attribute| most_frequent(words.iter().filter_map(|words| words[attribute]))),
            detections: TrivialDetections::of(&detected, most_frequent(texts(Task::Detect))),
        }
    }
}

fn mean_box(boxes: impl Iterator<Item = BoundingBox>) -> Option<BoundingBox> {
    let (mut sum, mut count) = ([0.0_f64; 4], 0_usize);
    for bounds in boxes {
        for (sum, value) in sum.iter_mut().zip(bounds.to_array()) {
            *sum += f64::from(value);
        }
        count += 1;
    }
    let [x0, y0, x1, y1] = sum.map(|sum| (sum / count as f64) as f32);
    (count > 0).then(|| BoundingBox::new(x0, y0, x1, y1))
}

/// The text that comes most often, the first to come among equals.
fn most_frequent<'a>(texts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Text → how often, and minus its first position, so that the largest is the answer.
    let mut counts: HashMap<&str, (usize, isize)> = HashMap::new();
    for (text, position) in texts.zip(0_isize..) {
        counts.entry(text).or_insert((0, -position)).0 += 1;
    }
    counts.into_iter().max_by_key(|(_, rank)| *rank).map(|(text, _)| text)
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
        let boxes = [BoundingBox::new(0.0, 0.0, 0.5, 1.0), BoundingBox::new(0.5, 0.25, 1.0, 0.75)];
        let mean = BoundingBox::new(0.25, 0.125, 0.75, 0.875);
        assert_eq!(mean_box(boxes.into_iter()), Some(mean));
        assert_eq!(mean_box(std::iter::empty()), None);
        assert_eq!(most_frequent(["b", "a", "a", "c", "b"].into_iter()), Some("b"));
        assert_eq!(most_frequent(["b", "a", "a"].into_iter()), Some("a"));
        assert_eq!(most_frequent(std::iter::empty()), None);
    }
}

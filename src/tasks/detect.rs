//! *Detect*: image → boxes of what is there, each with a caption (dense object captioning,
//! `spec/inference.md` §2.4).

use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::timing::Stage;
use super::writing::WrittenText;
use super::{Detection, Place};
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::model::heads::boxes::nms;
use crate::model::heads::boxes::rescoring::{Captioned, rescore};

/// A box, normalised to its image, and its score.
type Scored = (BoundingBox, f32);

/// Which of the boxes that the model finds are kept and captioned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionLimits {
    /// Boxes per image, at most: the surest. The model itself has `model.boxes.detections.count`.
    pub count: usize,
    /// Least score.
    pub min_score: f32,
}

/// Everything that the model finds.
impl Default for DetectionLimits {
    fn default() -> Self {
        Self { count: usize::MAX, min_score: 0.0 }
    }
}

impl Predictor {
    /// The boxes of every image by falling score, each with a caption; none for an image in which
    /// nothing is found. The run's own settings say which boxes overlap too much and which score is too
    /// low (`model.boxes.detections`); `limits` leaves out more.
    ///
    /// Boxes are found for all images together. On a GPU, that reads from the device once, whatever the
    /// number of images ([`detect`](crate::model::heads::boxes::BoxDecoder::detect) says when it is more).
    ///
    /// ```no_run
    /// # fn main() -> pixelllm::Result<()> {
    /// use pixelllm::{backend, tasks::DetectionLimits, tasks::Predictor};
    ///
    /// let predictor = Predictor::open("runs/small-densecap", &backend::device("cpu")?)?;
    /// let images = predictor.encode_files(&["photo.jpg"])?;
    /// for one in &predictor.detect(&images, DetectionLimits::default())?[0] {
    ///     println!("{:.2} {}", one.score, one.caption);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] where the model was not taught to detect or has no box decoder.
    pub fn detect(
        &self,
        images: &EncodedImages,
        limits: DetectionLimits,
    ) -> Result<Vec<Vec<Detection>>> {
        self.detect_as(images, limits, self.settings(Task::Detect)?)
    }

    /// [`Self::detect`] with the settings of some source.
    pub(super) fn detect_as(
        &self,
        images: &EncodedImages,
        limits: DetectionLimits,
        settings: &TaskSettings,
    ) -> Result<Vec<Vec<Detection>>> {
        let found = self.timed(&images.recorder, Stage::Heads, || {
            self.model.detect(&images.features).ok_or_else(no_decoder)
        })?;
        let boxes: Vec<Vec<Scored>> = found
            .iter()
            .zip(&images.sizes)
            .map(|(found, size)| {
                let sure = on_image(found, *size).filter(|(_, score)| *score >= limits.min_score);
                sure.take(limits.count).collect()
            })
            .collect();
        let place = |(bounds, _): &Scored| Place::Box(*bounds);
        let regions: Vec<Vec<Place>> =
            boxes.iter().map(|boxes| boxes.iter().map(place).collect()).collect();
        let written = self.write_about(images, &regions, settings)?;
        let of_image = |(boxes, written): (Vec<Scored>, Vec<Vec<WrittenText>>)| {
            let ranked = self.ranked(&boxes, &written);
            let detection = |(at, text): (Scored, &WrittenText)| self.detection(at, text);
            ranked.into_iter().map(detection).collect()
        };
        Ok(boxes.into_iter().zip(written).map(of_image).collect())
    }

    /// Boxes with one of the texts that were written about each: the best, or with rescoring as many as
    /// there are boxes, of all boxes and texts those of the highest score.
    fn ranked<'a>(
        &self,
        boxes: &[Scored],
        written: &'a [Vec<WrittenText>],
    ) -> Vec<(Scored, &'a WrittenText)> {
        if !self.rescoring {
            let best = written.iter().filter_map(|texts| texts.last());
            return boxes.iter().copied().zip(best).collect();
        }
        let scores: Vec<f32> = boxes.iter().map(|(_, score)| *score).collect();
        let of_box = |texts: &Vec<WrittenText>| texts.iter().map(|text| text.score).collect();
        let captions: Vec<Vec<f32>> = written.iter().map(of_box).collect();
        let ranked = rescore(&scores, &captions, boxes.len());
        let of_pair = |one: Captioned| {
            let (bounds, _) = boxes.get(one.bounding_box)?;
            let text = written.get(one.bounding_box)?.get(one.caption)?;
            Some(((*bounds, one.score), text))
        };
        let mut ranked: Vec<_> = ranked.into_iter().filter_map(of_pair).collect();
        // With a single text each, boxes are left in their order there.
        ranked.sort_by(|((_, a), _), ((_, b), _)| b.total_cmp(a));
        ranked
    }

    fn detection(&self, (bounds, score): Scored, text: &WrittenText) -> Detection {
        let (words, caption) = self.written_words(text);
        Detection {
            bounds,
            point: bounds.center(),
            score,
            caption,
            words,
            tokens: text.tokens(&self.tokenizer),
            log_prob: text.score,
        }
    }
}

/// Boxes that hold something, by falling score, as shares of their image of `[width, height]` pixels of
/// the canvas. Fillers, boxes below the threshold and boxes on the padding are left out.
fn on_image(
    found: &[nms::Detection],
    [width, height]: [f32; 2],
) -> impl Iterator<Item = (BoundingBox, f32)> {
    found.iter().filter(|one| one.score > 0.0).filter_map(move |one| {
        let bounds = one.bounding_box.clip(width, height).scale(1.0 / width, 1.0 / height);
        bounds.is_valid().then_some((bounds, one.score))
    })
}

fn no_decoder() -> Error {
    Error::Usage {
        problem: "the model has no box decoder, so it finds nothing".into(),
        help: "Train a model with [model.boxes] and a source with `task = \"detect\"`.".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::language::beam::BeamConfig;
    use crate::model::language::decoding::Decoding;
    use crate::tasks::testing;

    #[test]
    fn what_is_found_lies_on_its_image_and_is_described_as_if_it_were_asked_for() {
        let predictor = testing::detector().unwrap();
        let images = testing::images(&predictor).unwrap();
        let found = predictor.detect(&images, DetectionLimits::default()).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|found| !found.is_empty()), "{found:?}");
        let settings = predictor.settings(Task::Detect).unwrap();
        for (image, found) in found.iter().enumerate() {
            assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for one in found {
                assert!(one.bounds.is_valid() && one.bounds.clip(1.0, 1.0) == one.bounds);
                assert!(one.score > 0.0 && one.score <= 1.0 && one.log_prob <= 0.0, "{one:?}");
            }
            let mut regions = vec![vec![], vec![]];
            regions[image] = vec![Place::Box(found[0].bounds)];
            let alone = predictor.describe_as(&images, &regions, settings).unwrap();
            assert_eq!(alone[image][0].caption, found[0].caption);
        }
    }

    #[test]
    fn rescoring_ranks_boxes_with_what_is_written_about_them() {
        let rescored = testing::detector().unwrap().with_rescoring(true);
        let images = testing::images(&rescored).unwrap();
        let found = rescored.detect(&images, DetectionLimits::default()).unwrap();
        let plain = rescored.with_rescoring(false);
        let before = plain.detect(&images, DetectionLimits::default()).unwrap();
        for (found, before) in found.iter().zip(&before) {
            assert_eq!(found.len(), before.len());
            assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
            for one in found {
                let of_box = before.iter().find(|other| other.bounds == one.bounds).unwrap();
                let expected = (of_box.score * of_box.log_prob.exp()).sqrt();
                assert!((one.score - expected).abs() < 1e-6, "{} {expected}", one.score);
            }
        }
        // With several texts for each box, the surest pairs are kept.
        let beams = BeamConfig { beams: 2, ..BeamConfig::default() };
        let several = plain.with_rescoring(true).with_decoding(Decoding::Beams(beams));
        let found = several.detect(&images, DetectionLimits::default()).unwrap();
        assert_eq!(found[0].len(), before[0].len());
        assert!(found[0].windows(2).all(|pair| pair[0].score >= pair[1].score));
    }

    #[test]
    fn limits_keep_the_surest() {
        let predictor = testing::detector().unwrap();
        let images = testing::images(&predictor).unwrap();
        let all = predictor.detect(&images, DetectionLimits::default()).unwrap();
        let one = DetectionLimits { count: 1, min_score: 0.0 };
        let surest = predictor.detect(&images, one).unwrap();
        for (all, surest) in all.iter().zip(&surest) {
            assert_eq!(surest.len(), 1);
            assert_eq!(surest[0].bounds, all[0].bounds);
        }
        let none = DetectionLimits { count: 9, min_score: 1.1 };
        assert_eq!(predictor.detect(&images, none).unwrap(), [vec![], vec![]]);
    }

    #[test]
    fn fillers_and_boxes_on_the_padding_are_no_detections() {
        let at = |bounds: [f32; 4], score| nms::Detection {
            bounding_box: BoundingBox::new(bounds[0], bounds[1], bounds[2], bounds[3]),
            score,
            class: 1,
        };
        let found = [
            at([2.0, 4.0, 6.0, 16.0], 0.9),
            at([2.0, 13.0, 6.0, 16.0], 0.8),
            at([0.0; 4], 0.0),
            at([2.0, 4.0, 6.0, 8.0], -1.0),
        ];
        let kept: Vec<_> = on_image(&found, [16.0, 12.0]).collect();
        assert_eq!(kept.len(), 1);
        let expected = [0.125, 1.0 / 3.0, 0.375, 1.0];
        for (found, expected) in kept[0].0.to_array().into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_model_without_boxes_or_without_the_task_says_so() {
        let device = burn::tensor::Device::flex();
        let images = |predictor: &Predictor| testing::images(predictor).unwrap();
        let narrator = testing::predictor_on(&device, 0.0, &[Task::Narrate]).unwrap();
        let error = narrator.detect(&images(&narrator), DetectionLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the model was not taught to detect");
        let boxless = testing::predictor_on(&device, 0.0, &[Task::Detect]).unwrap();
        let error = boxless.detect(&images(&boxless), DetectionLimits::default()).unwrap_err();
        assert!(error.to_string().contains("no box decoder") && error.exit_code() == 2);
    }
}

//! Prompts and texts on their way to the model, points on their way back: `B` images, `N` rows per
//! image, `M` prompts per image (`N`, or 1 where rows share theirs), `L` text tokens.

use burn::tensor::{Int, Tensor};

use super::Place;
use super::places::PromptPlaces;
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::timing::Stage;
use crate::data::batch::int_tensor;
use crate::data::source::TEXT_PLACEHOLDER;
use crate::error::{Error, Result};
use crate::geometry::{BoundingBox, Point};
use crate::model::language::LanguageState;
use crate::model::prompt::adapter::PromptScope;
use crate::model::prompt::points::Prompts;

/// Rows of an image that are prompted at once: so many prompts of 32 images fit in the memory of a
/// laptop at the paper's sizes. More rows take more rounds.
pub(super) const ROWS_AT_ONCE: usize = 16;

/// The two corners that a token was placed at, in the order in which the model said them; normalised
/// to the image.
pub(crate) type Corners = [Point; 2];

/// What comes before a text.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    /// Where.
    pub(super) place: Place,
    /// Ids of the instruction; empty for none.
    pub(super) context: Vec<i64>,
}

/// What the model saw of prompts, and the features of texts that it read after them.
#[derive(Debug, Clone)]
pub(super) struct ReadTexts {
    /// `[B, M, Q, D]`
    pub(super) visual: Tensor<4>,
    /// `[B, N, L, D]`
    pub(super) features: Tensor<4>,
}

impl Predictor {
    /// The prompt for `place`, with the instruction about `text`.
    pub(super) fn prompt(
        &self,
        place: impl Into<Place>,
        text: &str,
        settings: &TaskSettings,
    ) -> Result<Prompt> {
        let instruction = settings.prompt.replace(TEXT_PLACEHOLDER, text);
        let most = settings.max_context_tokens.min(self.model.language().max_text_tokens());
        let context = if instruction.is_empty() {
            Vec::new()
        } else {
            self.tokenizer.encode_context(&instruction, most)?
        };
        Ok(Prompt { place: place.into(), context })
    }

    /// The longest text that the settings and the model allow, in tokens.
    pub(super) fn max_text_tokens(&self, settings: &TaskSettings) -> usize {
        settings.max_text_tokens.min(self.model.language().max_text_tokens())
    }

    /// Reads the prompts, for `num_rows` texts per image that follow. `prompts`: per image, one for
    /// each of its rows, or one that they share; images with fewer get fillers.
    pub(super) fn begin(
        &self,
        images: &EncodedImages,
        prompts: &[Vec<Prompt>],
        scope: PromptScope,
        num_rows: usize,
    ) -> LanguageState {
        self.timed(&images.recorder, Stage::Prompt, || {
            let (places, context) = self.prompt_tensors(images, prompts);
            self.model.begin(&images.features, places, scope, context, num_rows)
        })
    }

    /// The prompts as tensors: places in pixels of the canvas, and instructions `[B, M, C]`, where there
    /// are any.
    fn prompt_tensors(
        &self,
        images: &EncodedImages,
        prompts: &[Vec<Prompt>],
    ) -> (Prompts, Option<Tensor<3, Int>>) {
        let device = self.device();
        let num_prompts = prompts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let contexts = prompts.iter().flatten().map(|prompt| prompt.context.len());
        let num_context = contexts.max().unwrap_or(0);
        let filler = Prompt { place: BoundingBox::UNIT.into(), context: Vec::new() };
        let pad = self.model.language().vocabulary().pad;
        let mut context = Vec::new();
        let mut places = PromptPlaces::new(self.model.trace_points(), prompts);
        for (prompts, [width, height]) in prompts.iter().zip(&images.sizes) {
            for row in 0..num_prompts {
                let prompt = prompts.get(row).unwrap_or(&filler);
                places.push(&prompt.place, [*width, *height]);
                context.extend(padded(&prompt.context, num_context, pad));
            }
        }
        let places = places.to_device([images.len(), num_prompts], &device);
        let context = (num_context > 0)
            .then(|| int_tensor(context, [images.len(), num_prompts, num_context], &device));
        (places, context)
    }

    /// Reads whole texts, `N` per image, after their prompts; all are padded to the longest, and to
    /// `min_length` tokens at least.
    pub(super) fn read(
        &self,
        images: &EncodedImages,
        prompts: &[Vec<Prompt>],
        scope: PromptScope,
        texts: &[Vec<Vec<i64>>],
        min_length: usize,
    ) -> ReadTexts {
        let num_rows = texts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let text = self.text_tensor(texts, num_rows, min_length);
        let recorder = &images.recorder;
        let (visual, context) = self.timed(recorder, Stage::Prompt, || {
            let (places, context) = self.prompt_tensors(images, prompts);
            (self.model.visual_tokens(&images.features, places, scope), context)
        });
        let features = self.timed(recorder, Stage::Language, || {
            self.model.read_text(visual.clone(), context, text)
        });
        ReadTexts { visual, features }
    }

    /// Ids of `num_rows` texts per image, `[B, N, L]`.
    fn text_tensor(
        &self,
        texts: &[Vec<Vec<i64>>],
        num_rows: usize,
        min_length: usize,
    ) -> Tensor<3, Int> {
        let longest = texts.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let length = longest.max(min_length).max(1);
        let pad = self.model.language().vocabulary().pad;
        let mut ids = Vec::new();
        for texts in texts {
            for row in 0..num_rows {
                ids.extend(padded(texts.get(row).map_or(&[][..], Vec::as_slice), length, pad));
            }
        }
        int_tensor(ids, [texts.len(), num_rows, length], &self.device())
    }

    /// Reads whole texts, `N` per image, after their prompts; where each token of each is.
    pub(super) fn place(
        &self,
        state: LanguageState,
        texts: &[Vec<Vec<i64>>],
        num_rows: usize,
    ) -> Vec<Vec<Vec<Corners>>> {
        let ids = self.text_tensor(texts, num_rows, 0);
        let [images, _, length] = ids.dims();
        let ids = ids.reshape([images * num_rows, length]);
        let corners = self.corners(self.model.language().read_text(state, ids));
        let images = corners.chunks(num_rows.max(1)).zip(texts);
        let of_text = |(corners, ids): (&Vec<Corners>, &Vec<i64>)| {
            corners.iter().copied().take(ids.len()).collect()
        };
        images.map(|(corners, texts)| corners.iter().zip(texts).map(of_text).collect()).collect()
    }

    /// Where each token is, from its features `[R, L, D]`.
    pub(super) fn corners(&self, features: Tensor<3>) -> Vec<Vec<Corners>> {
        let [rows, length, width] = features.dims();
        let device = features.device();
        let points = self.model.points(features.reshape([1, rows, length, width]));
        // A model without a point head is taught nothing that asks for places.
        let points = points.unwrap_or_else(|| Tensor::zeros([1, rows, length, 2, 2], &device));
        let point = |xy: &[f32]| Point { x: xy[0], y: xy[1] };
        let values = floats(points);
        let tokens: Vec<Corners> =
            values.chunks_exact(4).map(|v| [point(&v[..2]), point(&v[2..])]).collect();
        tokens.chunks(length.max(1)).map(<[Corners]>::to_vec).collect()
    }
}

/// A tensor's numbers, read back.
pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// `ids` and padding up to `length`.
fn padded(ids: &[i64], length: usize, pad: i64) -> impl Iterator<Item = i64> {
    ids.iter().copied().chain(std::iter::repeat_n(pad, length - ids.len()))
}

/// The rows of each image from `start` on that are prompted at once.
pub(super) fn rows_from<T>(rows: &[Vec<T>], start: usize) -> Vec<&[T]> {
    let of_image =
        |rows: &'_ Vec<T>| (start.min(rows.len()), (start + ROWS_AT_ONCE).min(rows.len()));
    rows.iter()
        .map(|rows| {
            let (from, to) = of_image(rows);
            &rows[from..to]
        })
        .collect()
}

/// Refuses rows of another number of images.
///
/// # Errors
/// [`Error::Usage`] where the numbers differ.
pub(super) fn check_one_list_per_image<T>(images: &EncodedImages, rows: &[Vec<T>]) -> Result<()> {
    if images.len() == rows.len() {
        return Ok(());
    }
    Err(Error::Usage {
        problem: format!("{} lists of prompts for {} images", rows.len(), images.len()),
        help: "Give one list per image; it may be empty.".into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::data::alignment::Alignment;
    use crate::data::batch::Pictures;
    use crate::data::batch::prompt_scope;
    use crate::data::collate::{Collator, RowChoice};
    use crate::data::sample::{Row, Task};
    use crate::data::source::Source;
    use crate::data::transform::load_canvas;
    use crate::tasks::testing::{self, narrative, region};

    const LEFT: BoundingBox = BoundingBox::new(0.0, 0.0, 0.5, 1.0);
    const LOW: BoundingBox = BoundingBox::new(0.25, 0.5, 1.0, 1.0);

    /// A wide image with two texts and a high one with one.
    fn source(task: Task, folder: &std::path::Path) -> Source {
        let paths = [("wide.png", 32, 20), ("high.png", 8, 16)].map(|(name, width, height)| {
            let path = folder.join(name);
            let pixel = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 9) as u8, 99]);
            image::RgbImage::from_fn(width, height, pixel).save(&path).unwrap();
            path
        });
        let row: fn(&str, BoundingBox) -> Row =
            if task == Task::Narrate { narrative } else { region };
        let rows = vec![
            vec![row("a small red circle", LEFT), row("we see a square", LOW)],
            vec![row("blue", LOW)],
        ];
        let mut source = testing::source(task, &paths, rows);
        source.config.prompt =
            if task == Task::Describe { "here" } else { "where is {text}" }.into();
        source
    }

    /// Corners of every token of every row, read as training reads them.
    fn as_in_training(predictor: &Predictor, source: &Source) -> Vec<Vec<Vec<Corners>>> {
        let tokenizer = predictor.tokenizer.clone();
        let mut collator = Collator::new(tokenizer, Alignment::Offsets, testing::SIDE);
        collator.trace_points = predictor.model.trace_points();
        let batch = collator.collate(source, &[0, 1], RowChoice::First(2)).unwrap();
        let batch = batch.to_device(&Device::flex());
        let Pictures::Images { images, padding_mask } = batch.pictures else {
            unreachable!("there is no cache of features")
        };
        let images = predictor.model.encode(images, padding_mask);
        let features = predictor.model.text_features(&images, batch.rows);
        let [images, rows, length, width] = features.dims();
        let corners = predictor.corners(features.reshape([images * rows, length, width]));
        corners.chunks(rows).map(<[_]>::to_vec).collect()
    }

    /// Per image and row, something about the row.
    fn per_row<T>(source: &Source, of: impl Fn(&Row) -> T) -> Vec<Vec<T>> {
        let samples = source.samples.iter().map(Result::unwrap);
        samples.map(|sample| sample.rows.iter().map(&of).collect()).collect()
    }

    fn encode(predictor: &Predictor, source: &Source) -> EncodedImages {
        let samples = source.samples.iter().map(Result::unwrap);
        let canvases: Vec<_> =
            samples.map(|sample| load_canvas(&sample.image, testing::SIDE).unwrap()).collect();
        predictor.encode(&canvases).unwrap()
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }

    #[test]
    fn predictions_read_images_prompts_and_texts_as_training_does() {
        let folder = tempfile::tempdir().unwrap();
        let predictor = testing::predictor().unwrap();
        for task in testing::WITHOUT_BOXES {
            let source = source(task, folder.path());
            let settings = TaskSettings::from(&source.config);
            let prompts = per_row(&source, |row| {
                let whole = BoundingBox::UNIT;
                let region = if task == Task::Describe { row.region.unwrap() } else { whole };
                predictor.prompt(region, &row.text, &settings).unwrap()
            });
            let texts =
                per_row(&source, |row| predictor.tokenizer.encode(&row.text, 10).unwrap().ids);
            let images = encode(&predictor, &source);
            let found = predictor.place(
                predictor.begin(&images, &prompts, prompt_scope(task), 2),
                &texts,
                2,
            );
            let expected = as_in_training(&predictor, &source);
            for (found, expected) in found.iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    let flat = |corners: &[Corners]| -> Vec<f32> {
                        corners.iter().flatten().flat_map(|point| [point.x, point.y]).collect()
                    };
                    assert_close(&flat(found), &flat(&expected[..found.len()]));
                }
            }
            assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        }
    }

    #[test]
    fn locate_answers_with_the_word_that_the_point_loss_selects() {
        let folder = tempfile::tempdir().unwrap();
        let predictor = testing::predictor().unwrap();
        let source = source(Task::Locate, folder.path());
        let settings = TaskSettings::from(&source.config);
        let expressions = per_row(&source, |row| row.text.clone());
        let images = encode(&predictor, &source);
        let located = predictor.locate_as(&images, &expressions, &settings).unwrap();
        let expected = as_in_training(&predictor, &source);
        for (image, texts) in expressions.iter().enumerate() {
            for (row, text) in texts.iter().enumerate() {
                let length = predictor.tokenizer.encode(text, 10).unwrap().ids.len();
                // The piece before the end.
                let [first, second] = expected[image][row][length - 2];
                let bounds = BoundingBox::around(first, second);
                assert_close(&located[image][row].bounds.to_array(), &bounds.to_array());
            }
        }
    }
}

//! Prompts and texts on their way to the model, points on their way back: `B` images, `N` rows per
//! image, `M` prompts per image (`N`, or 1 where rows share theirs), `L` text tokens.

use burn::tensor::Tensor;

use super::predictor::{EncodedImages, Predictor, TaskSettings};
use crate::data::batch::{int_tensor, tensor};
use crate::data::source::TEXT_PLACEHOLDER;
use crate::error::{Error, Result};
use crate::geometry::{BoundingBox, Point};
use crate::model::language::LanguageState;

/// Rows of an image that are prompted at once: so many prompts of 32 images fit in the memory of a
/// laptop at the paper's sizes. More rows take more rounds.
pub(super) const ROWS_AT_ONCE: usize = 16;

/// The two corners that a token was placed at, in the order in which the model said them; normalised
/// to the image.
pub(super) type Corners = [Point; 2];

/// What comes before a text.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    /// Where, normalised to the image.
    pub(super) region: BoundingBox,
    /// Ids of the instruction; empty for none.
    pub(super) context: Vec<i64>,
}

impl Predictor {
    /// The prompt for `region`, with the instruction about `text`.
    pub(super) fn prompt(
        &self,
        region: BoundingBox,
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
        Ok(Prompt { region, context })
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
        num_rows: usize,
    ) -> LanguageState {
        let device = self.device();
        let num_prompts = prompts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let contexts = prompts.iter().flatten().map(|prompt| prompt.context.len());
        let num_context = contexts.max().unwrap_or(0);
        let filler = Prompt { region: BoundingBox::UNIT, context: Vec::new() };
        let pad = self.model.language().vocabulary().pad;
        let (mut boxes, mut context) = (Vec::new(), Vec::new());
        for (prompts, [width, height]) in prompts.iter().zip(&images.sizes) {
            for row in 0..num_prompts {
                let prompt = prompts.get(row).unwrap_or(&filler);
                boxes.extend(prompt.region.scale(*width, *height).to_array());
                context.extend(padded(&prompt.context, num_context, pad));
            }
        }
        let boxes = tensor(boxes, [images.len(), num_prompts, 4], &device);
        let context = (num_context > 0)
            .then(|| int_tensor(context, [images.len(), num_prompts, num_context], &device));
        self.model.begin(&images.features, boxes, context, num_rows)
    }

    /// Reads whole texts, `N` per image, after their prompts; where each token of each is.
    pub(super) fn place(
        &self,
        mut state: LanguageState,
        texts: &[Vec<Vec<i64>>],
        num_rows: usize,
    ) -> Vec<Vec<Vec<Corners>>> {
        let length = texts.iter().flatten().map(Vec::len).max().unwrap_or(0).max(1);
        let language = self.model.language();
        let pad = language.vocabulary().pad;
        let mut ids = Vec::new();
        for texts in texts {
            for row in 0..num_rows {
                ids.extend(padded(texts.get(row).map_or(&[][..], Vec::as_slice), length, pad));
            }
        }
        let ids = int_tensor(ids, [texts.len() * num_rows, length], &self.device());
        let corners = self.corners(language.read(&mut state, ids));
        let images = corners.chunks(num_rows.max(1)).zip(texts);
        let of_text = |(corners, ids): (&Vec<Corners>, &Vec<i64>)| {
            corners.iter().copied().take(ids.len()).collect()
        };
        images.map(|(corners, texts)| corners.iter().zip(texts).map(of_text).collect()).collect()
    }

    /// Where each token is, from its features `[R, L, D]`.
    pub(super) fn corners(&self, features: Tensor<3>) -> Vec<Vec<Corners>> {
        let [rows, length, width] = features.dims();
        let points = self.model.points(features.reshape([1, rows, length, width]));
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

//! Texts and the points of their tokens as *narrate*, *describe* and *detect* make them: the model of a
//! case answers as a [`Predictor`], whose words are never looked at.

use burn::tensor::{Int, Tensor, TensorData};

use super::super::boxes::numbers;
use super::{Case, Images};
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::language::Vocabulary;
use crate::model::language::decoding::Decoding;
use crate::model::places::image_sizes;
use crate::model::prompt::adapter::PromptScope;
use crate::tasks::predictor::EncodedImages;
use crate::tasks::{IdPrompt, Place, Predictor};

/// Texts about prompts, `K` for each, the best last.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// `[B, N, K, M]`: begin, words, end; end again in what is left.
    pub(super) tokens: Tensor<4, Int>,
    /// `[B, N, K]`: log-probabilities, divided by what [`Decoding`] divides them by.
    pub(super) scores: Tensor<3>,
    /// Two points of each token of each best text that was read, normalised to the image: `B · N` rows.
    corners: Vec<Vec<[f32; 4]>>,
}

impl Written {
    /// What the tasks write about `prompts` `[B, N, 4]`, in pixels of the canvas, after `context`
    /// `[B, N, C]`.
    pub(super) fn by_task(
        case: &Case<'_>,
        images: &Images,
        prompts: &Tensor<3>,
        context: Option<&Tensor<3, Int>>,
        decoding: Decoding,
    ) -> Result<Self> {
        let [batch, rows, _] = prompts.dims();
        let sizes = numbers(image_sizes(images.padding_mask.clone()));
        let sizes: Vec<[f32; 2]> = sizes.as_chunks().0.to_vec();
        let prompts = id_prompts(&sizes, prompts, context);
        let encoded = EncodedImages::from_features(images.features.clone(), sizes);
        // Ids are all that is compared: words of any vocabulary will do.
        let tokenizer = Tokenizer::train(["none"], 64)?;
        let predictor = Predictor::new(&case.model, tokenizer, &[]).with_decoding(decoding);
        let longest = case.settings.max_caption_length;
        let captions = predictor.caption(&encoded, &prompts, PromptScope::Image, rows, longest);
        let count = captions.texts.first().map_or(1, Vec::len);
        let texts = || captions.texts.iter().flatten();
        let ids: Vec<i64> = texts().flat_map(|text| text.ids.iter().copied()).collect();
        let length = ids.len() / (batch * rows * count).max(1);
        let scores: Vec<f32> = texts().map(|text| text.score).collect();
        let pair = |[a, b]: &[crate::geometry::Point; 2]| [a.x, a.y, b.x, b.y];
        let corners = captions.corners.iter().map(|row| row.iter().map(pair).collect());
        Ok(Self {
            tokens: Tensor::from_data(
                TensorData::new(ids, [batch, rows, count, length]),
                &case.device,
            ),
            scores: Tensor::from_data(TensorData::new(scores, [batch, rows, count]), &case.device),
            corners: corners.collect(),
        })
    }

    /// The best text of each prompt and its score: `[B, N, M]` and `[B, N]`.
    pub(super) fn best(&self) -> (Tensor<3, Int>, Tensor<2>) {
        let [_, _, count, _] = self.tokens.dims();
        let tokens = self.tokens.clone().narrow(2, count - 1, 1).squeeze_dim(2);
        (tokens, self.scores.clone().narrow(2, count - 1, 1).squeeze_dim(2))
    }

    /// `points` `[B, N, L, P, 2]` of tokens `text` `[B, N, L]`, of which those up to the first end are
    /// the tasks', where these have two points, too; what is behind is placed by no task.
    pub(super) fn placed(
        &self,
        points: Tensor<5>,
        text: &Tensor<3, Int>,
        vocabulary: &Vocabulary,
    ) -> Tensor<5> {
        let [batch, rows, length, count, _] = points.dims();
        if count != 2 {
            return points;
        }
        let device = points.device();
        let ids: Vec<i64> = text.clone().into_data().iter::<i64>().collect();
        let mut values = numbers(points);
        let places = values.as_chunks_mut::<4>().0.chunks_mut(length.max(1));
        for ((places, ids), corners) in places.zip(ids.chunks(length.max(1))).zip(&self.corners) {
            let end = ids.iter().position(|&id| id == vocabulary.end).unwrap_or(length);
            for (place, corners) in places.iter_mut().zip(corners).take(end) {
                *place = *corners;
            }
        }
        Tensor::from_data(TensorData::new(values, [batch, rows, length, count, 2]), &device)
    }
}

/// `N` prompts for each image, normalised to it.
fn id_prompts(
    sizes: &[[f32; 2]],
    prompts: &Tensor<3>,
    context: Option<&Tensor<3, Int>>,
) -> Vec<Vec<IdPrompt>> {
    let [_, rows, _] = prompts.dims();
    let boxes = numbers(prompts.clone());
    let width = context.map_or(0, |context| context.dims()[2]);
    let ids: Vec<i64> = context
        .map(|context| context.clone().into_data().iter::<i64>().collect())
        .unwrap_or_default();
    let mut boxes = boxes.as_chunks::<4>().0.iter().enumerate();
    let of_image = |&[image_width, image_height]: &[f32; 2]| {
        let prompts = boxes.by_ref().take(rows).map(|(row, &[x0, y0, x1, y1])| {
            let bounds = BoundingBox::new(x0, y0, x1, y1);
            let place = Place::Box(bounds.scale(1.0 / image_width, 1.0 / image_height));
            let context = ids.get(row * width..(row + 1) * width).unwrap_or_default();
            IdPrompt::new(place, context.to_vec())
        });
        prompts.collect()
    };
    sizes.iter().map(of_image).collect()
}

//! *Locate* with masks: expression → box → mask (`spec/inference.md` §2.2). The box of an expression's
//! last word is the prompt of the mask decoder; what it answers is brought from the canvas to the image.

use super::locate::{Find, Found};
use super::predictor::{EncodedImages, Predictor, TaskSettings};
use super::prompt::{ReadTexts, floats};
use super::timing::Stage;
use super::{LocatedMask, Location};
use crate::data::batch::tensor;
use crate::data::sample::Task;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;
use crate::metrics::referring_masks::CoarseLogits;

/// A mask as the decoder answers: on a canvas, with fewer cells than that has pixels.
#[derive(Debug, Clone)]
pub(super) struct CoarseMask {
    /// Inside where above 0, row by row.
    logits: Vec<f32>,
    rows: usize,
    columns: usize,
    /// Side of the canvas in pixels.
    canvas_px: usize,
    /// Height and width of the image on the canvas, in pixels.
    content: [usize; 2],
    /// The IoU with the true mask that the model expects.
    predicted_iou: f32,
}

impl CoarseMask {
    /// The mask on an image of `width × height` pixels, which was put on the canvas.
    pub(super) fn on_image(&self, [width, height]: [u32; 2]) -> Result<Mask> {
        let Self { logits, rows, columns, canvas_px, content, .. } = self;
        let coarse = CoarseLogits { logits, rows: *rows, columns: *columns };
        coarse.on_image([*canvas_px; 2], *content, [height, width]).map_err(|problem| {
            let help = "Give an image of at most 16384 pixels a side.";
            Error::Usage { problem, help: help.into() }
        })
    }

    /// The IoU with the true mask that the model expects.
    pub(super) fn predicted_iou(&self) -> f32 {
        self.predicted_iou
    }

    /// The mask on an image of `size`, as it is told to a user.
    fn located(&self, size: [u32; 2]) -> Result<LocatedMask> {
        let segmentation = self.on_image(size)?.to_coco();
        Ok(LocatedMask { segmentation, predicted_iou: self.predicted_iou })
    }
}

#[cfg(test)]
impl CoarseMask {
    /// Of an image that fills its canvas.
    pub(super) fn example(logits: Vec<f32>, rows: usize, columns: usize) -> Self {
        let content = [4, 4];
        Self { logits, rows, columns, canvas_px: 4, content, predicted_iou: 0.5 }
    }
}

impl Predictor {
    /// Whether the model makes masks.
    pub fn makes_masks(&self) -> bool {
        self.model.makes_masks()
    }

    /// [`Self::locate`] with the mask of what each expression is about, on images of `sizes`: width and
    /// height of each as it was before it was put on the canvas, in pixels.
    ///
    /// # Errors
    /// As [`Self::locate`]; [`Error::Usage`] where the model makes no masks, or there is not one size per
    /// image.
    pub fn segment(
        &self,
        images: &EncodedImages,
        expressions: &[Vec<String>],
        sizes: &[[u32; 2]],
    ) -> Result<Vec<Vec<Location>>> {
        self.check_expressions(images, expressions)?;
        let settings = self.settings(Task::Locate)?;
        if !self.makes_masks() {
            return Err(Error::Usage {
                problem: "the model makes no masks".into(),
                help: "Locate boxes only, or train a model with [model.masks] and a source with \
                       `masks = true`."
                    .into(),
            });
        }
        if sizes.len() != images.len() {
            return Err(Error::Usage {
                problem: format!("{} sizes for {} images", sizes.len(), images.len()),
                help: "Give the width and height of each image.".into(),
            });
        }
        let found = self.find(images, expressions, settings, Find::BoxesAndMasks)?;
        let with_mask = |found: Found, size| {
            let mask = found.mask.as_ref().map(|mask| mask.located(size)).transpose()?;
            Ok(Location { mask, ..found.location })
        };
        let of_image = |(found, &size): (Vec<Found>, _)| {
            found.into_iter().map(|found| with_mask(found, size)).collect()
        };
        self.timed(&images.recorder, Stage::Masks, || {
            found.into_iter().zip(sizes).map(of_image).collect()
        })
    }

    /// Adds to texts that end with their last word what the mask branch has read in training: the end,
    /// where a text was not cut, and as much padding as always. The length of all texts, in tokens.
    pub(super) fn complete(&self, texts: &mut [Vec<Vec<i64>>], settings: &TaskSettings) -> usize {
        let length = self.max_text_tokens(settings);
        let end = self.model.language().vocabulary().end;
        for text in texts.iter_mut().flatten().filter(|text| text.len() < length) {
            text.push(end);
        }
        length
    }

    /// The masks of boxes, normalised to the images, of which there are at most `N` per image; `None`
    /// where the model makes none.
    pub(super) fn masks_of(
        &self,
        images: &EncodedImages,
        bounds: &[Vec<BoundingBox>],
        read: ReadTexts,
    ) -> Option<Vec<Vec<CoarseMask>>> {
        let [batch, num_rows, ..] = read.features.dims();
        let mut boxes = Vec::with_capacity(batch * num_rows * 4);
        for (bounds, &[width, height]) in bounds.iter().zip(&images.sizes) {
            // The box of a filler says nothing: its mask is not read.
            let filled = (0..num_rows).map(|row| bounds.get(row).copied());
            let filled = filled.map(|bounds| bounds.unwrap_or(BoundingBox::UNIT));
            boxes.extend(filled.flat_map(|bounds| bounds.scale(width, height).to_array()));
        }
        let boxes = tensor(boxes, [batch, num_rows, 4], &self.device());
        let masks = self.model.masks(&images.features, boxes, read.visual, read.features)?;
        let (logits, ious) = masks.best();
        let [_, _, rows, columns] = logits.dims();
        let (logits, ious) = (floats(logits), floats(ious));
        let mut masks = logits.chunks(rows * columns).zip(ious);
        let of_image = |(bounds, size): (&Vec<BoundingBox>, &[f32; 2])| {
            let [width, height] = size.map(|side| side as usize);
            let masks = masks.by_ref().take(num_rows).map(|(logits, predicted_iou)| CoarseMask {
                logits: logits.to_vec(),
                rows,
                columns,
                canvas_px: self.canvas_px(),
                content: [height, width],
                predicted_iou,
            });
            // Fillers are taken and left out.
            let masks: Vec<_> = masks.collect();
            masks.into_iter().take(bounds.len()).collect()
        };
        Some(bounds.iter().zip(&images.sizes).map(of_image).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Device, Distribution, Tensor};

    use super::*;
    use crate::data::alignment::Alignment;
    use crate::data::batch::Pictures;
    use crate::data::collate::{Collator, RowChoice};
    use crate::data::transform::load_canvas;
    use crate::model::heads::masks::MaskConfig;
    use crate::model::heads::masks::mask_adapter::MaskAdapterConfig;
    use crate::model::heads::masks::mask_decoder::MaskDecoderConfig;
    use crate::model::pixel_llm::PixelLlmConfig;
    use crate::model::testing::tiny_config;
    use crate::tasks::testing;

    /// Makes matrices so large that what they say can be heard through all that follows.
    struct Loud;

    impl ModuleMapper for Loud {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let (shape, device) = (tensor.dims(), tensor.device());
            let loud = |shape| Tensor::random(shape, Distribution::Normal(0.0, 0.5), &device);
            Param::from_mapped_value(id, if D > 1 { loud(shape) } else { tensor }, mapper)
        }
    }

    /// A tiny model with masks, whose adapter's gate is open.
    fn predictor() -> Predictor {
        let plain = testing::predictor().unwrap();
        let decoder = MaskDecoderConfig {
            width: 16,
            depth: 1,
            num_heads: 2,
            mlp_width: 16,
            hyper_width: 16,
            iou_width: 16,
            ..MaskDecoderConfig::default()
        };
        let adapter = MaskAdapterConfig {
            width: 16,
            depth: 1,
            num_heads: 2,
            mlp_width: 16,
            gate: false,
            ..MaskAdapterConfig::default()
        };
        let mut config = PixelLlmConfig {
            masks: Some(MaskConfig { decoder, adapter: Some(adapter) }),
            ..tiny_config()
        };
        config.vision.sam.iter_mut().for_each(|sam| sam.output_channels = 16);
        config.location.width = 16;
        if let crate::model::language::LanguageConfig::Git(git) = &mut config.language {
            git.max_positions = 12;
        }
        assert_eq!(config.validate(), []);
        let tokenizer = plain.tokenizer.clone();
        let model = config.init(tokenizer.vocabulary(), &Device::flex()).map(&mut Loud);
        let source = testing::source_config(Task::Locate);
        Predictor::new(&model, tokenizer, &[source])
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_expression_has_a_mask_of_the_size_of_its_image_beside_the_box_of_locate() {
        let predictor = predictor();
        let images = testing::images(&predictor).unwrap();
        let expressions = [texts(&["a red circle", "the square we see here"]), texts(&["circle"])];
        let sizes = [[20, 20], [32, 24]];
        let segmented = predictor.segment(&images, &expressions, &sizes).unwrap();
        let located = predictor.locate(&images, &expressions).unwrap();
        assert_eq!(segmented.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        for ((segmented, located), [width, height]) in segmented.iter().zip(&located).zip(sizes) {
            for (segmented, located) in segmented.iter().zip(located) {
                let mask = segmented.mask.as_ref().unwrap();
                assert_eq!(mask.segmentation.size, [height, width]);
                assert!(mask.predicted_iou.is_finite());
                assert!(located.mask.is_none());
                let pairs = segmented.bounds.to_array().into_iter().zip(located.bounds.to_array());
                pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
            }
        }
    }

    #[test]
    fn masks_do_not_depend_on_what_else_is_asked_and_are_those_of_training() {
        let predictor = predictor();
        let settings = predictor.settings(Task::Locate).unwrap().clone();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixel = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 9) as u8, 99]);
        image::RgbImage::from_fn(32, 20, pixel).save(&path).unwrap();
        let rows = ["a red circle", "the square we see here"];
        let images = predictor.encode(&[load_canvas(&path, testing::SIDE).unwrap()]).unwrap();
        let find = |expressions: &[&str]| {
            let asked = [texts(expressions)];
            let mut found =
                predictor.find(&images, &asked, &settings, Find::BoxesAndMasks).unwrap();
            let masks = found.remove(0).into_iter().map(|found| found.mask.unwrap());
            masks.collect::<Vec<CoarseMask>>()
        };
        let (both, alone) = (find(&rows), find(&rows[..1]));

        // As training reads them: one batch of both expressions.
        let whole = BoundingBox::UNIT;
        let annotated = rows.map(|text| testing::region(text, whole)).to_vec();
        let mut source = testing::source(Task::Locate, &[&path], vec![annotated]);
        source.config.masks = true;
        let (tokenizer, canvas_px) = (predictor.tokenizer.clone(), testing::SIDE);
        let collator = Collator::new(tokenizer, Alignment::Offsets, canvas_px);
        let batch = collator.collate(&source, &[0], RowChoice::First(2)).unwrap();
        let batch = batch.to_device(&Device::flex());
        let model = &predictor.model;
        let Pictures::Images { images: pixels, padding_mask } = batch.pictures else {
            unreachable!("there is no cache of features")
        };
        let features = model.encode(pixels, padding_mask);
        let visual = model.visual_tokens(&features, batch.rows.prompt_boxes, batch.rows.scope);
        let read = model.read_text(visual.clone(), batch.rows.context, batch.rows.text);
        let bounds = predictor.locate_as(&images, &[texts(&rows)], &settings).unwrap();
        let [width, height] = images.sizes[0];
        let boxes = bounds[0].iter().flat_map(|one| one.bounds.scale(width, height).to_array());
        let boxes = Tensor::<1>::from_data(boxes.collect::<Vec<f32>>().as_slice(), &Device::flex());
        let trained = model.masks(&features, boxes.reshape([1, 2, 4]), visual, read).unwrap();
        let trained = floats(trained.logits);

        // Of the largest logit. Boxes that differ in their last digits are prompts whose cosines differ, so
        // it is more than rounding.
        let difference = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
            let differences = largest(&mut a.iter().zip(b).map(|(a, b)| (a - b).abs()));
            differences / largest(&mut a.iter().map(|a| a.abs()))
        };
        let all = [both[0].logits.clone(), both[1].logits.clone()].concat();
        assert!(difference(&both[0].logits, &alone[0].logits) < 1e-3);
        let from_training = difference(&all, &trained);
        assert!(from_training < 1e-3, "{from_training}");
        assert!(difference(&both[0].logits, &both[1].logits) > 1e-2);
    }

    #[test]
    fn models_without_masks_and_sizes_that_are_missing_are_refused() {
        let plain = testing::predictor().unwrap();
        let images = testing::images(&plain).unwrap();
        let ask = [texts(&["circle"]), vec![]];
        let error = plain.segment(&images, &ask, &[[16, 16]; 2]).unwrap_err();
        assert_eq!(error.to_string(), "the model makes no masks");
        let predictor = predictor();
        let images = testing::images(&predictor).unwrap();
        let error = predictor.segment(&images, &ask, &[[16, 16]]).unwrap_err();
        assert_eq!(error.to_string(), "1 sizes for 2 images");
        assert_eq!(
            predictor.segment(&images, &[vec![], vec![]], &[[16, 16]; 2]).unwrap(),
            [[], []]
        );
    }
}

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainStep};
use rand::Rng;

use super::*;
use crate::data::batch::{BatchDims, HostBatch};
use crate::data::sample::Task;
use crate::experiment::schema::LossConfig;
use crate::model::heads::boxes::BoxDecoderConfig;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::testing::{VOCABULARY, tiny_boxes, tiny_config};
use crate::training::gradients::gradient_norm;
use crate::training::testing::Direction;

const SIDE: usize = 16;

fn model(boxes: BoxDecoderConfig, parts: usize) -> TrainingModel {
    let config = PixelLlmConfig { boxes: Some(boxes), points: None, ..tiny_config() };
    assert_eq!(config.validate(), []);
    let device = Device::flex().autodiff();
    device.seed(5);
    let model = config.init(VOCABULARY, &device);
    TrainingModel::new(model, LossConfig::default(), None, parts, BTreeSet::new())
}

/// One image for each list of boxes; a text of two words for each box.
fn batch(boxes: &[&[[f32; 4]]]) -> HostBatch {
    let rows = boxes.iter().map(|boxes| boxes.len()).max().unwrap_or(0).max(1);
    let dims = BatchDims {
        images: boxes.len(),
        canvas_px: SIDE,
        rows,
        prompts: rows,
        text_tokens: 4,
        context_tokens: 2,
    };
    let pixel = |i: usize| ((i * i * 7 + i * 13) % 256) as f32;
    let mut batch = HostBatch {
        images: (0..boxes.len() * 3 * SIDE * SIDE).map(pixel).collect(),
        sizes: vec![SIDE as f32; 2 * boxes.len()],
        points: vec![0.0; boxes.len() * rows * 4 * 4],
        seed: 3,
        ..HostBatch::empty(Task::Detect, dims)
    };
    for boxes in boxes {
        for row in 0..rows {
            let side = SIDE as f32;
            batch.prompt_boxes.extend(boxes.get(row).unwrap_or(&[0.0, 0.0, side, side]));
            let is_there = row < boxes.len();
            let word = 3 + row as i64;
            batch.text.extend(if is_there { [1, word, 9, 2] } else { [0; 4] });
            batch.context.extend(if is_there { [8, 2] } else { [0; 2] });
            batch.row_valid.push(f32::from(u8::from(is_there)));
        }
    }
    batch
}

const TWO: &[[f32; 4]] = &[[1.0, 2.0, 7.0, 9.0], [6.0, 5.0, 15.0, 14.0]];

#[test]
fn boxes_and_their_captions_are_learnt_together() {
    let model = model(tiny_boxes(), 1);
    let output = TrainStep::step(&model, batch(&[TWO, &TWO[..1]]));
    let (losses, norm) = (output.item.losses, gradient_norm(&model, &output.grads));
    let detection = losses.detection_loss.unwrap();
    assert!(detection.heatmap > 0.0 && detection.distances > 0.0, "{detection:?}");
    assert!(detection.classes > 0.0 && detection.boxes > 0.0, "{detection:?}");
    assert!(losses.text_loss.is_some_and(|loss| loss > 0.0) && losses.point_loss.is_none());
    let parts = 0.5 * detection.heatmap + detection.distances + detection.classes + detection.boxes;
    assert!((detection.total - parts).abs() < 1e-4 * parts);
    let sum = detection.total + losses.text_loss.unwrap();
    assert!((losses.loss - sum).abs() < 1e-4 * sum, "{} {sum}", losses.loss);
    assert!(norm > 0.0 && norm.is_finite());
    for part in ["model.vision.eva", "model.boxes.head", "model.boxes.roi_head", "model.language"] {
        let learnt = along(&model, &output.grads, part).norm();
        assert!(learnt > 0.0, "{part} learns nothing");
    }
}

#[test]
fn a_step_is_a_function_of_the_batch_and_its_seed() {
    // One of two objects is drawn.
    let mut boxes = tiny_boxes();
    boxes.roi.samples = 4;
    let model = model(boxes, 1);
    let loss = |seed: u64| {
        let output = InferenceStep::step(&model, HostBatch { seed, ..batch(&[TWO, TWO]) });
        output.losses.detection_loss.unwrap()
    };
    assert_eq!(loss(1), loss(1));
    // Another draw of the second stage's boxes; the first stage draws nothing.
    let (one, other) = (loss(1), loss(2));
    assert_eq!((one.heatmap, one.distances), (other.heatmap, other.distances));
    assert!((2..9).any(|seed| loss(seed).classes != one.classes));
}

#[test]
fn parts_of_a_batch_have_means_of_their_own() {
    let (whole, parts) = (model(tiny_boxes(), 1), model(tiny_boxes(), 2));
    let boxes: [&[[f32; 4]]; 2] = [TWO, &TWO[..1]];
    let alone =
        boxes.map(|one| TrainStep::step(&whole, batch(&[one])).item.losses.detection_loss.unwrap());
    let together = TrainStep::step(&parts, batch(&boxes)).item.losses.detection_loss.unwrap();
    // The first image is the same alone; the second has other pixels and draws, so only bounds hold.
    assert!(together.total.is_finite() && alone[0].total.is_finite());
}

/// A name, and the boxes of two images.
type Degenerate = (&'static str, [&'static [[f32; 4]]; 2]);

#[test]
fn degenerate_boxes_teach_no_object_and_nothing_that_is_not_a_number() {
    const NAN: f32 = f32::NAN;
    let cases: [Degenerate; 7] = [
        ("no object in any image", [&[], &[]]),
        ("boxes without an area", [&[[4.0, 4.0, 4.0, 9.0]], &[[3.0, 3.0, 3.0, 3.0]]]),
        ("inverted", [&[[9.0, 9.0, 2.0, 2.0]], &[]]),
        ("outside of the image", [&[[20.0, 20.0, 30.0, 30.0]], &[[-9.0, -9.0, -1.0, -1.0]]]),
        ("on its border", [&[[16.0, 0.0, 20.0, 16.0]], &[[0.0, -4.0, 16.0, 0.0]]]),
        ("no numbers", [&[[NAN, 0.0, 4.0, 4.0]], &[[0.0, 0.0, f32::INFINITY, NAN]]]),
        ("zeros", [&[[0.0; 4]], &[[0.0; 4], [0.0; 4]]]),
    ];
    let model = model(tiny_boxes(), 1);
    for (name, boxes) in cases {
        let batch = batch(&boxes);
        let annotated = batch.to_device(&Device::flex()).annotated;
        assert!(annotated.iter().flatten().all(|one| one.area() == 0.0), "{name}");
        let output = TrainStep::step(&model, batch);
        let (losses, norm) = (output.item.losses, gradient_norm(&model, &output.grads));
        let detection = losses.detection_loss.unwrap();
        assert!(losses.loss.is_finite() && norm.is_finite(), "{name}: {losses:?} {norm}");
        // All is background: no distances, no corrections, no captions.
        assert_eq!((detection.distances, detection.boxes), (0.0, 0.0), "{name}");
        assert_eq!(losses.text_loss, Some(0.0), "{name}");
        assert!(detection.heatmap > 0.0 && detection.classes > 0.0, "{name}");
    }
}

#[test]
fn an_object_beside_degenerate_boxes_is_learnt_as_if_it_were_alone() {
    let model = model(tiny_boxes(), 1);
    let step = |boxes: &[[f32; 4]]| {
        InferenceStep::step(&model, batch(&[boxes])).losses.detection_loss.unwrap()
    };
    let (alone, beside) = (step(&TWO[..1]), step(&[TWO[0], [5.0, 5.0, 5.0, 9.0]]));
    assert!((alone.heatmap - beside.heatmap).abs() < 1e-6 * alone.heatmap);
    assert!((alone.distances - beside.distances).abs() < 1e-6 * alone.distances);
}

#[test]
fn rows_are_those_of_boxes_up_to_the_last_that_is_matched() {
    let mut batch = batch(&[TWO, TWO]).to_device(&Device::flex());
    let row = |x: f32, annotated: usize, matched: bool| CaptionRow {
        bounding_box: BoundingBox::new(x, 0.0, x + 2.0, 2.0),
        annotated,
        matched,
    };
    let rows = [
        vec![row(0.0, 1, true), row(1.0, 0, false), row(2.0, 0, false), row(3.0, 0, false)],
        vec![row(4.0, 0, true), row(5.0, 0, true), row(6.0, 1, false), row(7.0, 1, false)],
    ];
    caption(&mut batch, &rows);
    let texts: Vec<i64> = batch.rows.text.into_data().iter::<i64>().collect();
    let first_words: Vec<i64> = texts.chunks(4).map(|text| text[1]).collect();
    assert_eq!(first_words, [4, 3, 3, 3]);
    assert_eq!(batch.rows.context.unwrap().dims(), [2, 2, 2]);
    let boxes: Vec<f32> = batch.rows.prompt_boxes.into_data().iter::<f32>().collect();
    assert_eq!(boxes.chunks(4).map(|one| one[0]).collect::<Vec<_>>(), [0.0, 1.0, 4.0, 5.0]);
    let valid: Vec<f32> = batch.row_valid.into_data().iter::<f32>().collect();
    assert_eq!(valid, [1.0, 0.0, 1.0, 1.0]);
}

/// A direction of the parameters under a path: the gradient itself, each number of it stretched at random.
/// Along it, a derivative stands out from the rounding of the loss.
fn along(model: &TrainingModel, gradients: &GradientsParams, under: &str) -> Direction {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    Direction::new(model, gradients, |trained| {
        let gradient = trained.gradient.filter(|_| trained.path.starts_with(under))?;
        Some(gradient.iter().map(|value| value * rng.random_range(0.5..1.5)).collect())
    })
}

/// Fills matrices with noise and adds it to all else: a new model hardly hears what it sees, and its gradients
/// are lost in the rounding of the loss. Drawn here, they are the same each time; a new model's come from the
/// generator of the process, from which other tests draw, too.
struct Scattered {
    rng: ChaCha8Rng,
}

impl ModuleMapper for Scattered {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let is_learnt = tensor.is_require_grad();
        let count = tensor.dims().iter().product();
        let noise: Vec<f32> = (0..count).map(|_| self.rng.random_range(-0.3..0.3)).collect();
        let noise = Tensor::<D>::from_data(TensorData::new(noise, tensor.dims()), &tensor.device());
        let tensor = if D > 1 { noise } else { tensor + noise };
        let tensor = tensor.detach().set_require_grad(is_learnt);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// The second stage looks at annotated boxes only: which proposals it would look at hangs on the
/// parameters, and no gradient goes through that choice.
#[test]
fn the_gradient_of_the_whole_model_is_that_of_finite_differences() {
    let mut boxes = tiny_boxes();
    (boxes.proposals.training_candidates, boxes.proposals.training_kept) = (0, 0);
    boxes.roi.positive_fraction = 1.0;
    let rng = ChaCha8Rng::seed_from_u64(2);
    let model = model(boxes, 1).map(&mut Scattered { rng });
    let batch = batch(&[TWO, &TWO[..1]]);
    let device = model.device();
    let losses = model.losses(batch.to_device(&device));
    assert!(losses.detection.is_some());
    let here = f64::from(losses.total.clone().into_scalar::<f32>());
    let gradients = GradientsParams::from_grads(losses.total.backward(), &model);
    let plain = model.valid();
    let loss = |moved: &TrainingModel| {
        let losses = moved.losses(batch.to_device(&moved.device()));
        f64::from(losses.total.into_scalar::<f32>())
    };
    for part in [
        "model.vision",
        "model.adapter",
        "model.language",
        "model.boxes.pyramid",
        "model.boxes.head",
        "model.boxes.roi_head",
    ] {
        let along = along(&model, &gradients, part);
        assert!(along.norm() > 0.0, "{part}");
        // 1/500 of a unit of all its parameters together.
        let [back, ahead] = along.slopes(&plain, here, 2e-3 / along.norm(), loss);
        let found = (back + ahead) / 2.0;
        let difference = (found - along.slope).abs();
        assert!(difference < 2e-2 * along.slope.abs(), "{part}: {found} {}", along.slope);
    }
}

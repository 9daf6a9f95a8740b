use std::collections::BTreeSet;

use burn::module::ModuleVisitor;
use burn::tensor::DType;

use super::*;
use crate::data::batch::BatchDims;
use crate::data::sample::Task;
use crate::experiment::schema::LossConfig;
use crate::model::pixel_llm::PixelLlm;
use crate::model::pixel_llm::placement::Placement;
use crate::model::testing::{VOCABULARY, tiny_config};
use crate::training::computation::Computation;
use crate::training::loss_scale::LossScale;

const SIDE: usize = 16;

/// Three images with a text each; a word of the first and all of the last have no place.
fn batch(task: Task, texts: [[i64; 5]; 3]) -> HostBatch {
    let dims = BatchDims {
        images: 3,
        canvas_px: SIDE,
        rows: 1,
        prompts: 1,
        text_tokens: 5,
        context_tokens: 0,
    };
    let mut points: Vec<f32> = (0..3 * 5 * 4).map(|i| (1 + i * 7 % 9) as f32 / 10.0).collect();
    points[4..8].fill(0.0);
    points[40..].fill(0.0);
    HostBatch {
        images: (0..3 * 3 * SIDE * SIDE).map(|i| (i * i * 7 % 256) as f32).collect(),
        sizes: vec![SIDE as f32; 6],
        prompt_boxes: [0.0, 0.0, SIDE as f32, SIDE as f32].repeat(3),
        text: texts.concat(),
        row_valid: vec![1.0; 3],
        points,
        ..HostBatch::empty(task, dims)
    }
}

/// Texts of other lengths each.
fn uneven() -> HostBatch {
    batch(Task::Narrate, [[1, 5, 6, 7, 2], [1, 5, 2, 0, 0], [1, 8, 9, 2, 0]])
}

fn model() -> PixelLlm {
    let device = Device::flex().autodiff();
    device.seed(11);
    tiny_config().init(VOCABULARY, &device)
}

/// Every gradient, by the order of parameters.
struct Gradients<'a>(&'a GradientsParams, Vec<f32>);

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.0.get::<D>(param.id) {
            self.1.extend(gradient.into_data().iter::<f32>());
        }
    }
}

fn training_model(model: &PixelLlm, parts: usize, computation: Computation) -> TrainingModel {
    let mut losses = LossConfig::default();
    losses.overlap.weight = 0.5;
    TrainingModel::new(model.clone(), losses, None, parts, BTreeSet::new()).computed(computation)
}

/// What a step measures, and its gradients.
fn step(model: &TrainingModel, batch: HostBatch) -> (StepOutput, Vec<f32>) {
    let output = TrainStep::step(model, batch);
    let mut gradients = Gradients(&output.grads, Vec::new());
    model.visit(&mut gradients);
    (output.item, gradients.1)
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// How far apart gradients are, relative to how long they are.
#[track_caller]
fn distance(one: &[f32], other: &[f32]) -> f64 {
    assert_eq!(one.len(), other.len());
    let difference: Vec<f32> = one.iter().zip(other).map(|(one, other)| one - other).collect();
    norm(&difference) / norm(one)
}

#[track_caller]
fn assert_near(one: f64, other: f64, relative: f64) {
    assert!((one - other).abs() <= relative * one.abs(), "{one} {other}");
}

#[test]
fn micro_batches_have_the_losses_and_the_gradients_of_the_whole_batch() {
    let model = model();
    let expressions = batch(Task::Locate, [[1, 5, 6, 7, 2], [1, 5, 6, 7, 8], [1, 8, 9, 2, 0]]);
    for batch in [uneven(), expressions] {
        let of = |micro_batches: usize| {
            let computation = Computation { micro_batches, ..Computation::default() };
            step(&training_model(&model, 1, computation), batch.clone())
        };
        let (whole, gradients) = of(1);
        assert!(norm(&gradients) > 0.0);
        for micro_batches in [2, 3, 7] {
            let (parts, of_parts) = of(micro_batches);
            let off = distance(&gradients, &of_parts);
            assert!(off < 1e-5, "{micro_batches}: {off}");
            assert_near(whole.losses.loss, parts.losses.loss, 1e-5);
            let parts_of = |output: &StepOutput| {
                let losses = output.losses;
                [losses.text_loss, losses.point_loss, losses.overlap_loss]
            };
            for (one, other) in parts_of(&whole).into_iter().zip(parts_of(&parts)) {
                assert_eq!(one.is_some(), other.is_some());
                assert_near(one.unwrap_or_default(), other.unwrap_or_default(), 1e-5);
            }
            assert_near(whole.gradient_norm, parts.gradient_norm, 1e-5);
            assert_eq!(parts.num_images, 3);
        }
    }
}

#[test]
fn parts_at_the_same_time_and_devices_that_share_a_batch_average_means_of_their_own() {
    let model = model();
    // The same three times, so that means of parts are means of all.
    let batch = batch(Task::Describe, [[1, 5, 6, 7, 2]; 3]);
    let (whole, gradients) =
        step(&training_model(&model, 1, Computation::default()), batch.clone());
    let shared = Computation { devices: vec![Device::flex().autodiff(); 3], ..Default::default() };
    let both = Computation { micro_batches: 2, ..Computation::default() };
    for (parts, computation) in [(3, Computation::default()), (1, shared), (2, both)] {
        let (output, of_parts) = step(&training_model(&model, parts, computation), batch.clone());
        let off = distance(&gradients, &of_parts);
        assert!(off < 1e-5, "{parts}: {off}");
        assert_near(whole.losses.loss, output.losses.loss, 1e-5);
        assert_near(whole.gradient_norm, output.gradient_norm, 1e-5);
        assert_eq!(output.num_images, 3);
    }
}

#[test]
fn clipping_looks_at_the_gradients_of_the_whole_step() {
    let computation = Computation { micro_batches: 3, ..Computation::default() };
    let mut model = training_model(&model(), 1, computation);
    let (_, free) = step(&model, uneven());
    model.clip_gradient_norm = Some(norm(&free) / 3.0);
    let (output, gradients) = step(&model, uneven());
    assert_near(output.gradient_norm, norm(&free), 1e-4);
    assert_near(norm(&gradients), norm(&free) / 3.0, 1e-4);
}

#[test]
fn checkpointed_gradients_are_those_that_keep_everything() {
    let kept = model();
    let device = Device::flex().autodiff().gradient_checkpointing();
    let checkpointed = tiny_config().init(VOCABULARY, &device);
    let checkpointed = checkpointed.load_record(kept.clone().into_record());
    let [kept, again] = [kept, checkpointed].map(|model| {
        let computation = Computation { micro_batches: 2, ..Computation::default() };
        step(&training_model(&model, 2, computation), uneven()).1
    });
    assert!(kept == again, "the same operations on the same numbers: {}", distance(&kept, &again));
}

#[test]
fn sixteen_bits_are_near_thirty_two_and_a_loss_scale_changes_nothing_but_rounding() {
    let model = model();
    let of = |dtype: Option<DType>, loss_scale: LossScale| {
        let computation = Computation { dtype, loss_scale, ..Computation::default() };
        step(&training_model(&model, 1, computation), uneven())
    };
    let (wide, gradients) = of(None, LossScale::default());
    // 8 and 11 bits of every factor of every product.
    for (dtype, tolerance) in [(DType::BF16, 0.05), (DType::F16, 0.01)] {
        let (half, of_half) = of(Some(dtype), LossScale::dynamic());
        let off = distance(&gradients, &of_half);
        assert!(off > 1e-6 && off < tolerance, "{dtype:?}: {off}");
        assert_near(wide.losses.loss, half.losses.loss, tolerance);
        assert_near(wide.gradient_norm, half.gradient_norm, tolerance);
    }
    let (_, scaled) = of(None, LossScale::dynamic());
    assert!(gradients == scaled, "a power of two is exact: {}", distance(&gradients, &scaled));
}

#[test]
fn a_model_in_parts_has_the_gradients_of_one_in_one_piece() {
    let model = model();
    let place = || Device::flex().autodiff();
    let placement =
        Placement { vision: place(), adapter: place(), language: place(), heads: place() };
    let placed = Computation { placement: Some(placement), ..Computation::default() };
    let (_, whole) = step(&training_model(&model, 1, Computation::default()), uneven());
    let (_, parts) = step(&training_model(&model, 1, placed), uneven());
    assert!(whole == parts, "{}", distance(&whole, &parts));
}

#[test]
fn a_parameter_on_another_device_is_a_leaf_there_that_is_trained_where_it_was() {
    let device = Device::flex().autodiff();
    for is_trained in [true, false] {
        let value = Tensor::<1>::from_data([2.0, 3.0], &device).set_require_grad(is_trained);
        let moved = moved_leaf(value.clone(), &device);
        assert_eq!(moved.is_require_grad(), is_trained);
        let other = Tensor::<1>::ones([2], &device).require_grad();
        let gradients = (moved.clone().square() * other).sum().backward();
        let found = moved.grad(&gradients).map(|gradient| gradient.into_data());
        let expected = is_trained.then(|| Tensor::<1>::from_data([4.0, 6.0], &device).into_data());
        assert_eq!(found, expected);
        assert!(value.grad(&gradients).is_none(), "a graph of its own");
    }
}

//! The whole tiny model: what autodiff says of a step's loss is what central differences say, for every
//! task, part and language model.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;

use super::paths::is_under;
use super::step::TrainingModel;
use super::testing::{Direction, Trained, is_between};
use super::training_model::in_model;
use crate::data::batch::{BatchDims, HostBatch};
use crate::data::sample::Task;
use crate::experiment::schema::LossConfig;
use crate::model::language::LanguageConfig;
use crate::model::language::t5::config::T5Config;
use crate::model::loss::overlap::OverlapLossConfig;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::model::testing::{VOCABULARY, pattern, tiny_config};

const PARTS: [&str; 6] = ["vision.eva", "vision.sam", "location", "adapter", "language", "points"];
/// How far every parameter tensor is moved, in both directions. Where a step reaches over a kink (of a
/// rectifier, an absolute value, the order of two corners), a smaller one does not.
const STEPS: [f64; 3] = [5e-4, 2e-4, 1e-4];
const SIDE: usize = 16;

/// Two images with two texts each, of which one is a filler.
fn batch(task: Task, with_traces: bool) -> HostBatch {
    let describes = task == Task::Describe;
    let prompts = if describes { 2 } else { 1 };
    let dims = BatchDims {
        images: 2,
        canvas_px: SIDE,
        rows: 2,
        prompts,
        text_tokens: 5,
        context_tokens: 2,
    };
    let pixel = |i: usize| ((i * i * 31 + i * 7) % 256) as f32;
    let region = |i: usize| [1.0, 2.0 + i as f32, 9.0, 12.0];
    let boxes = (0..2 * prompts).flat_map(|i| {
        if with_traces {
            [0.0; 4]
        } else if describes {
            region(i)
        } else {
            [0.0, 0.0, SIDE as f32, 12.0]
        }
    });
    let num_trace = if with_traces { 2 * prompts * 3 * 2 } else { 0 };
    HostBatch {
        images: (0..2 * 3 * SIDE * SIDE).map(pixel).collect(),
        sizes: [SIDE as f32, 12.0].repeat(2),
        prompt_boxes: boxes.collect(),
        prompt_traces: (0..num_trace).map(|i| (i * 5 % 13) as f32).collect(),
        context: [5, 2].repeat(2 * prompts),
        text: [[1, 4, 5, 6, 2], [1, 7, 2, 0, 0], [1, 8, 9, 2, 0], [0; 5]].concat(),
        row_valid: vec![1.0, 1.0, 1.0, 0.0],
        points: (0..4 * 5).flat_map(|i| [0.1, 0.2, 0.5 + i as f32 * 0.02, 0.9]).collect(),
        ..HostBatch::empty(task, dims)
    }
}

fn model(language: Option<LanguageConfig>, losses: LossConfig) -> TrainingModel {
    let tiny = tiny_config();
    let language = language.unwrap_or(tiny.language.clone());
    let config = PixelLlmConfig { language, ..tiny };
    assert_eq!(config.validate(), []);
    let model = config.init(VOCABULARY, &Device::flex().autodiff());
    TrainingModel::new(model, losses, None, 1, BTreeSet::new())
}

fn t5() -> LanguageConfig {
    let config = T5Config {
        width: Some(16),
        num_heads: Some(2),
        head_width: Some(8),
        encoder_depth: Some(1),
        decoder_depth: Some(1),
        mlp_width: Some(32),
        dropout: 0.0,
        ..T5Config::default()
    };
    LanguageConfig::T5(config)
}

/// Along the gradient, where there is one, and along something else, so that a part of it that is
/// missing would be missed. `None` for what stays.
fn direction(part: &str, trained: &Trained<'_>) -> Option<Vec<f32>> {
    if !is_under(in_model(trained.path), part) {
        return None;
    }
    let count = trained.shape.iter().product();
    let num_modules = trained.path.split('.').count();
    let other = unit(&pattern(count, num_modules + trained.path.len()));
    Some(match trained.gradient {
        Some(gradient) => other.iter().zip(unit(gradient)).map(|(a, b)| a + b).collect(),
        None => other,
    })
}

/// The same direction with the length 1.
fn unit(values: &[f32]) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    values.iter().map(|value| value / length).collect()
}

#[track_caller]
fn assert_gradients(model: &TrainingModel, batch: &HostBatch) {
    let losses = model.losses(batch.to_device(&Device::flex().autodiff()));
    let here = f64::from(losses.total.clone().into_scalar::<f32>());
    let gradients = GradientsParams::from_grads(losses.total.backward(), model);
    let plain = model.valid();
    let loss = |moved: &TrainingModel| {
        let losses = moved.losses(batch.to_device(&Device::flex()));
        f64::from(losses.total.into_scalar::<f32>())
    };
    for part in PARTS {
        let along = Direction::new(model, &gradients, |trained| direction(part, trained));
        let said = along.slope;
        let found = STEPS.map(|step| along.slopes(&plain, here, step, loss));
        let agrees = |slopes: &[f64; 2]| {
            is_between(said, *slopes, 0.03 * said.abs().max(slopes[0].abs()) + 4e-3)
        };
        let task = batch.task.name();
        assert!(found.iter().any(agrees), "{task} {part}: {found:?} {said}");
    }
}

#[test]
fn gradients_of_every_task_and_part_are_those_of_central_differences() {
    let losses = LossConfig { overlap: OverlapLossConfig { weight: 0.5 }, ..LossConfig::default() };
    for language in [None, Some(t5())] {
        let model = model(language, losses.clone());
        for task in [Task::Narrate, Task::Describe, Task::Locate] {
            assert_gradients(&model, &batch(task, false));
        }
        assert_gradients(&model, &batch(Task::Describe, true));
    }
}

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, TensorData};
use burn::train::TrainStep;

use super::*;
use crate::data::batch::{BatchDims, HostBatch};
use crate::data::masks::HostMasks;
use crate::data::sample::Task;
use crate::experiment::schema::LossConfig;
use crate::model::language::Vocabulary;
use crate::model::pixel_llm::PixelLlmConfig;
use crate::training::testing::{Direction, is_between};

const SIZES: &str = r#"
    canvas_px = 8
    vision.eva = { width = 8, depth = 1, num_heads = 2, patch_px = 4, pretrain_image_px = 8, drop_path = 0.0 }
    vision.sam = { width = 8, depth = 1, num_heads = 2, patch_px = 4, pretrain_image_px = 8, window_tokens = 2, global_blocks = [], output_channels = 16, drop_path = 0.0 }
    vision.fusion = "largest"
    location.width = 16
    adapter = { depth = 1, width = 8, num_heads = 2, mlp_width = 8, num_queries = 2, output_width = 8 }
    language = { kind = "git", width = 8, depth = 1, num_heads = 2, mlp_width = 8, max_positions = 8, dropout = 0.0 }
    points = { depth = 2, hidden_width = 8 }
    masks.decoder = { width = 16, depth = 1, num_heads = 2, mlp_width = 16, hyper_width = 16, iou_width = 16, iou_depth = 2 }
    masks.adapter = { width = 16, depth = 1, num_heads = 2, mlp_width = 16 }
"#;

/// Begin, two words, end, padding.
const TEXT: [i64; 5] = [1, 5, 6, 2, 0];

fn training_model(losses: LossConfig, device: &Device) -> TrainingModel {
    let config: PixelLlmConfig = toml::from_str(SIZES).unwrap();
    assert_eq!(config.validate(), []);
    let model = config.init(Vocabulary { size: 9, pad: 0, begin: 1, end: 2 }, device);
    TrainingModel::new(model, losses, None, 1, BTreeSet::new())
}

/// One image, 8 × 6 on its canvas, with two expressions of the same text and their masks.
fn batch() -> HostBatch {
    let dims = BatchDims {
        images: 1,
        canvas_px: 8,
        rows: 2,
        prompts: 1,
        text_tokens: 5,
        context_tokens: 0,
    };
    let inside = |column: usize, at: usize| u8::from(at % 8 >= column && at / 8 < 4);
    let masks = [2, 5].map(|column| (0..64).map(move |at| inside(column, at)).collect::<Vec<_>>());
    HostBatch {
        images: (0..3 * 64).map(|i| (i * 7 % 256) as f32).collect(),
        sizes: vec![8.0, 6.0],
        prompt_boxes: vec![0.0, 0.0, 8.0, 6.0],
        text: TEXT.repeat(2),
        row_valid: vec![1.0; 2],
        points: [0.25, 0.0, 1.0, 0.5].repeat(10),
        masks: Some(HostMasks { pixels: masks.concat(), valid: vec![1.0; 2] }),
        ..HostBatch::empty(Task::Locate, dims)
    }
}

/// Numbers between −1 and 1 that look random, and are the same every time.
fn noise(seed: usize, shape: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    // SplitMix64, without its state.
    let value = |i: usize| {
        let x = ((seed as u64) << 32 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(value).collect()
}

/// A direction of length 1 for a parameter.
fn direction(number: usize, shape: &[usize]) -> Vec<f32> {
    let noise = noise(1_000 + number, shape);
    let length = noise.iter().map(|value| value * value).sum::<f32>().sqrt();
    noise.iter().map(|value| value * (1.0 / length)).collect()
}

/// Makes every part do something, and the points the same whatever is read: no gradient goes back through
/// the boxes, so nothing may move them here.
#[derive(Default)]
struct Settle {
    path: Vec<String>,
    number: usize,
}

impl ModuleMapper for Settle {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.number += 1;
        let path = self.path.join(".");
        let is_trained = param.is_require_grad();
        let (id, tensor, mapper) = param.consume();
        let (kept, added) = match D {
            _ if path == "model.points.layers.1.weight" => (0.0, 0.0),
            // Norms stay near 1.
            1 => (f64::from(u8::from(path.ends_with("gamma"))), 0.1),
            _ => (0.0, 0.6),
        };
        let noise = noise(self.number, &tensor.dims());
        let noise =
            TensorData::new(noise.iter().map(|value| value * added).collect(), tensor.dims());
        let tensor = tensor.clone() * kept + Tensor::from_data(noise, &tensor.device());
        Param::from_mapped_value(id, tensor.detach().set_require_grad(is_trained), mapper)
    }
}

/// The gradients of the loss of [`batch`] agree with finite differences, along one direction for each
/// parameter whose path `is_checked`; how many of them change the loss.
fn check_gradients(losses: &LossConfig, is_checked: impl Fn(&str) -> bool) -> usize {
    let device = Device::flex().autodiff();
    let model = training_model(losses.clone(), &device).map(&mut Settle::default());
    let total = model.losses(batch().to_device(&device)).total;
    let here = f64::from(total.clone().into_scalar::<f32>());
    let gradients = GradientsParams::from_grads(total.backward(), &model);
    let mut checked = Vec::new();
    Direction::new(&model, &gradients, |trained| {
        if !trained.path.starts_with("model.points") && is_checked(trained.path) {
            checked.push((trained.path.to_string(), trained.number));
        }
        None
    });
    let plain = model.valid();
    let loss = |moved: &TrainingModel| {
        let total = moved.losses(batch().to_device(&Device::flex())).total;
        f64::from(total.into_scalar::<f32>())
    };
    let (mut num_moving, mut wrong) = (0, Vec::new());
    for (path, number) in checked {
        let along = Direction::new(&model, &gradients, |trained| {
            (trained.number == number).then(|| direction(number, trained.shape))
        });
        let slopes = along.slopes(&plain, here, 2e-3, loss);
        let expected = (slopes[0] + slopes[1]) / 2.0;
        if !is_between(along.slope, slopes, 2e-3 + 3e-2 * expected.abs()) {
            wrong.push(format!("{path}: {} {slopes:?}", along.slope));
        }
        num_moving += usize::from(expected.abs() > 2e-2);
    }
    assert!(wrong.is_empty(), "{num_moving} {wrong:#?}");
    num_moving
}

/// Only the mask loss, with these weights of its parts.
fn masks_only([focal_weight, dice_weight, iou_weight]: [f64; 3]) -> LossConfig {
    let mut losses = LossConfig::default();
    losses.point.weight = 0.0;
    losses.mask = MaskLossConfig { focal_weight, dice_weight, iou_weight, ..losses.mask };
    losses
}

#[test]
fn gradients_of_focal_and_dice_loss_through_the_whole_model_are_those_of_finite_differences() {
    let num_moving = check_gradients(&masks_only([20.0, 1.0, 0.0]), |_| true);
    assert!(num_moving > 60, "{num_moving} parameters change the loss");
}

/// The overlap with the truth jumps where a logit crosses 0, so only what moves no logit is moved.
#[test]
fn gradients_of_the_expected_overlap_are_those_of_finite_differences() {
    let is_checked = |path: &str| path.starts_with("model.masks.decoder.iou_head");
    let num_moving = check_gradients(&masks_only([0.0, 0.0, 1.0]), is_checked);
    assert!(num_moving >= 2, "{num_moving} parameters change the loss");
}

fn step(batch: HostBatch) -> (f64, f64, MaskMeasure) {
    let device = Device::flex().autodiff();
    let output = TrainStep::step(&training_model(LossConfig::default(), &device), batch).item;
    (output.losses.loss, output.gradient_norm, output.losses.mask_loss.unwrap())
}

#[test]
fn batches_with_nothing_to_learn_of_masks_cost_nothing_and_are_numbers() {
    let nothing = MaskMeasure { total: 0.0, focal: 0.0, dice: 0.0, iou: 0.0 };
    let without_masks = |batch: &mut HostBatch| {
        batch.masks = Some(HostMasks { pixels: vec![0; 2 * 64], valid: vec![0.0; 2] });
    };
    // Cut before the end: no token answers, so there is no box.
    let cut = |batch: &mut HostBatch| batch.text = [1, 5, 6, 5, 6].repeat(2);
    let fillers = |batch: &mut HostBatch| {
        batch.text = vec![0; 10];
        batch.row_valid = vec![0.0; 2];
        batch.points = vec![0.0; 40];
        without_masks(batch);
    };
    for damage in [&without_masks as &dyn Fn(&mut HostBatch), &cut, &fillers] {
        let mut batch = batch();
        damage(&mut batch);
        let (loss, norm, mask) = step(batch);
        assert!(loss.is_finite() && norm.is_finite(), "{loss} {norm}");
        assert_eq!(mask, nothing);
    }
}

#[test]
fn masks_of_no_pixel_of_every_pixel_and_on_an_image_of_one_pixel_are_learnt_from_without_harm() {
    for pixels in [vec![0; 2 * 64], vec![1; 2 * 64]] {
        for sizes in [[8.0, 6.0], [1.0, 1.0]] {
            let masks = Some(HostMasks { pixels: pixels.clone(), valid: vec![1.0; 2] });
            // Boxes without an area, where there is no annotated box.
            let points = vec![0.0; 40];
            let sizes = sizes.to_vec();
            let (loss, norm, mask) = step(HostBatch { masks, sizes, points, ..batch() });
            assert!(loss.is_finite() && norm.is_finite() && norm > 0.0, "{loss} {norm}");
            assert!(mask.total > 0.0 && (0.0..=1.0).contains(&mask.dice), "{mask:?}");
        }
    }
}

#[test]
fn batches_without_masks_and_masks_that_weigh_nothing_have_no_mask_loss() {
    let device = Device::flex();
    let losses = |weight: f64, masks: bool| {
        let mut config = LossConfig::default();
        config.mask.weight = weight;
        let mut batch = batch();
        batch.masks = batch.masks.filter(|_| masks);
        training_model(config, &device).losses(batch.to_device(&device)).mask
    };
    assert!(losses(1.0, true).is_some());
    assert!(losses(1.0, false).is_none() && losses(0.0, true).is_none());
}

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
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
        task: Task::Locate,
        dims,
        images: (0..3 * 64).map(|i| (i * 7 % 256) as f32).collect(),
        features: None,
        sizes: vec![8.0, 6.0],
        prompt_boxes: vec![0.0, 0.0, 8.0, 6.0],
        prompt_traces: vec![],
        context: vec![],
        text: TEXT.repeat(2),
        row_valid: vec![1.0; 2],
        points: [0.25, 0.0, 1.0, 0.5].repeat(10),
        seed: 0,
        masks: Some(HostMasks { pixels: masks.concat(), valid: vec![1.0; 2] }),
    }
}

/// Numbers between −1 and 1 that look random, and are the same every time.
fn noise(seed: usize, shape: &[usize]) -> TensorData {
    let count: usize = shape.iter().product();
    // SplitMix64, without its state.
    let value = |i: usize| {
        let x = ((seed as u64) << 32 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    TensorData::new((0..count).map(value).collect::<Vec<f32>>(), shape.to_vec())
}

/// Changes parameters by their path.
struct Change<F> {
    path: Vec<String>,
    number: usize,
    /// Path, number and shape of a parameter → what is added to it, and what it is scaled by first.
    by: F,
}

impl<F: Fn(&str, usize, &[usize]) -> Option<(f64, TensorData)>> ModuleMapper for Change<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.number += 1;
        let is_trained = param.is_require_grad();
        let (id, tensor, mapper) = param.consume();
        let change = (self.by)(&self.path.join("."), self.number, &tensor.dims());
        let tensor = match change {
            Some((scale, added)) => {
                tensor.clone() * scale + Tensor::from_data(added, &tensor.device())
            }
            None => tensor,
        };
        Param::from_mapped_value(id, tensor.detach().set_require_grad(is_trained), mapper)
    }
}

fn changed(
    model: TrainingModel,
    by: impl Fn(&str, usize, &[usize]) -> Option<(f64, TensorData)>,
) -> TrainingModel {
    model.map(&mut Change { path: Vec::new(), number: 0, by })
}

fn scaled(data: TensorData, factor: f32) -> TensorData {
    let values: Vec<f32> = data.iter::<f32>().map(|value| value * factor).collect();
    TensorData::new(values, data.shape().to_vec())
}

/// Where each parameter's gradient is, and how long it is along the direction of its noise.
struct Along<'a> {
    gradients: &'a GradientsParams,
    path: Vec<String>,
    number: usize,
    found: BTreeMap<(String, usize), f64>,
}

impl ModuleVisitor for Along<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.number += 1;
        if !param.is_require_grad() {
            return;
        }
        let direction = direction(self.number, &param.dims());
        let along = self.gradients.get::<D>(param.id).map_or(0.0, |gradient| {
            let gradient = gradient.into_data();
            gradient.iter::<f32>().zip(direction.iter::<f32>()).map(|(g, d)| f64::from(g * d)).sum()
        });
        self.found.insert((self.path.join("."), self.number), along);
    }
}

/// A direction of length 1 for a parameter.
fn direction(number: usize, shape: &[usize]) -> TensorData {
    let noise = noise(1_000 + number, shape);
    let length = noise.iter::<f32>().map(|value| value * value).sum::<f32>().sqrt();
    scaled(noise, 1.0 / length)
}

/// A model whose every part does something, and whose points are the same whatever it reads: no
/// gradient goes back through the boxes, so nothing may move them here.
fn settled(losses: LossConfig) -> TrainingModel {
    changed(training_model(losses, &Device::flex().autodiff()), |path, number, shape| {
        let noise = noise(number, shape);
        Some(match shape {
            _ if path == "model.points.layers.1.weight" => (0.0, scaled(noise, 0.0)),
            // Norms stay near 1.
            [_] => (f64::from(u8::from(path.ends_with("gamma"))), scaled(noise, 0.1)),
            _ => (0.0, scaled(noise, 0.6)),
        })
    })
}

/// The gradients of the loss of [`batch`] agree with finite differences, along one direction for each
/// parameter whose path `is_checked`; how many of them change the loss.
fn check_gradients(losses: &LossConfig, is_checked: impl Fn(&str) -> bool) -> usize {
    const STEP: f32 = 2e-3;
    let (model, device) = (settled(losses.clone()), Device::flex().autodiff());
    let loss = |model: &TrainingModel| model.losses(batch().to_device(&device)).total;
    let total = loss(&model);
    let here = f64::from(total.clone().into_scalar::<f32>());
    let gradients = GradientsParams::from_grads(total.backward(), &model);
    let mut visitor =
        Along { gradients: &gradients, path: Vec::new(), number: 0, found: BTreeMap::new() };
    model.visit(&mut visitor);
    let (mut num_moving, mut wrong) = (0, Vec::new());
    for ((path, number), along) in visitor.found {
        if path.starts_with("model.points") || !is_checked(&path) {
            continue;
        }
        let at = |step: f32| -> f64 {
            let moved = changed(model.clone(), |_, other, shape| {
                (other == number).then(|| (1.0, scaled(direction(number, shape), step)))
            });
            f64::from(loss(&moved).into_scalar::<f32>())
        };
        // Where a ReLU turns within the step, the gradient is that of either side.
        let slopes = [(here - at(-STEP)) / f64::from(STEP), (at(STEP) - here) / f64::from(STEP)];
        let (least, greatest) = (slopes[0].min(slopes[1]), slopes[0].max(slopes[1]));
        let expected = (least + greatest) / 2.0;
        let tolerance = 2e-3 + 3e-2 * expected.abs();
        if !(least - tolerance..=greatest + tolerance).contains(&along) {
            wrong.push(format!("{path}: {along} {slopes:?}"));
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

fn step(batch: HostBatch) -> (f64, f64, MaskMeasures) {
    let device = Device::flex().autodiff();
    let output = TrainStep::step(&training_model(LossConfig::default(), &device), batch).item;
    (output.loss, output.gradient_norm, output.mask.unwrap())
}

#[test]
fn batches_with_nothing_to_learn_of_masks_cost_nothing_and_are_numbers() {
    let nothing = MaskMeasures { loss: 0.0, focal: 0.0, dice: 0.0, iou: 0.0 };
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
            assert!(mask.loss > 0.0 && (0.0..=1.0).contains(&mask.dice), "{mask:?}");
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

#[test]
fn means_are_weighted_and_pass_over_what_has_no_masks() {
    let of = |x: f64| MaskMeasures { loss: x, focal: 2.0 * x, dice: 3.0 * x, iou: 4.0 * x };
    let mean = MaskMeasures::mean([(Some(of(1.0)), 1.0), (None, 5.0), (Some(of(4.0)), 2.0)]);
    assert_eq!(mean, Some(of(3.0)));
    assert_eq!(MaskMeasures::mean([(None, 1.0)]), None);
}

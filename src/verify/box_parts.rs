//! The parts of the box decoder: pyramid, first stage, its targets and losses.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::boxes::{boxes_by_image, maps};
use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::ConfigProblem;
use crate::model::heads::boxes::head::{HeadConfig, LevelOutput};
use crate::model::heads::boxes::pyramid::{PyramidConfig, Scale};
use crate::model::heads::boxes::target_tensors;
use crate::model::heads::boxes::targets::{Cells, TargetRule, Targets};
use crate::model::loss::detection::{
    DistanceLoss, FocalConfig, HeatmapLoss, distance_loss, heatmap_loss,
};
use crate::weights::boxes;

/// `[B, D, H, W]` → `[B, H, W, D]`.
fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

/// Settings of the reference's pyramid.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PyramidSettings {
    in_dim: usize,
    out_channels: usize,
    #[serde(default = "three_scales")]
    scale_factors: Vec<f32>,
    #[serde(default = "two")]
    num_top_blocks: usize,
    #[serde(default)]
    num_additional_convs: usize,
}

fn three_scales() -> Vec<f32> {
    vec![2.0, 1.0, 0.5]
}

fn two() -> usize {
    2
}

impl PyramidSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<PyramidConfig> {
        vectors.require("num_additional_convs", &self.num_additional_convs, &0)?;
        let scale = |factor: &f32| match *factor {
            4.0 => Ok(Scale::Quadruple),
            2.0 => Ok(Scale::Double),
            1.0 => Ok(Scale::Same),
            0.5 => Ok(Scale::Half),
            other => {
                let problem = format!("a scale of {other} is not built");
                Err(vectors.problem(problem, "Scales are 4, 2, 1 and 0.5."))
            }
        };
        let config = PyramidConfig {
            inner_width: self.in_dim,
            channels: self.out_channels,
            scales: self.scale_factors.iter().map(scale).collect::<Result<_>>()?,
            extra_levels: self.num_top_blocks,
        };
        buildable(vectors, &config.validate())?;
        Ok(config)
    }
}

/// An error where settings have a problem.
pub(super) fn buildable(vectors: &Vectors, problems: &[ConfigProblem]) -> Result<()> {
    problems.first().map_or(Ok(()), |one| {
        Err(vectors.problem(format!("`{}`: {}", one.key, one.problem), one.allowed.clone()))
    })
}

/// `in/features` → `out/level_{i}`.
pub(super) fn pyramid(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let map = vectors.input::<4>("features", device)?.permute([0, 3, 1, 2]);
    let config = vectors.config::<PyramidSettings>()?.config(vectors)?;
    let mut pyramid = config.init(map.dims()[1], device);
    vectors.load(&mut pyramid, &boxes::PYRAMID_JAX, "param/")?;
    let level = |(level, map): (usize, Tensor<4>)| {
        Produced::float(format!("level_{level}"), channels_last(map), Tolerance::FEATURES)
    };
    Ok(pyramid.forward(map).into_iter().enumerate().map(level).collect())
}

/// Settings of the reference's first stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadSettings {
    num_classes: i64,
    num_layers: usize,
    out_channels: usize,
    num_levels: usize,
    norm: String,
    num_groups: usize,
    gn_eps: f64,
}

/// `in/level_{i}` → `out/heatmap_{i}`, `out/box_reg_{i}`.
pub(super) fn head(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: HeadSettings = vectors.config()?;
    vectors.require("num_classes above 0", &(settings.num_classes > 0), &false)?;
    vectors.require("norm", &settings.norm.as_str(), &"GN")?;
    vectors.require("gn_eps", &settings.gn_eps, &1e-6)?;
    let config = HeadConfig {
        channels: settings.out_channels,
        layers: settings.num_layers,
        groups: settings.num_groups,
    };
    buildable(vectors, &config.validate())?;
    let maps = maps(vectors, settings.num_levels, device)?;
    let channels = maps.first().map_or(0, |map| map.dims()[1]);
    let mut head = config.init(channels, settings.num_levels, device);
    vectors.load(&mut head, &boxes::HEAD_JAX, "param/")?;
    Ok(level_outputs(&head.forward(&maps), "heatmap", "box_reg"))
}

pub(super) fn level_outputs(
    levels: &[LevelOutput],
    heatmap: &str,
    distances: &str,
) -> Vec<Produced> {
    let level = |(level, output): (usize, &LevelOutput)| {
        let named = |name: &str, map: &Tensor<4>| {
            let map = channels_last(map.clone());
            Produced::float(format!("{name}_{level}"), map, Tolerance::FEATURES)
        };
        [named(heatmap, &output.heatmap), named(distances, &output.distances)]
    };
    levels.iter().enumerate().flat_map(level).collect()
}

/// Settings of the reference's targets and losses of the first stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetSettings {
    num_classes: i64,
    strides: Vec<f32>,
    fpn_range: Vec<[f32; 2]>,
    shapes: Vec<[usize; 2]>,
    hm_min_overlap: f32,
    min_radius: f32,
    sigmoid_eps: f64,
    focal_alpha: f64,
    focal_beta: f64,
    focal_gamma: f64,
    hm_weight: f64,
    reg_weight: f64,
    sync_device_norm: bool,
}

/// What the reference writes as the distance, in pixels, of a place with nothing to learn.
const NO_DISTANCE: f32 = -1e8;

/// Annotated boxes → targets, and predictions → losses.
pub(super) fn targets_and_losses(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: TargetSettings = vectors.config()?;
    vectors.require("num_classes above 0", &(settings.num_classes > 0), &false)?;
    vectors.require("sync_device_norm", &settings.sync_device_norm, &false)?;
    let levels = settings.strides.iter().zip(&settings.shapes);
    let levels: Vec<Cells> =
        levels.map(|(&stride, &[height, width])| Cells::nominal(stride, height, width)).collect();
    let rule =
        TargetRule { min_overlap: settings.hm_min_overlap, min_radius_px: settings.min_radius };
    let annotated = boxes_by_image(vectors.input("gt_boxes", device)?);
    let targets: Vec<Targets> =
        annotated.iter().map(|one| rule.targets(one, &levels, &settings.fpn_range)).collect();
    let (heatmap, distances, mask) = target_tensors(&targets, device);
    let logits = vectors.input::<3>("pred_heatmap_logits", device)?.squeeze_dim::<2>(2);
    let focal = FocalConfig {
        alpha: settings.focal_alpha,
        beta: settings.focal_beta,
        gamma: settings.focal_gamma,
        epsilon: settings.sigmoid_eps,
    };
    let heatmap_losses = heatmap_loss(logits, heatmap.clone(), &focal);
    let predicted = vectors.input::<3>("pred_regs", device)?;
    let distance_losses = distance_loss(predicted, distances, mask);
    let total = (heatmap_losses.positive.clone() + heatmap_losses.negative.clone())
        * settings.hm_weight
        + distance_losses.loss.clone() * settings.reg_weight;

    let mut produced: Vec<_> = levels
        .iter()
        .enumerate()
        .map(|(level, cells)| {
            let centers: Vec<f32> =
                cells.centers().flat_map(|center| [center.x, center.y]).collect();
            let shape = [cells.height * cells.width, 2];
            let centers = Tensor::<2>::from_data(TensorData::new(centers, shape), device);
            Produced::float(format!("grid_{level}"), centers, Tolerance::PIXELS)
        })
        .collect();
    let gt_regs = written_distances(&targets, &levels, device);
    let masked = distance_losses.by_place.clone();
    produced.extend([
        Produced::float("gt_heatmaps", heatmap.unsqueeze_dim::<3>(2), Tolerance::FEATURES),
        Produced::float("gt_regs", gt_regs, Tolerance::FEATURES),
        Produced::float("gious_masked", masked, Tolerance::FEATURES),
        Produced::float("total_loss", total, Tolerance::LOSS),
    ]);
    produced.extend(first_stage_losses("", &heatmap_losses, &distance_losses));
    Ok(produced)
}

/// Targets of distances as the reference writes them: `[B, M, 4]`.
fn written_distances(targets: &[Targets], levels: &[Cells], device: &Device) -> Tensor<3> {
    let strides = || levels.iter().flat_map(|one| vec![one.stride; one.height * one.width]);
    let values: Vec<f32> = targets
        .iter()
        .flat_map(|one| one.distances.iter().zip(strides()))
        .flat_map(|(distances, stride)| distances.unwrap_or([NO_DISTANCE / stride; 4]))
        .collect();
    let places = strides().count();
    Tensor::from_data(TensorData::new(values, [targets.len(), places, 4]), device)
}

pub(super) fn first_stage_losses(
    prefix: &str,
    heatmap: &HeatmapLoss,
    distances: &DistanceLoss,
) -> Vec<Produced> {
    let losses = [
        ("pos_loss", &heatmap.positive),
        ("neg_loss", &heatmap.negative),
        ("hm_norm", &heatmap.normaliser),
        ("reg_loss", &distances.loss),
        ("reg_norm", &distances.normaliser),
    ];
    let loss = |(name, value): (&str, &Tensor<1>)| {
        Produced::float(format!("{prefix}{name}"), value.clone(), Tolerance::LOSS)
    };
    losses.into_iter().map(loss).collect()
}

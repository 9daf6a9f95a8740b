//! Token rules, points and boxes, maps and pixels. Names of outputs carry arguments in brackets.

use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::git::fusion;
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::loss::token_rule::TokenRule;
use crate::model::places::{
    border_grid, box_around, box_points, grid_tensor, image_sizes, solid_grid, to_absolute,
    to_relative,
};
use crate::model::prompt::location::point_labels;
use crate::model::vision::resize::{Kernel, resize_map};
use crate::model::vision::{FusionGrid, PixelStatistics, Resampling, fuse, normalise};

/// Settings of the operations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    begin_token_id: i64,
    end_token_id: i64,
    pixel_mean: [f32; 3],
    pixel_std: [f32; 3],
    /// Of the file: its outputs say which rules they want.
    #[allow(dead_code)]
    specs: Vec<String>,
}

/// The file's points are pixels; as relative points, they are shares of an image of this size.
const RELATIVE_TO_PX: f64 = 90.0;

/// Every output of which the name is known.
pub(super) fn operations(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let operations = Operations { vectors, settings: vectors.config()?, device };
    let mut produced = Vec::new();
    for name in vectors.output_names() {
        let (operation, arguments) = match name.split_once('[') {
            Some((operation, rest)) => (operation, rest.strip_suffix(']').unwrap_or(rest)),
            None => (name, ""),
        };
        let output = match operation {
            "valid_mask" => Some(operations.selected(name, arguments)?),
            "concat" => Some(operations.fused_maps(name, arguments)?),
            "fuse" => Some(operations.fused_states(name, arguments)?),
            _ if operation.starts_with("preprocess") => operations.pixels(name)?,
            _ => operations.geometry(name, operation, arguments)?,
        };
        produced.extend(output);
    }
    Ok(produced)
}

/// What the operations work on.
struct Operations<'a> {
    vectors: &'a Vectors,
    settings: Settings,
    device: &'a Device,
}

impl Operations<'_> {
    fn input<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        self.vectors.input(name, self.device)
    }

    /// `valid_mask[rule]`
    fn selected(&self, name: &str, rule: &str) -> Result<Produced> {
        let rule: TokenRule = rule
            .parse()
            .map_err(|error: String| self.vectors.problem(error, "Rules name kinds of tokens."))?;
        let Settings { begin_token_id: begin, end_token_id: end, .. } = self.settings;
        let vocabulary = Vocabulary { size: 0, pad: 0, begin, end };
        let tokens = self.vectors.integers::<3>("tokens", self.device)?;
        Ok(Produced::truths(name, rule.select(tokens, &vocabulary)))
    }

    /// `concat[a+b]`, `concat[a,b]`
    fn fused_maps(&self, name: &str, names: &str) -> Result<Produced> {
        let (grid, separator) = match names.contains(',') {
            true => (FusionGrid::First, ','),
            false => (FusionGrid::Largest, '+'),
        };
        let maps =
            names.split(separator).map(|name| Ok(self.input::<4>(name)?.permute([0, 3, 1, 2])));
        let fused = fuse(maps.collect::<Result<_>>()?, grid).permute([0, 2, 3, 1]);
        Ok(Produced::float(name, fused, Tolerance::FEATURES))
    }

    /// `fuse[sum:-1,-2,0]`, of `in/hidden_{i}`
    fn fused_states(&self, name: &str, method: &str) -> Result<Produced> {
        let count = self.vectors.input_names("hidden_").count();
        let states = (0..count).map(|i| self.input::<3>(&format!("hidden_{i}")));
        let states: Vec<_> = states.collect::<Result<_>>()?;
        let fused = fusion(self.vectors, method, count)?.fuse(&states);
        let fused =
            fused.ok_or_else(|| self.vectors.problem("nothing is fused", "Name a state."))?;
        Ok(Produced::float(name, fused, Tolerance::FEATURES))
    }

    /// `preprocess`, `preprocess_resized_{height}x{width}`
    fn pixels(&self, name: &str) -> Result<Option<Produced>> {
        let statistics =
            PixelStatistics { mean: self.settings.pixel_mean, deviation: self.settings.pixel_std };
        let images = self.input::<4>("images")?.permute([0, 3, 1, 2]);
        let mask = self.input::<3>("padding_mask")?.unsqueeze_dim(1);
        let pixels = normalise(images, mask, statistics);
        let [_, _, height, width] = pixels.dims();
        let size = match name.strip_prefix("preprocess_resized_") {
            None => Some([height, width]),
            Some(size) => size
                .split_once('x')
                .and_then(|(height, width)| Some([height.parse().ok()?, width.parse().ok()?])),
        };
        Ok(size.map(|size| {
            let pixels = resize_map(pixels, size, Kernel::Linear, Resampling::Jax);
            Produced::float(name, pixels.permute([0, 2, 3, 1]), Tolerance::FEATURES)
        }))
    }

    /// Grids, points, boxes and sizes; `None` where there is no such operation.
    fn geometry(&self, name: &str, operation: &str, arguments: &str) -> Result<Option<Produced>> {
        let numbers: Vec<i64> =
            arguments.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        let grid = |grid: Vec<[f32; 2]>| grid_tensor(&grid, self.device);
        let near = |output: Tensor<2>| Produced::float(name, output, Tolerance::FEATURES);
        let pixels = |output: Tensor<3>| Produced::float(name, output, Tolerance::PIXELS);
        let points = |output: Tensor<4>, tolerance| Produced::float(name, output, tolerance);
        let sizes = || Ok(self.input::<2>("image_shape_hw")?.flip([1]));
        let produced = match (operation, numbers.as_slice()) {
            ("solid_grid", &[side, offset]) => near(grid(solid_grid(side, offset != 0))),
            ("donut_grid", &[side, thickness, offset]) => {
                near(grid(border_grid(side, thickness.max(0) as usize, offset != 0)))
            }
            ("boxes_to_points.solid", &[side, offset]) => {
                points(box_points(self.input("boxes")?, side, offset != 0), Tolerance::PIXELS)
            }
            ("points_to_boxes", &[side]) => pixels(box_around(self.input("points")?, None, side)),
            ("points_to_boxes_valid", &[side]) => {
                let valid = self.vectors.integers::<3>("points_valid", self.device)?;
                let valid = valid.greater_elem(0);
                pixels(box_around(self.input("points")?, Some(valid), side))
            }
            ("boxes_to_relative", &[]) => {
                let boxes = to_relative(self.input::<3>("boxes")?, sizes()?);
                Produced::float(name, boxes, Tolerance::FEATURES)
            }
            ("points_to_relative", &[]) => {
                points(to_relative(self.input("points")?, sizes()?), Tolerance::FEATURES)
            }
            ("points_to_absolute", &[]) => {
                let relative = self.input::<4>("points")? / RELATIVE_TO_PX;
                points(to_absolute(relative, sizes()?), Tolerance::PIXELS)
            }
            ("get_image_shape", &[]) => near(self.shapes(self.input("padding_mask")?)),
            ("get_image_shape_nopad", &[]) => {
                near(self.shapes(self.input::<3>("padding_mask")?.ones_like()))
            }
            ("point_label.infer", &[]) => Produced::integers(name, self.labels()?),
            _ => return Ok(None),
        };
        Ok(Some(produced))
    }

    /// `(height, width)` of the images, `[B, 2]`.
    fn shapes(&self, padding_mask: Tensor<3>) -> Tensor<2> {
        image_sizes(padding_mask).flip([1])
    }

    /// Labels of `in/prompt_points` where prompts are valid and where they are not.
    fn labels(&self) -> Result<Tensor<3, Int>> {
        let [_, _, count, _] = self.input::<4>("prompt_points")?.dims();
        let valid = self.vectors.integers::<2>("prompt_valid", self.device)?.greater_elem(0);
        Ok(point_labels(valid, count))
    }
}

//! Image encoders and their fusion (`spec/model.md` §1–4).

pub mod drop_path;
pub mod eva;
pub mod positions;
pub mod resize;
pub mod rotary;
pub mod sam;
pub mod stem;
mod windowed_attention;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigProblem;
use super::storage::Storage;
use eva::{Eva, EvaConfig};
use resize::{Kernel, resize_map};
use sam::{Sam, SamConfig};

/// Mean and standard deviation of RGB for EVA-02 (those of CLIP), on pixels from 0 to 255.
const EVA_PIXELS: PixelStatistics = PixelStatistics {
    mean: [0.481_454_66 * 255.0, 0.457_827_5 * 255.0, 0.408_210_73 * 255.0],
    deviation: [0.268_629_54 * 255.0, 0.261_302_6 * 255.0, 0.275_777_1 * 255.0],
};
/// The same for SAM (those of ImageNet).
const SAM_PIXELS: PixelStatistics =
    PixelStatistics { mean: [123.675, 116.28, 103.53], deviation: [58.395, 57.12, 57.375] };

/// Which encoders look at the image, and how their maps become one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VisionConfig {
    /// The EVA-02 encoder (semantics); `false` for none.
    pub eva: Option<EvaConfig>,
    /// The SAM encoder (localisation); `false` for none.
    pub sam: Option<SamConfig>,
    /// The grid on which maps are fused.
    pub fusion: FusionGrid,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            eva: Some(EvaConfig::default()),
            sam: Some(SamConfig::default()),
            fusion: FusionGrid::Largest,
        }
    }
}

/// The grid to which every map is resized (bicubic) before channels are concatenated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusionGrid {
    /// The largest of the grids (the reference's `+`).
    Largest,
    /// The grid of the first encoder (the reference's `,`).
    First,
}

/// How pixels become the first tokens of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// One convolution of the size and stride of a patch: the published encoders.
    Patch,
    /// Stride-2 3×3 convolutions down to the patch grid: learns much faster from scratch (Xiao et
    /// al., *Early convolutions help transformers see better*, 2021). The patch must be a power of 2.
    Convolutional,
}

/// How tables of positions are resized to another grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Keys kernel a = −0.5, antialiased when shrinking: the reference.
    Jax,
    /// Keys kernel a = −0.75, never antialiased: what the public PyTorch checkpoints were trained with.
    Torch,
}

impl VisionConfig {
    /// What the matrices of each encoder are kept in.
    pub fn storage(&self) -> impl Iterator<Item = Storage> {
        let eva = self.eva.as_ref().map(|eva| eva.storage);
        let sam = self.sam.as_ref().map(|sam| sam.storage);
        eva.into_iter().chain(sam)
    }

    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self, canvas_px: usize) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        if self.eva.is_none() && self.sam.is_none() {
            problems.push(ConfigProblem {
                key: "eva".into(),
                problem: "there is no image encoder".into(),
                allowed: "[model.vision.eva], [model.vision.sam] or both".into(),
            });
        }
        let patches = [
            ("eva", self.eva.as_ref().map(|eva| (eva.patch_px, eva.input_px))),
            ("sam", self.sam.as_ref().map(|sam| (sam.patch_px, sam.input_px))),
        ];
        for (encoder, sizes) in patches {
            let Some((patch, input)) = sizes else { continue };
            let side = input.unwrap_or(canvas_px);
            if patch == 0 || patch > side {
                problems.push(ConfigProblem {
                    key: format!("{encoder}.patch_px"),
                    problem: format!("no patch of this size fits a canvas of {side} pixels"),
                    allowed: format!("1 to {side}"),
                });
            }
        }
        let of = ConfigProblem::under;
        problems.extend(self.eva.iter().flat_map(|eva| of("eva", eva.validate())));
        problems.extend(self.sam.iter().flat_map(|sam| of("sam", sam.validate())));
        problems
    }

    /// Channels of the fused map.
    pub fn output_channels(&self) -> usize {
        let eva = self.eva.as_ref().map_or(0, |eva| eva.width);
        eva + self.sam.as_ref().map_or(0, |sam| sam.output_channels)
    }

    /// Sides of the encoders' inputs for a canvas of `canvas_px` pixels: of all of them, as prompts see
    /// them, and of SAM.
    pub fn input_px(&self, canvas_px: usize) -> InputSides {
        let eva = self.eva.as_ref().map(|eva| eva.input_px.unwrap_or(canvas_px));
        let sam = self.sam.as_ref().map(|sam| sam.input_px.unwrap_or(canvas_px));
        let mut sides = [eva, sam].into_iter().flatten();
        let fused = match self.fusion {
            FusionGrid::First => sides.next(),
            FusionGrid::Largest => sides.max(),
        };
        InputSides { fused: fused.unwrap_or(canvas_px), sam: sam.unwrap_or(canvas_px) }
    }

    /// Builds the encoders on `device`.
    pub fn init(&self, device: &Device) -> Vision {
        Vision {
            eva: self.eva.as_ref().map(|eva| eva.init(device)),
            sam: self.sam.as_ref().map(|sam| sam.init(device)),
            eva_px: self.eva.as_ref().and_then(|eva| eva.input_px),
            sam_px: self.sam.as_ref().and_then(|sam| sam.input_px),
            fusion: self.fusion,
        }
    }
}

/// Sides of inputs in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSides {
    /// The largest, or that of the first encoder where the fused map has its grid.
    pub fused: usize,
    /// Of SAM.
    pub sam: usize,
}

/// A convolutional stem halves the grid until one cell is a patch.
fn stem_problem(stem: Stem, patch_px: usize) -> Option<ConfigProblem> {
    let impossible = stem == Stem::Convolutional && (patch_px < 2 || !patch_px.is_power_of_two());
    impossible.then(|| ConfigProblem {
        key: "patch_px".into(),
        problem: format!("a convolutional stem cannot make patches of {patch_px} pixels"),
        allowed: "a power of 2, or stem = \"patch\"".into(),
    })
}

/// What pixels are normalised with, per channel.
#[derive(Debug, Clone, Copy)]
pub struct PixelStatistics {
    /// What becomes 0.
    pub mean: [f32; 3],
    /// What becomes 1, seen from the mean.
    pub deviation: [f32; 3],
}

/// The image encoders.
#[derive(Module, Debug)]
pub struct Vision {
    eva: Option<Eva>,
    sam: Option<Sam>,
    #[module(skip)]
    eva_px: Option<usize>,
    #[module(skip)]
    sam_px: Option<usize>,
    #[module(skip)]
    fusion: FusionGrid,
}

/// What the encoders saw.
#[derive(Debug, Clone)]
pub struct VisionFeatures {
    /// All maps on one grid, channels of EVA-02 first: `[B, D, H, W]`.
    pub fused: Tensor<4>,
    /// SAM's map on its own grid, for the mask decoder: `[B, D, H, W]`.
    pub sam: Option<Tensor<4>>,
}

impl Vision {
    /// The same with encoders that no gradient reaches.
    pub fn freeze(self, eva: bool, sam: bool) -> Self {
        Self {
            eva: self.eva.map(|encoder| if eva { encoder.no_grad() } else { encoder }),
            sam: self.sam.map(|encoder| if sam { encoder.no_grad() } else { encoder }),
            ..self
        }
    }

    /// # Shapes
    /// - `images`: `[B, 3, S, S]`, RGB 0–255
    /// - `padding_mask`: `[B, S, S]`, 1 on the image, 0 on the padding
    pub fn forward(&self, images: Tensor<4>, padding_mask: Tensor<3>) -> VisionFeatures {
        let mask: Tensor<4> = padding_mask.unsqueeze_dim(1);
        let input = |pixels, side: Option<usize>| {
            let images = normalise(images.clone(), mask.clone(), pixels);
            match side {
                Some(side) => resize_map(images, [side; 2], Kernel::Linear, Resampling::Jax),
                None => images,
            }
        };
        let eva = self.eva.as_ref().map(|eva| eva.forward(input(EVA_PIXELS, self.eva_px)));
        let sam = self.sam.as_ref().map(|sam| sam.forward(input(SAM_PIXELS, self.sam_px)));
        let maps = [eva, sam.clone()].into_iter().flatten().collect();
        VisionFeatures { fused: fuse(maps, self.fusion), sam }
    }
}

/// Brings maps `[B, D, H, W]` to one grid and concatenates their channels. Maps are resized by the
/// reference's convention whatever the encoders' own tables use. There must be a map.
pub fn fuse(maps: Vec<Tensor<4>>, grid: FusionGrid) -> Tensor<4> {
    let of = |map: &Tensor<4>| [map.dims()[2], map.dims()[3]];
    let target = match grid {
        FusionGrid::First => maps.first().map(of),
        // By height, then by width.
        FusionGrid::Largest => maps.iter().map(of).max(),
    };
    let resized = maps.into_iter().map(|map| {
        let target = target.unwrap_or(of(&map));
        resize_map(map, target, Kernel::Cubic, Resampling::Jax)
    });
    Tensor::cat(resized.collect(), 1)
}

/// Pixels to zero mean and unit deviation; padding is exactly zero afterwards.
///
/// # Shapes
/// - `images`: `[B, 3, H, W]`, RGB 0–255
/// - `mask`: `[B, 1, H, W]`, 1 on the image, 0 on the padding
pub fn normalise(images: Tensor<4>, mask: Tensor<4>, pixels: PixelStatistics) -> Tensor<4> {
    let device = images.device();
    let channels = |values: [f32; 3]| Tensor::<1>::from_data(values, &device).reshape([1, 3, 1, 1]);
    (images - channels(pixels.mean)) / channels(pixels.deviation) * mask
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::module::Module;
    use burn::tensor::{DType, Distribution};

    use super::*;
    use crate::model::storage::store_matrices;
    use crate::model::testing::tiny_config;

    #[test]
    fn both_maps_are_fused_on_the_largest_grid() {
        let device = Device::flex();
        let tiny = tiny_config().vision;
        let sam = tiny.sam.map(|sam| SamConfig { patch_px: 8, ..sam });
        let config = VisionConfig { sam, ..tiny };
        assert_eq!(config.fusion, FusionGrid::Largest);
        let vision = config.init(&device);
        let images = Tensor::ones([2, 3, 16, 16], &device) * 100.0;
        let features = vision.forward(images.clone(), Tensor::ones([2, 16, 16], &device));
        assert_eq!(features.fused.dims(), [2, config.output_channels(), 4, 4]);
        assert_eq!(features.sam.unwrap().dims(), [2, 6, 2, 2]);

        let eva = config.eva.map(|eva| EvaConfig { input_px: Some(24), ..eva });
        let config = VisionConfig { eva, ..config };
        let resized = config.init(&device);
        let features = resized.forward(images, Tensor::ones([2, 16, 16], &device));
        assert_eq!(features.fused.dims(), [2, 22, 6, 6]);
    }

    #[test]
    fn encoders_in_half_precision_see_what_the_wide_ones_of_their_numbers_see() {
        let device = Device::flex();
        let wide = VisionConfig { fusion: FusionGrid::Largest, ..tiny_config().vision };
        let (eva, sam) = (wide.eva.clone(), wide.sam.clone());
        let in_storage = |storage| VisionConfig {
            eva: eva.clone().map(|eva| EvaConfig { storage, ..eva }),
            sam: sam.clone().map(|sam| SamConfig { storage, ..sam }),
            ..wide.clone()
        };
        let record = wide.init(&device).into_record();
        let images = Tensor::random([1, 3, 16, 16], Distribution::Uniform(0.0, 255.0), &device);
        let seen = |vision: &Vision| {
            vision.forward(images.clone(), Tensor::ones([1, 16, 16], &device)).fused
        };
        let off = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
        let expected = seen(&wide.init(&device).load_record(record.clone()));
        for storage in [Storage::Bf16, Storage::F16] {
            // What is loaded becomes narrow, too.
            let narrow = in_storage(storage).init(&device).load_record(record.clone());
            let rounded = store_matrices(narrow.clone(), DType::F32);
            assert!(off(seen(&narrow), seen(&rounded)) < 1e-5);
            let error = off(seen(&rounded), expected.clone());
            assert!(error > 0.0 && error < 0.1, "rounded by {error}");
        }
    }

    #[test]
    fn padding_is_zero_after_normalisation() {
        let device = Device::flex();
        let mask = Tensor::<4>::from_data([[[[1.0, 0.0]]]], &device);
        let images = Tensor::<4>::zeros([1, 3, 1, 2], &device);
        let out: Vec<f32> = normalise(images, mask, SAM_PIXELS).into_data().try_to_vec().unwrap();
        assert!((out[0] + 123.675 / 58.395).abs() < 1e-5);
        assert_eq!(out[1], 0.0);
    }
}

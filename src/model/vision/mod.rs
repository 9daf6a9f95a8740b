//! Image encoders and their fusion (`spec/model.md` §1–4).

pub mod eva;
pub mod sam;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use eva::EvaConfig;
use sam::SamConfig;

/// Which encoders look at the image, and how their maps become one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VisionConfig {
    /// The EVA-02 encoder (semantics); leave out for none.
    pub eva: Option<EvaConfig>,
    /// The SAM encoder (localisation); leave out for none.
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

//! The point head.

use burn::tensor::Device;
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::activation::Activation;
use crate::model::heads::points::PointConfig;
use crate::weights::points;

/// Settings of the reference's point head.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PointSettings {
    /// Where weights start; the vectors bring theirs.
    #[serde(default)]
    #[allow(dead_code)]
    zero_out: bool,
    hidden_dim: usize,
    depth: usize,
    num_output_points: usize,
    #[serde(default = "one")]
    num_classes: usize,
    pre_norm: bool,
    mlp_activation: String,
}

fn one() -> usize {
    1
}

/// An activation by its name in the reference.
pub(super) fn activation(vectors: &Vectors, setting: &str, name: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "relu" => Ok(Activation::Relu),
        other => {
            let problem = format!("`{setting}` is {other:?}; only \"gelu\" and \"relu\" are built");
            Err(vectors.problem(problem, "No published model has another activation here."))
        }
    }
}

impl PointSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<PointConfig> {
        Ok(PointConfig {
            depth: self.depth,
            hidden_width: self.hidden_dim,
            num_points: self.num_output_points,
            num_classes: self.num_classes,
            pre_norm: self.pre_norm,
            activation: activation(vectors, "mlp_activation", &self.mlp_activation)?,
        })
    }
}

/// `in/text_feat` → `out/point_coords`, `out/logits`.
pub(super) fn head(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: PointSettings = vectors.config()?;
    let features = vectors.input::<4>("text_feat", device)?;
    let mut head = settings.config(vectors)?.init(features.dims()[3], device);
    vectors.load(&mut head, &points::JAX, "param/")?;
    Ok(vec![
        Produced::float("point_coords", head.forward(features.clone()), Tolerance::FEATURES),
        Produced::float("logits", head.class_scores(features), Tolerance::FEATURES),
    ])
}

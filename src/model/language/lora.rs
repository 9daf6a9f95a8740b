//! Low-rank adaptation of linear layers (Hu et al., 2021; `spec/model.md` §8.4).
//!
//! The sum `W + scale · A · B` is never formed in training: its gradient would be as large as `W`,
//! and sparing that is what adapters are for.

use burn::module::{Initializer, Module, ModuleMapper, Param};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;
use crate::model::matrix_product::apply;
use crate::model::mixed_precision::linear;

/// A projection of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// Rows to queries.
    Query,
    /// Rows to keys.
    Key,
    /// Rows to values.
    Value,
    /// Mixed values back to rows.
    Output,
}

/// Adapters of the attentions of one stack; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of what is added; 0 for nothing.
    pub rank: usize,
    /// What the low-rank product is multiplied by. It is not divided by the rank.
    pub scale: f64,
    /// Dropout on what the adapters read.
    pub dropout: f64,
    /// Which projections of every attention have an adapter.
    pub projections: Vec<Projection>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 32,
            scale: 2.0,
            dropout: 0.0,
            projections: vec![Projection::Query, Projection::Value],
        }
    }
}

impl LoraConfig {
    /// Whether `projection` has an adapter.
    pub fn adapts(&self, projection: Projection) -> bool {
        self.rank > 0 && self.projections.contains(&projection)
    }

    /// `base` with an adapter that adds nothing yet: `A` starts as `down`, `B` at 0.
    pub fn adapt(&self, base: Linear, down: &Initializer) -> LoraLinear {
        let [inputs, outputs] = base.weight.lazy_shape().dims();
        let device = base.weight.lazy_device();
        let linear = |initializer: &Initializer, shape: [usize; 2]| Linear {
            weight: initializer.init(shape, &device),
            bias: None,
        };
        let lora = Adapter {
            down: linear(down, [inputs, self.rank]),
            up: linear(&Initializer::Zeros, [self.rank, outputs]),
            dropout: DropoutConfig::new(self.dropout).init(),
            scale: self.scale,
        };
        LoraLinear { base, lora: Some(lora) }
    }

    /// What cannot be built; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        ConfigProblem::dropout("dropout", self.dropout).into_iter().collect()
    }
}

/// A linear layer, with or without an adapter.
#[derive(Module, Debug)]
pub struct LoraLinear {
    base: Linear,
    lora: Option<Adapter>,
}

/// The low-rank part.
#[derive(Module, Debug)]
struct Adapter {
    /// `A`: `[inputs, rank]`.
    down: Linear,
    /// `B`: `[rank, outputs]`.
    up: Linear,
    dropout: Dropout,
    #[module(skip)]
    scale: f64,
}

impl From<Linear> for LoraLinear {
    /// An ordinary linear layer.
    fn from(base: Linear) -> Self {
        Self { base, lora: None }
    }
}

impl LoraLinear {
    /// `x · W + scale · (dropout(x) · A) · B`.
    ///
    /// # Shapes
    /// - `x`: `[…, inputs]`
    /// - output: `[…, outputs]`
    pub fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        let Some(lora) = &self.lora else { return apply(&self.base, x) };
        let low = linear(&lora.down, lora.dropout.forward(x.clone()));
        // Scaling the narrow side touches fewest numbers.
        apply(&self.base, x) + linear(&lora.up, low.mul_scalar(lora.scale))
    }

    /// The layer that computes the same without an adapter, for inference: `W + scale · A · B`. One whose
    /// matrix is kept in half precision is left as it is: the sum would be rounded.
    pub fn merge(self) -> Self {
        let Self { base, lora: Some(lora) } = self else { return self };
        if base.weight.val().dtype() != lora.down.weight.val().dtype() {
            return Self { base, lora: Some(lora) };
        }
        let Adapter { down, up, scale, .. } = lora;
        let added = down.weight.val().matmul(up.weight.val()).mul_scalar(scale).detach();
        let weight = base.weight.map(|weight| weight.detach() + added);
        Self { base: Linear { weight, ..base }, lora: None }
    }
}

/// Takes every parameter out of training but those of adapters. Dropout stays as it is.
pub fn train_adapters_only<M: Module>(module: M) -> M {
    module.map(&mut AdaptersOnly { depth: 0 })
}

/// Walks a module; `depth` counts the enclosing modules from an adapter on.
struct AdaptersOnly {
    depth: usize,
}

impl ModuleMapper for AdaptersOnly {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.depth += usize::from(self.depth > 0 || name == "lora");
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.depth > 0 { param } else { param.no_grad() }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;

    fn linear<const I: usize, const O: usize>(rows: [[f32; O]; I], device: &Device) -> Linear {
        Linear { weight: Param::from_data(rows, device), bias: None }
    }

    /// Rank 1, scale 3.
    fn adapted(device: &Device) -> LoraLinear {
        LoraLinear {
            base: linear([[1.0, 0.0], [0.0, 1.0]], device),
            lora: Some(Adapter {
                down: linear([[1.0], [2.0]], device),
                up: linear([[10.0, -1.0]], device),
                dropout: DropoutConfig::new(0.0).init(),
                scale: 3.0,
            }),
        }
    }

    #[test]
    fn what_is_added_is_the_scaled_product_and_merging_keeps_it() {
        let device = Device::flex();
        let x = Tensor::<2>::from_data([[4.0, 5.0]], &device);
        // x·A = 14; ·B = [140, −14]; ·3 = [420, −42]; plus x.
        let expected = Tensor::<2>::from_data([[424.0, -37.0]], &device).into_data();
        let layer = adapted(&device);
        let tolerance = Tolerance::<f32>::default();
        layer.forward(x.clone()).into_data().assert_approx_eq(&expected, tolerance);
        layer.merge().forward(x).into_data().assert_approx_eq(&expected, tolerance);
    }

    #[test]
    fn a_fresh_adapter_adds_nothing() {
        let device = Device::flex();
        let normal = Initializer::Normal { mean: 0.0, std: 1.0 };
        let base = linear([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device);
        let layer = LoraConfig { rank: 2, ..LoraConfig::default() }.adapt(base, &normal);
        let output = layer.forward(Tensor::<2>::from_data([[1.0, 1.0]], &device));
        output
            .into_data()
            .assert_eq(&Tensor::<2>::from_data([[5.0, 7.0, 9.0]], &device).into_data(), true);
    }

    #[test]
    fn rank_0_and_projections_not_named_have_no_adapter() {
        let config = LoraConfig::default();
        assert!(config.adapts(Projection::Value) && !config.adapts(Projection::Key));
        assert!(!LoraConfig { rank: 0, ..config }.adapts(Projection::Value));
    }

    #[test]
    fn with_adapters_only_the_base_has_no_gradient_and_what_it_reads_has_the_whole() {
        let device = Device::flex().autodiff();
        let layer = train_adapters_only(adapted(&device));
        let x = Tensor::<2>::from_data([[4.0, 5.0]], &device).require_grad();
        let gradients = layer.forward(x.clone()).sum().backward();
        assert!(layer.base.weight.grad(&gradients).is_none());
        let lora = layer.lora.as_ref();
        let tolerance = Tolerance::<f32>::default();
        // d/dB = 3·(x·A); d/dA = 3·xᵀ·ΣB; d/dx = 1 + 3·A·ΣB.
        let up = lora.and_then(|lora| lora.up.weight.grad(&gradients)).map(Tensor::into_data);
        let down = lora.and_then(|lora| lora.down.weight.grad(&gradients)).map(Tensor::into_data);
        let of_x = x.grad(&gradients).map(Tensor::into_data);
        for (found, expected) in [
            (up, Tensor::<2>::from_data([[42.0, 42.0]], &device)),
            (down, Tensor::<2>::from_data([[108.0], [135.0]], &device)),
            (of_x, Tensor::<2>::from_data([[28.0, 55.0]], &device)),
        ] {
            assert!(found.is_some());
            if let Some(found) = found {
                found.assert_approx_eq(&expected.into_data(), tolerance);
            }
        }
    }
}

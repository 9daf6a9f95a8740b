//! Features from the hidden states of several layers (`spec/model.md` §7, an option of the
//! reference).

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ConfigProblem;

/// Which hidden states features are made of; by default the last layer's alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenFusion {
    /// How several states become one.
    pub method: FusionMethod,
    /// The states: 0 is the embeddings, 1 the first layer; −1 is the last layer, −2 the one before.
    pub layers: Vec<i64>,
}

/// How several hidden states become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FusionMethod {
    /// Their sum.
    Sum,
    /// One beside the other, in the order in which they are listed.
    Concat,
}

impl Default for HiddenFusion {
    fn default() -> Self {
        Self { method: FusionMethod::Sum, layers: vec![-1] }
    }
}

impl HiddenFusion {
    /// What cannot be built of `count` states, embeddings included; keys are relative to this table.
    pub fn validate(&self, count: usize) -> Vec<ConfigProblem> {
        let outside = self.layers.iter().find(|&&layer| position(layer, count).is_none());
        let problem = match outside {
            Some(layer) => format!("there is no hidden state {layer}"),
            None if self.layers.is_empty() => "no hidden state is listed".to_string(),
            None => return Vec::new(),
        };
        let allowed = format!("one or more of -{count} to {}", count.saturating_sub(1));
        vec![ConfigProblem { key: "layers".to_string(), problem, allowed }]
    }

    /// Width of the features that states of `width` make.
    pub fn output_width(&self, width: usize) -> usize {
        match self.method {
            FusionMethod::Sum => width,
            FusionMethod::Concat => width * self.layers.len(),
        }
    }

    /// Whether the features are the last of `count` states as it is.
    pub fn is_last_alone(&self, count: usize) -> bool {
        matches!(self.layers.as_slice(), &[layer] if position(layer, count) == Some(count - 1))
    }

    /// The features; layers that [`Self::validate`] objects to are left out.
    ///
    /// # Shapes
    /// - `states`: each `[R, L, D]`; the embeddings, then the output of every layer
    /// - result: `[R, L, D]`, or `[R, L, layers · D]` where they are concatenated
    pub fn fuse(&self, states: &[Tensor<3>]) -> Option<Tensor<3>> {
        let chosen = self.layers.iter().filter_map(|&layer| position(layer, states.len()));
        let chosen = chosen.map(|position| states[position].clone());
        match self.method {
            FusionMethod::Sum => chosen.reduce(|sum, state| sum + state),
            FusionMethod::Concat => {
                let chosen: Vec<_> = chosen.collect();
                (!chosen.is_empty()).then(|| Tensor::cat(chosen, 2))
            }
        }
    }
}

/// Position of a layer among `count` states; negative ones count from the end.
fn position(layer: i64, count: usize) -> Option<usize> {
    let from_start = if layer < 0 { layer + count as i64 } else { layer };
    usize::try_from(from_start).ok().filter(|&position| position < count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn fused(method: FusionMethod, layers: &[i64]) -> Vec<f32> {
        let device = Device::flex();
        let states = [1.0, 10.0, 100.0].map(|value| Tensor::<3>::full([1, 1, 1], value, &device));
        let fusion = HiddenFusion { method, layers: layers.to_vec() };
        fusion.fuse(&states).unwrap().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn states_are_counted_from_the_embeddings_or_from_the_last_layer() {
        assert_eq!(fused(FusionMethod::Sum, &[0, -1]), [101.0]);
        assert_eq!(fused(FusionMethod::Concat, &[-2, 0, 2]), [10.0, 1.0, 100.0]);
    }

    #[test]
    fn a_state_that_is_not_there_is_named_with_what_is_allowed() {
        let of = |layers: &[i64]| {
            HiddenFusion { layers: layers.to_vec(), ..HiddenFusion::default() }.validate(3)
        };
        assert!(of(&[-3, 2]).is_empty());
        assert!(of(&[3])[0].problem.contains('3'));
        assert_eq!(of(&[-4])[0].allowed, "one or more of -3 to 2");
        assert_eq!(of(&[]).len(), 1);
    }
}

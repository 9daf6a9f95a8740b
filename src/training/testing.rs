//! What the tests of gradients share: directions in the space of a model's parameters, what gradients
//! say of the loss along one, and what differences of the loss find.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::parameters::is_trained;

/// A trained parameter.
pub(super) struct Trained<'a> {
    /// Where it is in the module.
    pub(super) path: &'a str,
    /// Its number among all parameters, from 1.
    pub(super) number: usize,
    pub(super) shape: &'a [usize],
    /// `None` where the loss does not depend on it.
    pub(super) gradient: Option<&'a [f32]>,
}

/// A direction that parameters are moved along.
#[derive(Default)]
pub(super) struct Direction {
    values: HashMap<ParamId, Vec<f32>>,
    /// The slope of the loss along it, by the gradients.
    pub(super) slope: f64,
    squares: f64,
}

impl Direction {
    /// `along`: the direction of each parameter; `None` for one that stays.
    pub(super) fn new<M: Module>(
        module: &M,
        gradients: &GradientsParams,
        along: impl FnMut(&Trained<'_>) -> Option<Vec<f32>>,
    ) -> Self {
        let direction = Self::default();
        let mut chooser = Chooser { gradients, along, path: Vec::new(), number: 0, direction };
        module.visit(&mut chooser);
        chooser.direction
    }

    /// The length of the direction.
    pub(super) fn norm(&self) -> f64 {
        self.squares.sqrt()
    }

    /// The slopes of `loss` from a step back to `module`, where it is `here`, and from there to a step
    /// ahead. `module` is not on a device with autodiff.
    pub(super) fn slopes<M: Module>(
        &self,
        module: &M,
        here: f64,
        step: f64,
        loss: impl Fn(&M) -> f64,
    ) -> [f64; 2] {
        let at = |step: f64| loss(&module.clone().map(&mut Moved { values: &self.values, step }));
        [(here - at(-step)) / step, (at(step) - here) / step]
    }
}

/// Whether `slope` is between two others, or as near as `tolerance`. Where something turns within a step (a
/// rectifier, the edges of boxes), the gradient is the slope on either side.
pub(super) fn is_between(slope: f64, [one, other]: [f64; 2], tolerance: f64) -> bool {
    (one.min(other) - tolerance..=one.max(other) + tolerance).contains(&slope)
}

struct Chooser<'a, F> {
    gradients: &'a GradientsParams,
    along: F,
    path: Vec<String>,
    number: usize,
    direction: Direction,
}

impl<F: FnMut(&Trained<'_>) -> Option<Vec<f32>>> ModuleVisitor for Chooser<'_, F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.number += 1;
        if !is_trained(param) {
            return;
        }
        let gradient = self.gradients.get::<D>(param.id);
        let gradient: Option<Vec<f32>> = gradient.map(|values| values.into_data().iter().collect());
        let trained = Trained {
            path: &self.path.join("."),
            number: self.number,
            shape: &param.lazy_shape(),
            gradient: gradient.as_deref(),
        };
        let Some(values) = (self.along)(&trained) else { return };
        let dot = |(a, b): (&f32, &f32)| f64::from(a * b);
        self.direction.slope += gradient.iter().flatten().zip(&values).map(dot).sum::<f64>();
        self.direction.squares += values.iter().zip(&values).map(dot).sum::<f64>();
        self.direction.values.insert(param.id, values);
    }
}

/// Moves parameters along their directions.
struct Moved<'a> {
    values: &'a HashMap<ParamId, Vec<f32>>,
    step: f64,
}

impl ModuleMapper for Moved<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.get(&param.id) else { return param };
        param.map(|value| {
            let values = TensorData::new(values.clone(), value.dims());
            let direction = Tensor::<D>::from_data(values, &value.device());
            value + direction * self.step
        })
    }
}

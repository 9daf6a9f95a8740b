//! Norms of gradients, by the reference's names of parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};

use super::vectors::Vectors;
use crate::error::Result;
use crate::weights::layout::Component;

/// The norm of the gradient of each of `names` (without `param/`), in their order: `[N]`. A parameter
/// that the loss does not reach has 0.
pub(super) fn gradient_norms<M: Module>(
    vectors: &Vectors,
    module: &M,
    gradients: Gradients,
    names: &[String],
    parts: &[Component],
) -> Result<Vec<f32>> {
    let gradients = GradientsParams::from_grads(gradients, module);
    let mut visitor = Squares { gradients: &gradients, path: Vec::new(), squares: BTreeMap::new() };
    module.visit(&mut visitor);
    let squares = visitor.squares;
    let maps: Vec<_> = parts.iter().map(|one| one.map.compile(one.theirs, one.ours)).collect();
    let norm = |name: &String| {
        let name = format!("param/{name}");
        // One of theirs may be several of ours.
        let targets: Vec<_> = maps.iter().flat_map(|map| map.targets(&name)).collect();
        let found: Option<Vec<f32>> =
            targets.iter().map(|target| squares.get(&target.path).copied()).collect();
        let found = found.filter(|found| !found.is_empty()).ok_or_else(|| {
            vectors.problem(
                format!("`{name}` of its `grad_norm_param_order` is no parameter here"),
                "Is it a whole file of golden vectors?",
            )
        })?;
        Ok(found.iter().sum::<f32>().sqrt())
    };
    names.iter().map(norm).collect()
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    path: Vec<String>,
    squares: BTreeMap<String, f32>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        let squares = gradient.map_or(0.0, |one| one.square().sum().into_scalar::<f32>());
        self.squares.insert(self.path.join("."), squares);
    }
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

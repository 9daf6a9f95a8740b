//! Norms of gradients, by the reference's names of parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};

use super::vectors::Vectors;
use crate::error::Result;
use crate::weights::name_map::CompiledMap;

/// The norm of the gradient of each of `names` (without `param/`), in their order: `[N]`. A parameter
/// that the loss does not reach has 0. `maps` are of names with `param/`.
pub(super) fn gradient_norms<M: Module>(
    vectors: &Vectors,
    module: &M,
    gradients: Gradients,
    names: &[String],
    maps: &[CompiledMap],
) -> Result<Vec<f32>> {
    let gradients = GradientsParams::from_grads(gradients, module);
    let mut visitor = Squares { gradients: &gradients, path: Vec::new(), squares: BTreeMap::new() };
    module.visit(&mut visitor);
    let squares = visitor.squares;
    let norm = |name: &String| {
        let name = format!("param/{name}");
        // One of theirs may be several of ours, or a row of one. Not every target is in this module.
        let targets = maps.iter().flat_map(|map| map.targets(&name));
        let found: Vec<f32> = targets
            .filter_map(|target| {
                let rows = squares.get(&target.path)?;
                target.row.map_or_else(|| Some(rows.iter().sum()), |row| rows.get(row).copied())
            })
            .collect();
        if found.is_empty() {
            let problem = format!("`{name}` of its `grad_norm_param_order` is no parameter here");
            return Err(vectors.problem(problem, "Is it a whole file of golden vectors?"));
        }
        Ok(found.iter().sum::<f32>().sqrt())
    };
    names.iter().map(norm).collect()
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    path: Vec<String>,
    /// By row: index of the first axis.
    squares: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        let [rows, ..] = param.dims()[..] else { return };
        let squares = gradient.map_or_else(
            || vec![0.0; rows],
            |one| {
                let squares = one.square().reshape([rows as i32, -1]) as Tensor<2>;
                squares.sum_dim(1).into_data().iter::<f32>().collect()
            },
        );
        self.squares.insert(self.path.join("."), squares);
    }
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }
    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

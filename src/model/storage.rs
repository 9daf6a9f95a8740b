//! Matrices in half precision: 3 billion numbers in 6 GB.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};

/// Modules whose matrices stay as they are: adapters are trained, and the tables of relative positions
/// are small.
const KEPT: [&str; 2] = ["lora", "positions"];

/// `module` with its matrices kept as `dtype`: those that it has, those that it is about to make, and
/// those that are loaded into it. Nothing is initialised for it.
pub(super) fn store_matrices<M: Module>(module: M, dtype: DType) -> M {
    module.map(&mut StoreMatrices { dtype, depth: 0 })
}

/// Walks a module; `depth` counts the enclosing modules from one of [`KEPT`] on.
struct StoreMatrices {
    dtype: DType,
    depth: usize,
}

impl ModuleMapper for StoreMatrices {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.depth += usize::from(self.depth > 0 || KEPT.contains(&name));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 2 || self.depth > 0 {
            return param;
        }
        let dtype = self.dtype;
        param
            .init_mapper(move |matrix: Tensor<D>| matrix.cast(dtype))
            .load_mapper(move |matrix: Tensor<D>| matrix.cast(dtype))
    }
}

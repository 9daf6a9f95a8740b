//! Matrices in half precision: 3 billion numbers in 6 GB. For what is not trained; everything is computed
//! in the type of what a matrix is multiplied with.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Modules and tables that stay as they are: adapters are trained, and relative positions are small.
const KEPT: [&str; 4] = ["lora", "positions", "relative_rows", "relative_columns"];

/// What matrices are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32` and 3 digits: what Flan-T5 was trained in.
    Bf16,
    /// 16 bits with 4 digits, up to 65504.
    F16,
}

impl Storage {
    /// As Burn calls it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// `module` with its matrices kept as `storage` says: those that it has, those that it is about to make,
/// and those that are loaded into it. Nothing is initialised for it.
pub(super) fn store<M: Module>(module: M, storage: Storage) -> M {
    match storage {
        Storage::F32 => module,
        narrow => store_matrices(module, narrow.dtype()),
    }
}

/// [`store`] in any type, 32 bits too.
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

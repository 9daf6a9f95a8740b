//! NVIDIA GPUs.

use burn::tensor::Device;

use super::error;
use crate::error::Result;

/// The CUDA devices, in the driver's order. Asks CubeCL's CUDA runtime alone: `Device::enumerate`
/// would ask the graphics drivers too.
pub(super) fn devices() -> Vec<Device> {
    (0_usize..).take_while(|&index| cubecl::Device::cuda(index).is_ok()).map(Device::cuda).collect()
}

/// Kernels are compiled on the machine that runs them, with the headers of the CUDA toolkit; where
/// they are missing, CubeCL panics at the first kernel.
pub(super) fn require_toolkit(name: &str) -> Result<()> {
    match cubecl::cuda::install::cuda_path() {
        Some(path) if path.join("include").is_dir() => Ok(()),
        found => Err(error(
            match found {
                Some(path) => format!(
                    "device `{name}` needs the CUDA toolkit, and {} has no folder `include`",
                    path.display()
                ),
                None => format!("device `{name}` needs the CUDA toolkit, which was not found"),
            },
            "Install the CUDA toolkit and set CUDA_PATH to its folder, or use `cpu`.",
        )),
    }
}

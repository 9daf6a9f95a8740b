//! Which types of numbers a device supports, found out by asking it.

use burn::tensor::{DType, Device, Tensor};

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use super::panics;
use super::{describe, error};
use crate::error::Result;

/// Refuses a type of numbers that `device` cannot keep.
///
/// # Errors
/// [`Error::Device`] that says which.
pub fn check_keeps(device: &Device, dtype: DType) -> Result<()> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    let name = format!("{dtype:?}").to_lowercase();
    Err(error(
        format!("{} has no numbers of type {name}", describe(device)),
        "Keep the weights in 32 bits (storage = \"f32\" of language model and encoders), or choose \
         another device.",
    ))
}

/// Refuses a type that `device` cannot multiply matrices of: asks for a small product, since a device may
/// keep numbers of a type and have no kernel for them.
///
/// # Errors
/// [`Error::Device`] that says which.
pub fn check_multiplies(device: &Device, dtype: DType) -> Result<()> {
    let device = device.clone().inner();
    let product = || {
        let ones = Tensor::<2>::ones([4, 4], &device).cast(dtype);
        ones.clone().matmul(ones).cast(DType::F32).sum().into_scalar::<f32>()
    };
    let computes = device.supports_dtype(dtype) && quietly(product) == Some(64.0);
    if computes {
        return Ok(());
    }
    let name = format!("{dtype:?}").to_lowercase();
    Err(error(
        format!("{} does not multiply matrices of type {name}", describe(&device)),
        "Train in 32 bits (precision = \"f32\"), or choose another device.",
    ))
}

/// What `work` gives; `None` where a device panics over it.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn quietly<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    panics::caught(work).ok()
}

/// What `work` gives: the CPU's kernels do not panic.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    Some(work())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::backend::device;

    #[test]
    fn types_that_a_device_does_not_have_are_refused() {
        let cpu = device("cpu").unwrap();
        for kept in [DType::F32, DType::BF16, DType::F16] {
            check_keeps(&cpu, kept).unwrap();
        }
        let error = check_keeps(&cpu, DType::Flex32).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().ends_with("has no numbers of type flex32"), "{error}");
    }

    #[test]
    fn types_that_a_device_does_not_multiply_are_refused_with_what_to_do() {
        let cpu = device("cpu").unwrap().autodiff();
        for multiplied in [DType::F32, DType::BF16, DType::F16] {
            check_multiplies(&cpu, multiplied).unwrap();
        }
        let error = check_multiplies(&cpu, DType::Flex32).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.ends_with("does not multiply matrices of type flex32"), "{text}");
    }
}

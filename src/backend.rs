//! The only file that names concrete backends: `"cpu"`, `"wgpu"`, `"cuda:0"` → [`Device`].

use burn::tensor::Device;

use crate::error::{Error, Result};

/// Finds the device that `name` asks for.
///
/// # Errors
/// [`Error::Device`] where this build lacks the backend, or this machine the device.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        other => Err(Error::Device {
            problem: format!("unknown device `{other}`"),
            help: "Use \"cpu\".".to_string(),
        }),
    }
}

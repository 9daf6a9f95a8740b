//! The graphics adapters that wgpu reaches, best first.

use burn::tensor::{Device, DeviceKind, DeviceType};

/// Discrete GPUs, then integrated and virtual ones, then what says nothing of its kind, and a
/// software driver last: the order in which `wgpu:0`, `wgpu:1` … count.
pub(super) fn devices() -> Vec<Device> {
    let found = Device::enumerate(DeviceType::Wgpu).into_vec();
    let of_kind = |kind: fn(usize) -> DeviceKind| (0..found.len()).map(kind).map(Device::wgpu);
    let known: Vec<Device> = of_kind(DeviceKind::DiscreteGpu)
        .chain(of_kind(DeviceKind::IntegratedGpu))
        .chain(of_kind(DeviceKind::VirtualGpu))
        .filter(|device| found.contains(device))
        .collect();
    let (software, other): (Vec<_>, Vec<_>) =
        found.into_iter().filter(|device| !known.contains(device)).partition(is_software);
    known.into_iter().chain(other).chain(software).collect()
}

/// Whether the processor does the work of a GPU (Mesa's lavapipe, Microsoft's WARP).
pub(super) fn is_software(device: &Device) -> bool {
    *device == Device::wgpu(DeviceKind::Cpu)
}

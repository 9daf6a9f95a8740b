//! What LLVM's GPU targets share.

/// Which features of a device survive being compiled through LLVM.
pub mod lowered_features {
    use cubecl_core::ir::DeviceProperties;

    /// A GPU as LLVM's target.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum GpuTarget {
        /// NVIDIA.
        Nvptx,
    }

    /// Removes from `properties` the features that LLVM cannot compile for `target`. A runtime
    /// calls this only where LLVM is its compiler; every kernel is refused then, so what the
    /// device claims no longer matters and stays as it is.
    pub fn restrict_features(properties: &mut DeviceProperties, target: GpuTarget) {
        let _ = (properties, target);
    }
}

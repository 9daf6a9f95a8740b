//! PTX, the assembly of NVIDIA GPUs.

/// Versions of PTX.
pub mod ptx_version {
    use core::fmt;

    /// A version of PTX that LLVM can write. Without LLVM there is none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum PtxVersion {}

    impl PtxVersion {
        /// The newest version for a CUDA driver (`12080` is 12.8): always `None`.
        pub fn for_driver(_: i32) -> Option<Self> {
            None
        }
    }

    impl fmt::Display for PtxVersion {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }
}

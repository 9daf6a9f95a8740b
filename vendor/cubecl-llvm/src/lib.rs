//! A stand-in for `cubecl-llvm` 0.11.3 that needs no LLVM.
//!
//! `cubecl-cuda` has two compilers: CUDA C++ through NVRTC, and LLVM through `cubecl-llvm`. It
//! links both whichever it runs, and the real `cubecl-llvm` downloads a prebuilt LLVM while it
//! builds. pixelllm runs the first (feature `cubecl/cuda-cpp`), so this crate offers the names
//! that `cubecl-cuda` uses of the second and nothing behind them: [`PlironCompiler`] refuses
//! every kernel with one sentence, and whatever it would have made has no values at all, which
//! the compiler can check.
//!
//! Not offered, because pixelllm builds neither: what `cubecl-hip` (ROCm) and `cubecl-cpu` use.
//! `docs/burn-issues.md` in the repository of pixelllm says why this exists and what would end it.

use core::convert::Infallible;
use core::ffi::c_char;
use core::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_server::compiler::{CompilationError, Compiler};
use cubecl_server::kernel::BufferIOAttr;

use crate::nvptx::ptx_version::PtxVersion;

pub mod nvptx;
pub mod shared;

/// Why no kernel comes out of this crate, and what to do about it.
const NO_LLVM: &str = "this build has no LLVM: its `cubecl-llvm` is a stand-in. Compile CUDA \
                       kernels with NVRTC (feature `cuda-cpp` of the crate `cubecl`), or remove \
                       `cubecl-llvm` from `[patch.crates-io]` to build with LLVM";

/// What LLVM would generate code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LlvmTarget {
    /// PTX for NVIDIA GPUs.
    Nvptx,
}

/// The compiler from kernels to LLVM; here it refuses all of them.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// What code is asked for.
    pub target: LlvmTarget,
}

/// What a runtime tells [`PlironCompiler`] about its device; here nothing reads it.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Architecture of an AMD GPU: none, this build has no ROCm.
    pub arch: Option<Infallible>,
    /// Architecture of an NVIDIA GPU.
    pub sm_arch: Option<SmArch>,
    /// Newest PTX that the driver loads.
    pub ptx_version: Option<PtxVersion>,
    /// Whether launch parameters are passed as grid constants.
    pub grid_constants: bool,
}

/// What [`PlironCompiler`] would make. It has no values.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// A kernel as PTX.
    NvptxCode(NvptxModule),
}

/// A kernel as PTX. It has no values.
#[derive(Debug)]
pub struct NvptxModule {
    /// The PTX, ended by a zero byte.
    pub ptx: Vec<c_char>,
    /// LLVM's intermediate representation, for logs.
    pub ir: String,
    /// Shared memory of one launch, in bytes.
    pub shared_memory_size: usize,
    /// What the kernel does with each buffer, by position.
    pub io: Vec<BufferIOAttr>,
    /// What makes the type empty.
    pub never: Infallible,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(module) => match module.never {},
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _: KernelDefinition,
        _: &Self::CompilationOptions,
    ) -> Result<Self::Representation, CompilationError> {
        Err(CompilationError::Validation {
            reason: NO_LLVM.to_string(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

//! The `pixelllm` command.

use std::process::ExitCode;

/// Keeps large blocks instead of giving them back to the system after every operation: training
/// allocates and frees the same sizes at every step (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pixelllm::cli::main()
}

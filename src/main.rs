//! The `pixelllm` command.

use std::process::ExitCode;
use std::time::Duration;

/// Keeps large blocks instead of giving them back to the system after every operation: training
/// allocates and frees the same sizes at every step (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server is asked for other sizes every time, and lives long: what it did not use for a second goes back.
const A_SECOND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    keep_memory();
    default_to_cpu();
    pixelllm::cli::main()
}

/// Lets a build for GPUs resume on machines without one.
#[allow(unsafe_code)]
fn default_to_cpu() {
    let (variable, value) = pixelllm::backend::CPU_BY_DEFAULT;
    // SAFETY: no other thread is there that could read the environment.
    unsafe { std::env::set_var(variable, value) };
}

/// Keeps what was freed: a server for a second, everything else for good.
fn keep_memory() {
    let serves = std::env::args_os().nth(1).is_some_and(|command| command == "serve");
    pixelllm::allocator::keep_freed_memory(serves.then_some(A_SECOND));
}

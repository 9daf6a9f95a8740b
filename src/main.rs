//! The `pixelllm` command.

use std::process::ExitCode;

/// Keeps large blocks instead of giving them back to the system after every operation: training
/// allocates and frees the same sizes at every step (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option `purge_delay`, which its crate does not name: after how many milliseconds unused
/// memory goes back to the system.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Never: a training step asks for the same sizes again.
const NEVER: std::ffi::c_long = -1;
/// A server is asked for other sizes every time, and lives long: what it did not use for a second goes back.
const A_SECOND: std::ffi::c_long = 1000;

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

/// Keeps what was freed, a server for a second and everything else for good: by default mimalloc gives it back
/// within 10 ms, and a training step pays for it with a fifth of its time in page faults
/// (`docs/benchmarks.md`).
#[allow(unsafe_code)]
fn keep_memory() {
    let serves = std::env::args_os().nth(1).is_some_and(|command| command == "serve");
    let delay = if serves { A_SECOND } else { NEVER };
    // SAFETY: sets a number in mimalloc's table of options, before any other thread is there.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay) };
}

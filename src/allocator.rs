//! What mimalloc, the allocator of `pixelllm` and of its benches, does with memory that is not used any more.

use std::ffi::c_long;
use std::time::Duration;

/// mimalloc's option `purge_delay`, which its crate does not name: after how many milliseconds unused
/// memory goes back to the system.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Never.
const NEVER: c_long = -1;

/// Keeps what is freed for that long, or for good: by default mimalloc gives it back within 10 ms, and a
/// training step, which asks for the same sizes every time, pays for it with a fifth of its time in page faults
/// (`docs/benchmarks.md`).
///
/// To be called before another thread is started, in a program whose global allocator is mimalloc.
#[allow(unsafe_code)]
pub fn keep_freed_memory(duration: Option<Duration>) {
    let delay =
        duration.map(|duration| c_long::try_from(duration.as_millis()).unwrap_or(c_long::MAX));
    // SAFETY: sets a number in mimalloc's table of options.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay.unwrap_or(NEVER)) };
}

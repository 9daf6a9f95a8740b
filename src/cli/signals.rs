//! Ctrl-C and termination signals.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Exit code after Ctrl-C, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// Calls `handler` for each Ctrl-C or termination signal, in a thread of its own.
pub(super) fn on_interrupt(handler: impl FnMut() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(handler).map_err(|error| Error::Compute {
        problem: format!("cannot listen for Ctrl-C: {error}"),
        help: "Report this as a bug.".into(),
    })
}

/// What the first of them does, and what the second: `stop` is set and `said` is printed; the process ends.
pub(super) fn stop_or_exit(stop: &AtomicBool, said: &str) {
    if stop.swap(true, Ordering::Relaxed) {
        std::process::exit(INTERRUPTED.into());
    }
    eprintln!("\n{said}");
}

//! Ctrl-C and termination signals.

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

//! What commands say on standard output.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line. A reader that has gone away (`| head`) is no reason to stop what else is done.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

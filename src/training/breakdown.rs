//! What ends training from below: Burn panics where a device goes away or has no memory left.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// What `work` returns; a panic in it, which the terminal has seen, is an error that says how to go on.
/// Nothing of what it held is used afterwards.
///
/// # Errors
/// [`Error::Compute`] after a panic.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Error::Compute {
        problem: format!("training broke off: {}", message(panic.as_ref())),
        help: "Where a device went away or its memory was full, see to that; then go on from the last \
               checkpoint with --resume."
            .into(),
    })
}

/// The first line of what a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("it panicked without a message")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_its_first_line_and_how_to_go_on() {
        assert_eq!(contained(|| 6 * 7).unwrap(), 42);
        let device = "gpu2";
        let error = contained(|| panic!("{device} is gone\nat step 3")).unwrap_err();
        assert_eq!(error.to_string(), "training broke off: gpu2 is gone");
        assert!(contained(|| panic!("no memory")).unwrap_err().to_string().ends_with("no memory"));
    }
}

//! Turns a panic inside a device driver into its message, and keeps it off the terminal.

use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Name of the thread that the work runs in.
const WORKER: &str = "device-probe";

/// CubeCL runs each device in a thread of its own; their names begin like this (`DSU-0-0`, in
/// `cubecl-common`'s `device/handle/channel.rs`).
const DEVICE_THREADS: &str = "DS";

/// One at a time: the panic hook belongs to the process.
static TURN: Mutex<()> = Mutex::new(());

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Runs `work`; where it panics, here or in a device's thread, returns the first line of the first
/// panic's message. Panics of other threads are reported as ever.
pub(super) fn caught<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = Arc::new(Mutex::new(None));
    let usual: Arc<Hook> = Arc::new(panic::take_hook());
    panic::set_hook(quiet_hook(Arc::clone(&first), Arc::clone(&usual)));

    let outcome = thread::scope(|scope| {
        let worker = thread::Builder::new().name(WORKER.to_string()).spawn_scoped(scope, work);
        worker.map(|handle| handle.join())
    });

    drop(panic::take_hook());
    if let Some(usual) = Arc::into_inner(usual) {
        panic::set_hook(usual);
    }
    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(first.unwrap_or_else(|| "it panicked without a message".to_string())),
        Err(io) => Err(format!("no thread could be started: {io}")),
    }
}

/// Notes the first message from the worker or a device in `first`; hands the rest to `usual`.
fn quiet_hook(first: Arc<Mutex<Option<String>>>, usual: Arc<Hook>) -> Hook {
    Box::new(move |info| {
        let current = thread::current();
        let name = current.name().unwrap_or_default();
        if name != WORKER && !name.starts_with(DEVICE_THREADS) {
            return usual(info);
        }
        let message = info.payload_as_str().unwrap_or("it panicked").trim();
        let line = message.lines().next().unwrap_or_default().to_string();
        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(line);
    })
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_panic_returns_its_value() {
        assert_eq!(caught(|| 6 * 7), Ok(42));
    }

    #[test]
    fn the_first_line_of_the_first_panic_is_returned() {
        let work = || {
            let device = thread::Builder::new().name("DSU-0-0".to_string());
            let inner = device.spawn(|| panic!("no such device\nbacktrace")).map(|it| it.join());
            if matches!(inner, Ok(Err(_))) {
                panic!("the device is gone");
            }
        };
        assert_eq!(caught(work), Err("no such device".to_string()));
    }
}

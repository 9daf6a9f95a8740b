//! Ctrl-C under Burn's dashboard.

/// Gives Ctrl-C its meaning back. The dashboard puts the terminal in raw mode, where Ctrl-C is a key
/// like any other, and one that the dashboard does not know.
#[cfg(unix)]
pub(super) fn restore_ctrl_c() {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    let terminal = std::io::stdin();
    let Ok(mut modes) = tcgetattr(&terminal) else { return };
    modes.local_modes |= LocalModes::ISIG;
    if let Err(error) = tcsetattr(&terminal, OptionalActions::Now, &modes) {
        tracing::warn!("Ctrl-C does not work under the dashboard ({error}); stop it with q");
    }
}

/// Where terminals are no Unix ones, the dashboard is stopped with its own key.
#[cfg(not(unix))]
pub(super) fn restore_ctrl_c() {}

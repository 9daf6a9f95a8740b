//! Who trains a run: a lock on a file in it, which the system takes back when the process ends, however it
//! ends.

use std::fs::{File, TryLockError};

use super::run_directory::RunDirectory;
use crate::error::{Error, Result};

/// Held while a run is trained.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code, reason = "held, not used")] File);

impl RunLock {
    /// Takes the lock of `run`.
    ///
    /// # Errors
    /// [`Error::Run`] where another process has it, [`Error::Io`] where there can be none.
    pub fn take(run: &RunDirectory) -> Result<Self> {
        let path = run.lock();
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Run {
                path: run.path().into(),
                problem: "is being trained by another process".into(),
                help: "Wait for it, stop it, or choose another place with --out.".into(),
            }),
            Err(TryLockError::Error(error)) => {
                // Some file systems have no locks; what they guard against is rare.
                tracing::warn!("{} cannot be locked: {error}", path.display());
                Ok(Self(file))
            }
        }
    }

    /// Whether a process trains `run`.
    pub fn is_held(run: &RunDirectory) -> bool {
        let Ok(file) = File::open(run.lock()) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_lock_which_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(folder.path()).unwrap();
        assert!(!RunLock::is_held(&run));
        let lock = RunLock::take(&run).unwrap();
        assert!(RunLock::is_held(&run));
        let error = RunLock::take(&run).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(lock);
        assert!(!RunLock::is_held(&run));
        RunLock::take(&run).unwrap();
    }
}

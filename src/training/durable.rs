//! Files that are there as a whole or not at all, whatever happens to the process or the machine, and
//! checksums that say whether they still are as they were written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksum {
    /// Its size.
    pub bytes: u64,
    /// XXH3 (64 bits) of its bytes, in hexadecimal: against accidents, not against forgery.
    pub xxh3: String,
}

impl Checksum {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut hash, mut bytes) = (Xxh3::new(), 0);
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(Self { bytes, xxh3: hex(hash.digest()) });
            }
            bytes += count as u64;
            hash.update(&chunk[..count]);
        }
    }

    /// What is wrong with the file at `path`, if anything is. Its bytes are read only where its size is
    /// right.
    pub fn problem(&self, path: &Path) -> Option<String> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        match path.metadata() {
            Err(error) => return Some(format!("{name} cannot be read: {error}")),
            Ok(metadata) if metadata.len() != self.bytes => {
                let found = metadata.len();
                return Some(format!("{name} has {found} bytes of {}", self.bytes));
            }
            Ok(_) => {}
        }
        match Self::of(path) {
            Err(error) => Some(format!("{name} cannot be read: {error}")),
            Ok(found) if found != *self => Some(format!("{name} has changed since it was written")),
            Ok(_) => None,
        }
    }
}

/// A hash as it is written into files.
pub(super) fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Brings the file `beside`, which was just written, to the disk and then to its `place`. Where that fails,
/// `beside` is removed.
///
/// # Errors
/// What the system says.
pub fn move_into_place(beside: &Path, place: &Path) -> io::Result<()> {
    let moved = File::open(beside)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(beside, place))
        .and_then(|()| sync_folder_of(place));
    if moved.is_err() {
        // Only tidying up: the error that is reported is the first one.
        let _ = fs::remove_file(beside);
    }
    moved
}

/// Writes a file as a whole or not at all: beside its place first, then to the disk, then moved there.
///
/// # Errors
/// [`Error::Io`] where it cannot be written.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension("partial");
    if let Err(error) = fs::write(&beside, content) {
        // A disk that is full is not made fuller.
        let _ = fs::remove_file(&beside);
        return Err(Error::io("write", path)(error));
    }
    move_into_place(&beside, path).map_err(Error::io("write", path))
}

/// Makes a new name in a folder survive a loss of power.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_folder_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_has_the_published_value_and_tells_what_happened_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        fs::write(&file, b"").unwrap();
        // XXH3_64bits of no bytes with seed 0, from the test vectors of xxHash.
        assert_eq!(Checksum::of(&file).unwrap().xxh3, "2d06800538d394c2");
        fs::write(&file, b"twelve bytes").unwrap();
        let written = Checksum::of(&file).unwrap();
        assert_eq!((written.bytes, written.problem(&file)), (12, None));
        fs::write(&file, b"twelve bytEs").unwrap();
        assert!(written.problem(&file).unwrap().contains("a.bin has changed"));
        fs::write(&file, b"twelve").unwrap();
        assert_eq!(written.problem(&file).unwrap(), "a.bin has 6 bytes of 12");
        fs::remove_file(&file).unwrap();
        assert!(written.problem(&file).unwrap().contains("cannot be read"));
    }

    #[test]
    fn a_file_replaces_another_and_nothing_remains_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        write_atomically(&file, b"one").unwrap();
        write_atomically(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(&folder.path().join("none/state.json"), b"").is_err());
    }
}

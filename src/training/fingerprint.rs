//! Whether a file is still the one that it was.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Basis and prime of the 64-bit FNV-1a hash.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Where it is.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970; `None` where the system does not say.
    pub modified: Option<u64>,
    /// FNV-1a of its bytes, in hexadecimal: against mistakes, not against forgery.
    pub fnv1a: String,
}

impl Fingerprint {
    /// Reads `file`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn of(file: &Path) -> Result<Self> {
        let file = absolute(file)?;
        let (bytes, modified) = size_and_time(&file)?;
        let fnv1a = hash(&file)?;
        Ok(Self { file, bytes, modified, fnv1a })
    }

    /// Whether the file is as it was. Its bytes are read only where its time has changed and its size
    /// has not, as that of a copy.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn is_unchanged(&self) -> Result<bool> {
        let (bytes, modified) = size_and_time(&self.file)?;
        if bytes != self.bytes {
            return Ok(false);
        }
        let same_time = modified.is_some() && modified == self.modified;
        Ok(same_time || hash(&self.file)? == self.fnv1a)
    }
}

/// The file by the name that it has where it is. A link is not followed to the end: in the caches of
/// downloads names are links, and what they lead to has neither a name that says what it is nor the
/// shards of an index beside it.
fn absolute(file: &Path) -> Result<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(Error::io("read", file))?;
    Ok(file.file_name().map_or(folder.clone(), |name| folder.join(name)))
}

fn size_and_time(file: &Path) -> Result<(u64, Option<u64>)> {
    let metadata = file.metadata().map_err(Error::io("read", file))?;
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok((metadata.len(), since.and_then(|since| u64::try_from(since.as_nanos()).ok())))
}

fn hash(file: &Path) -> Result<String> {
    let mut reader = File::open(file).map_err(Error::io("read", file))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hash = FNV_BASIS;
    loop {
        let count = reader.read(&mut chunk).map_err(Error::io("read", file))?;
        if count == 0 {
            return Ok(format!("{hash:016x}"));
        }
        for byte in &chunk[..count] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_keeps_its_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let blob = directory.path().join("85944171f73967e8");
        fs::write(&blob, "foobar").unwrap();
        let link = directory.path().join("model.safetensors");
        std::os::unix::fs::symlink(&blob, &link).unwrap();
        let found = Fingerprint::of(&link).unwrap();
        assert_eq!(found.file.file_name(), link.file_name());
        assert!(found.is_unchanged().unwrap());
        fs::write(&blob, "foobaz!").unwrap();
        assert!(!found.is_unchanged().unwrap());
    }

    #[test]
    fn a_copy_is_unchanged_and_other_bytes_of_the_same_size_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "foobar").unwrap();
        let before = Fingerprint::of(&file).unwrap();
        // The published value of FNV-1a for this text.
        assert_eq!(before.fnv1a, "85944171f73967e8");
        assert!(before.is_unchanged().unwrap());
        let copied = Fingerprint { modified: Some(1), ..before.clone() };
        assert!(copied.is_unchanged().unwrap());
        fs::write(&file, "foobaz").unwrap();
        assert!(!copied.is_unchanged().unwrap());
        fs::write(&file, "foo").unwrap();
        assert!(!before.is_unchanged().unwrap());
        fs::remove_file(&file).unwrap();
        assert!(before.is_unchanged().is_err());
    }
}

//! The world's folder: whose it is, and how a cut-off run is told from a finished one.
//!
//! `world.json.partial` is there before the first file of a world and `world.json` after the last.
//! Files are removed only beside our `world.json.partial`, only by the names that we give, and only
//! if nothing else is among them.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ShapesConfig;
use super::split::Split;
use crate::error::{Error, Result};

/// Changes with anything that changes a byte of a world.
const VERSION: u32 = 1;

const FINISHED: &str = "world.json";
const PARTIAL: &str = "world.json.partial";
const TEMPORARY: &str = "world.json.new";

/// What `world.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Description {
    version: u32,
    config: Value,
}

/// A folder in which a world is being made, locked against others that would make one there.
#[derive(Debug)]
pub(super) struct Workplace {
    directory: PathBuf,
    description: Description,
    /// Unlocked when dropped.
    _lock: File,
}

impl Workplace {
    /// Prepares an empty folder for a world; `None` if the world is there already.
    pub(super) fn open(directory: &Path, config: &ShapesConfig) -> Result<Option<Self>> {
        let config = serde_json::to_value(config).map_err(describing(directory))?;
        let description = Description { version: VERSION, config };
        if is_there(directory, &description)? {
            return Ok(None);
        }
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let partial = directory.join(PARTIAL);
        let lock = lock(&partial)?;
        // Another process may have made it while this one waited for the lock.
        let prepared = match is_there(directory, &description) {
            Ok(false) => prepare(directory, &partial, lock).map(Some),
            Ok(true) => Ok(None),
            Err(error) => Err(error),
        };
        let lock = match prepared {
            Ok(Some(lock)) => lock,
            Ok(None) => return remove_if_empty(&partial).map(|()| None),
            Err(error) => return remove_if_empty(&partial).and(Err(error)),
        };
        Ok(Some(Self { directory: directory.to_path_buf(), description, _lock: lock }))
    }

    /// Creates and returns the folder of a split's images.
    pub(super) fn images(&self, split: Split) -> Result<PathBuf> {
        let folder = self.directory.join("images").join(split.name());
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(folder)
    }

    /// Creates the folder of annotations and returns the path of one of its files.
    pub(super) fn annotations(&self, kind: Annotations, split: Split) -> Result<PathBuf> {
        let folder = self.directory.join("annotations");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(folder.join(kind.file_name(split)))
    }

    /// Declares the world finished.
    pub(super) fn finish(self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.description);
        let mut text = text.map_err(describing(&self.directory))?;
        text.push('\n');
        let (new, finished) = (self.directory.join(TEMPORARY), self.directory.join(FINISHED));
        fs::write(&new, text).map_err(Error::io("write", &new))?;
        fs::rename(&new, &finished).map_err(Error::io("create", &finished))?;
        let partial = self.directory.join(PARTIAL);
        fs::remove_file(&partial).map_err(Error::io("remove", &partial))
    }
}

/// Opens and locks the file that marks a world in the making; waits while another process has it.
fn lock(partial: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(partial);
    let file = file.map_err(Error::io("create", partial))?;
    match file.lock() {
        // Some network file systems have no locks: two must not be started at once there.
        Err(error) if error.kind() != ErrorKind::Unsupported => {
            Err(Error::io("lock", partial)(error))
        }
        _ => Ok(file),
    }
}

/// Makes sure that the folder is empty and marked as ours. The mark has content only once the folder
/// was seen to hold nothing of others, so an empty one gives no right to remove anything.
fn prepare(directory: &Path, partial: &Path, mut lock: File) -> Result<File> {
    let leftovers = leftovers(directory)?;
    if lock.metadata().map_err(Error::io("read", partial))?.len() == 0 {
        if let Some(path) = leftovers.first() {
            return Err(foreign(path));
        }
        let marked = lock.write_all(b"a shapes world is being made here\n");
        marked.map_err(Error::io("write", partial))?;
    }
    for path in leftovers {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(lock)
}

/// Takes away a mark that was not needed.
fn remove_if_empty(partial: &Path) -> Result<()> {
    match fs::metadata(partial) {
        Ok(file) if file.len() == 0 => {
            fs::remove_file(partial).map_err(Error::io("remove", partial))
        }
        _ => Ok(()),
    }
}

/// Turns an error of serde's into one about the folder.
fn describing(directory: &Path) -> impl FnOnce(serde_json::Error) -> Error {
    let to_error = Error::io("describe the world of", directory);
    move |error| to_error(error.into())
}

/// The annotation files of a split.
#[derive(Debug, Clone, Copy)]
pub(super) enum Annotations {
    Narratives,
    Instances,
    Expressions,
    Regions,
}

impl Annotations {
    const ALL: [Self; 4] = [Self::Narratives, Self::Instances, Self::Expressions, Self::Regions];

    fn file_name(self, split: Split) -> String {
        let split = split.name();
        match self {
            Self::Narratives => format!("narratives_{split}.jsonl"),
            Self::Instances => format!("instances_{split}.json"),
            Self::Expressions => format!("expressions_{split}.json"),
            Self::Regions => format!("regions_{split}.json"),
        }
    }
}

/// Whether the finished world is there; an error if it is another one.
fn is_there(directory: &Path, wanted: &Description) -> Result<bool> {
    let path = directory.join(FINISHED);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound) => return Ok(false),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let help = || {
        format!("Choose another directory, or delete {} to have it made anew.", directory.display())
    };
    let found: Description = serde_json::from_str(&text).map_err(|error| {
        Error::format(&path, format!("does not describe a shapes world: {error}"), help())
    })?;
    if found == *wanted {
        return Ok(true);
    }
    Err(Error::format(
        &path,
        format!("another world is here: {}", difference(&found, wanted)),
        help(),
    ))
}

/// "`seed` is 7, not 3".
fn difference(found: &Description, wanted: &Description) -> String {
    if found.version != wanted.version {
        return format!("it is of version {}, not {}", found.version, wanted.version);
    }
    let keys = wanted.config.as_object().into_iter().flat_map(|config| config.keys());
    let differs = keys.filter(|key| found.config.get(key) != wanted.config.get(key));
    let say = |key: &String| {
        let value = |config: &Value| config.get(key).map_or("missing".into(), Value::to_string);
        format!("`{key}` is {}, not {}", value(&found.config), value(&wanted.config))
    };
    let all: Vec<_> = differs.map(say).collect();
    if all.is_empty() { "it has keys that are unknown here".into() } else { all.join("; ") }
}

/// Every file in the folder, all of them ours by their names; an error if one is not.
fn leftovers(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (path, name) in entries(directory)? {
        match name.as_str() {
            "images" if path.is_dir() => {
                for (folder, name) in entries(&path)? {
                    if !folder.is_dir() || Split::ALL.iter().all(|split| split.name() != name) {
                        return Err(foreign(&folder));
                    }
                    files.extend(ours_in(&folder, is_image)?);
                }
            }
            "annotations" if path.is_dir() => files.extend(ours_in(&path, is_annotations)?),
            TEMPORARY => files.push(path),
            // The lock itself, and what the system leaves in any folder.
            PARTIAL | ".DS_Store" => {}
            _ => return Err(foreign(&path)),
        }
    }
    Ok(files)
}

fn ours_in(folder: &Path, is_ours: fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (path, name) in entries(folder)? {
        if path.is_symlink() || !path.is_file() || !is_ours(&name) {
            return Err(foreign(&path));
        }
        files.push(path);
    }
    Ok(files)
}

fn is_image(name: &str) -> bool {
    let number = name.strip_suffix(".png").or_else(|| name.strip_suffix(".jpg"));
    number.is_some_and(|n| n.len() == 12 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_annotations(name: &str) -> bool {
    let names = |split| Annotations::ALL.map(|kind| kind.file_name(split));
    Split::ALL.into_iter().flat_map(names).any(|known| known == name)
}

/// Paths and names in a folder, in order of name.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let read = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut entries = Vec::new();
    for entry in read {
        let entry = entry.map_err(Error::io("read", folder))?;
        entries.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    entries.sort();
    Ok(entries)
}

fn foreign(path: &Path) -> Error {
    Error::format(
        path,
        "is in the way: the shapes world is made in an empty folder, or one where making it was cut off",
        "Choose another directory, or move this away.",
    )
}

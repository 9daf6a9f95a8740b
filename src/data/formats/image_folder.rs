//! [`ImageFolder`]: which image files are there, without asking the file system for each.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::skipped::{Fault, Reason};
use crate::error::{Error, Result};

/// A folder with images, listed once; folders inside it are listed when a name leads there.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    /// File names by folder, relative to the root; the root itself is the empty path.
    listings: HashMap<PathBuf, HashSet<String>>,
    /// Where files are by name, in the root and at any depth below; filled when first needed.
    below: Option<HashMap<String, PathBuf>>,
}

/// Folders in folders that are looked into. ADE20K has two below that of the split.
const MAX_DEPTH: usize = 4;

impl ImageFolder {
    /// # Errors
    /// [`Error::Io`] where the folder cannot be listed.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let listing = list(root).map_err(Error::io("list the image folder", root))?;
        let listings = HashMap::from([(PathBuf::new(), listing)]);
        Ok(Self { root: root.to_path_buf(), listings, below: None })
    }

    /// Where the first of `names` is that exists. Names are relative to the root, and stay below it.
    pub(super) fn find(&mut self, names: &[String]) -> Result<PathBuf, Fault> {
        let index = self.find_index(names)?;
        Ok(names.get(index).map_or(self.root.clone(), |name| self.root.join(name)))
    }

    /// Which of `names` is the first that exists, as [`Self::find`].
    pub(super) fn find_index(&mut self, names: &[String]) -> Result<usize, Fault> {
        for (index, name) in names.iter().enumerate() {
            if !stays_inside(name) {
                let message = format!("{name:?} is not a name inside the image folder");
                return Err(Fault::new(Reason::UnsafePath, message));
            }
            if self.contains(Path::new(name)) {
                return Ok(index);
            }
        }
        let message = match names {
            [name] => format!("no {name} in {}", self.root.display()),
            names => format!("none of {} in {}", names.join(", "), self.root.display()),
        };
        Err(Fault::new(Reason::MissingImage, message))
    }

    /// As [`Self::find`]; where no name is in the folder itself, at any depth below it: ADE20K sorts its
    /// images by scene, Open Images by the first digit of their names.
    pub(super) fn find_below(&mut self, names: &[String]) -> Result<PathBuf, Fault> {
        self.find(names).or_else(|fault| {
            if fault.reason != Reason::MissingImage {
                return Err(fault);
            }
            let root = &self.root;
            let below = self.below.get_or_insert_with(|| {
                let mut found = HashMap::new();
                list_below(root, MAX_DEPTH, &mut found);
                found
            });
            names.iter().find_map(|name| below.get(name).cloned()).ok_or(fault)
        })
    }

    fn contains(&mut self, name: &Path) -> bool {
        let (Some(folder), Some(file)) = (name.parent(), name.file_name().and_then(|f| f.to_str()))
        else {
            return false;
        };
        if !self.listings.contains_key(folder) {
            // A folder that cannot be listed has no images for us.
            let listing = list(&self.root.join(folder)).unwrap_or_default();
            self.listings.insert(folder.to_path_buf(), listing);
        }
        self.listings.get(folder).is_some_and(|listing| listing.contains(file))
    }
}

/// Whether a name is made of nothing but names: no root, no drive, no `..`.
fn stays_inside(name: &str) -> bool {
    let mut components = Path::new(name).components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

/// The entries of a folder. Names that are not Unicode cannot be asked for by a JSON file.
fn list(folder: &Path) -> std::io::Result<HashSet<String>> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(folder)? {
        match entry {
            Ok(entry) => names.extend(entry.file_name().into_string().ok()),
            // Removed while listing.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(names)
}

/// Files in folders below `folder`, by name; of several with the same name, the first by path.
fn list_below(folder: &Path, depth: usize, found: &mut HashMap<String, PathBuf>) {
    // A folder that cannot be listed has no images for us.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders = Vec::new();
    for entry in entries {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 {
            folders.push(entry.path());
        } else if let (false, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            found.entry(name).or_insert_with(|| entry.path());
        }
    }
    folders.sort();
    folders.iter().for_each(|folder| list_below(folder, depth - 1, found));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in ["../../etc/passwd", "/etc/passwd", "a/../../b.png", ".."] {
            assert!(!stays_inside(name), "{name}");
        }
        assert!(!stays_inside(""));
        for name in ["a.png", "train2017/a.png", "./a.png", "..a.png"] {
            assert!(stays_inside(name), "{name}");
        }
    }

    #[test]
    fn images_are_found_in_the_folder_and_below_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("below")).unwrap();
        fs::write(root.path().join("a.png"), "").unwrap();
        fs::write(root.path().join("below/b.png"), "").unwrap();
        let mut folder = ImageFolder::open(root.path()).unwrap();
        let mut find = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_string()).collect();
            folder.find(&names).map_err(|fault| fault.reason)
        };
        assert_eq!(find(&["a.jpg", "a.png"]), Ok(root.path().join("a.png")));
        assert_eq!(find(&["below/b.png"]), Ok(root.path().join("below/b.png")));
        assert_eq!(find(&["b.png"]), Err(Reason::MissingImage));
        assert_eq!(find(&["nowhere/b.png"]), Err(Reason::MissingImage));
        // Even where the file exists.
        assert_eq!(find(&["below/../a.png"]), Err(Reason::UnsafePath));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let error = ImageFolder::open(Path::new("no such folder")).unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }
}

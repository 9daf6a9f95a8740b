//! What the tests of the readers share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::{Format, Loaded, Reason, Skipped, load};
use crate::data::sample::Task;
use crate::error::Result;

/// A temporary folder with images, which are not looked into, and one annotation file.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new(images: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.images()).unwrap();
        for name in images {
            fs::write(folder.images().join(name), "").unwrap();
        }
        folder
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root().join("images")
    }

    pub(super) fn annotations(&self) -> PathBuf {
        self.root().join("annotations.json")
    }

    /// Writes the annotation file and reads it.
    pub(super) fn load(&self, format: Format, task: Task, annotations: &str) -> Result<Loaded> {
        fs::write(self.annotations(), annotations).unwrap();
        load(format, task, &self.annotations(), &self.images())
    }
}

/// Asserts that these reasons came up, so many times each, and no other.
pub(super) fn assert_skipped(skipped: &Skipped, expected: &[(Reason, usize)]) {
    let mut found: Vec<_> = skipped.reasons().collect();
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{skipped}");
}

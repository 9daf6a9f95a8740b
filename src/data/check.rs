//! What is wrong with annotations: every record that cannot be used, what is amiss with those that
//! can, and images that are trained on and evaluated on.

mod shared_images;

use std::collections::HashSet;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use self::shared_images::SharedImages;
use super::formats::{self, Format, Loaded, Reason, Request};
use super::image_file::open_image;
use super::sample::ImageFile;
use super::source::{SourceConfig, SourceFiles};
use crate::error::{Error, Result};

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Records, usable or not.
    pub records: usize,
    /// In the order of the files, those of a file by kind.
    pub faults: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort of fault, one word ([`Reason::kind`]).
    pub kind: &'static str,
    /// The annotation file, or the image file.
    pub file: String,
    /// Line in the file, counted from 1, where the format has lines.
    pub line: Option<usize>,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// The particulars.
    pub message: String,
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thoroughness {
    /// Whether every image file is decoded.
    pub decode_images: bool,
}

/// The splits of an experiment, by their names.
#[derive(Debug, Clone, Copy)]
pub struct Splits<'a> {
    /// Learnt from.
    pub train: &'a str,
    /// Looked at or measured on; none of their images may be among those learnt from.
    pub held_out: &'a [&'a str],
}

/// Checks one set of annotations.
///
/// # Errors
/// [`Error::Io`] where the annotations or the image folder cannot be read; [`Error::Usage`] where a
/// split is asked for that the file does not have. A file that is not of its format is a finding.
pub fn check_file(
    format: Format,
    request: &Request<'_>,
    thoroughness: Thoroughness,
) -> Result<Checked> {
    let mut checked = Checked::default();
    checked.add(format, request, thoroughness)?;
    Ok(checked)
}

/// Checks every source of an experiment on every split, and that no image of the training split is in
/// another one. Annotations that several sources share are checked once.
///
/// # Errors
/// As [`check_file`].
pub fn check_sources(
    sources: &[SourceConfig],
    splits: Splits<'_>,
    thoroughness: Thoroughness,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut shared = SharedImages::default();
    let mut seen: HashSet<(Format, SourceFiles)> = HashSet::new();
    let held_out = splits.held_out.iter().map(|split| (*split, false));
    for (split, is_train) in std::iter::once((splits.train, true)).chain(held_out) {
        for source in sources {
            let files = source.files(split);
            // What both splits read is what both splits share.
            let is_known = !seen.insert((source.format, files.clone()));
            if is_known && is_train {
                continue;
            }
            let request = files.request();
            let loaded = match is_known {
                true => load(source.format, &request)?.unwrap_or_default(),
                false => checked.add(source.format, &request, thoroughness)?,
            };
            match is_train {
                true => shared.learn(&loaded, &files.annotations),
                false => checked.faults.extend(shared.find(&loaded, &files.annotations)),
            }
        }
    }
    Ok(checked)
}

/// Reads for whatever task the format serves first; the inner error is that of an unusable file.
fn load(format: Format, request: &Request<'_>) -> Result<Result<Loaded>> {
    let request = Request { examples: usize::MAX, ..*request };
    match formats::read_thoroughly(format, &request) {
        Err(error @ Error::Format { .. }) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

impl Checked {
    /// Adds what is wrong with a set of annotations, and gives back what there is in it.
    fn add(
        &mut self,
        format: Format,
        request: &Request<'_>,
        thoroughness: Thoroughness,
    ) -> Result<Loaded> {
        let loaded = match load(format, request)? {
            Ok(loaded) => loaded,
            Err(error) => {
                self.faults.push(unusable(error));
                return Ok(Loaded::default());
            }
        };
        self.records += loaded.num_records;
        let faults = loaded.skipped.all_examples().filter(|(reason, _)| reason.is_fault());
        self.faults.extend(faults.map(|(reason, example)| Finding {
            kind: reason.kind(),
            file: example.file.display().to_string(),
            line: example.line,
            id: example.id.clone(),
            message: format!("{}: {}", reason.name(), example.message),
        }));
        if loaded.num_records == 0 {
            let message = "there is no record in the file".to_string();
            let file = request.annotations.display().to_string();
            let kind = Reason::BrokenFile.kind();
            self.faults.push(Finding { kind, file, line: None, id: None, message });
        }
        if thoroughness.decode_images {
            self.faults.extend(broken_images(&loaded));
        }
        Ok(loaded)
    }

    /// Faults by kind, in the order in which kinds came up.
    pub fn by_kind(&self) -> Vec<(&'static str, Vec<&Finding>)> {
        let mut kinds: Vec<(&'static str, Vec<&Finding>)> = Vec::new();
        for fault in &self.faults {
            match kinds.iter_mut().find(|(kind, _)| *kind == fault.kind) {
                Some((_, faults)) => faults.push(fault),
                None => kinds.push((fault.kind, vec![fault])),
            }
        }
        kinds
    }
}

fn unusable(error: Error) -> Finding {
    let (file, line, message) = match error {
        Error::Format { path, line, problem, help } => (path, line, format!("{problem}. {help}")),
        other => (PathBuf::new(), None, other.to_string()),
    };
    let file = file.display().to_string();
    Finding { kind: Reason::BrokenFile.kind(), file, line, id: None, message }
}

/// Images that cannot be decoded, in the order of the samples.
fn broken_images(loaded: &Loaded) -> Vec<Finding> {
    let broken = |(image, id): (&ImageFile, &String)| {
        let error = open_image(image).err()?;
        Some(Finding {
            kind: Reason::BrokenImage.kind(),
            file: image.path.display().to_string(),
            line: None,
            id: Some(id.clone()),
            message: error.to_string(),
        })
    };
    let images: Vec<_> = loaded.samples.iter().map(|s| (&s.image, &s.image_id)).collect();
    images.into_par_iter().filter_map(broken).collect()
}

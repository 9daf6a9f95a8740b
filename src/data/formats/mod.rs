//! Public dataset formats → [`Sample`]s, one file per format.
//!
//! A reader takes an annotation file and an image folder. Records that cannot be used are skipped,
//! counted and shown ([`Skipped`]); a file that cannot be used is an error. Whether an image file
//! exists is checked here, what is in it where it is decoded ([`super::transform`]).

mod coco;
mod coco_instances;
mod image_folder;
mod localized_narratives;
mod record;
mod referring_expressions;
mod skipped;
#[cfg(test)]
mod testing;
pub mod trace;
mod visual_genome;

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use coco_instances::{Instance, InstanceImage, Instances, decode_mask, read_instances};
pub use localized_narratives::NarrativeIndex;
pub use skipped::{Example, Reason, Skipped};

use super::sample::{Sample, Task};
use super::samples::Samples;
use crate::error::{Error, Result};

/// How annotations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Localized Narratives JSON Lines; images are named by id (`000000000139.jpg` for COCO).
    LocalizedNarratives,
    /// RefCOCO, RefCOCO+ and RefCOCOg as MDETR writes them: COCO JSON with an expression per "image".
    RefexpMdetr,
    /// Visual Genome regions as GRiT writes them: COCO JSON with a caption per annotation.
    VisualGenomeCoco,
    /// COCO instances JSON: boxes and masks of objects with a category each.
    CocoInstances,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] =
        [Self::LocalizedNarratives, Self::RefexpMdetr, Self::VisualGenomeCoco, Self::CocoInstances];

    /// The name used in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalizedNarratives => "localized_narratives",
            Self::RefexpMdetr => "refexp_mdetr",
            Self::VisualGenomeCoco => "visual_genome_coco",
            Self::CocoInstances => "coco_instances",
        }
    }

    /// The tasks that the format can serve, the usual one first.
    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::LocalizedNarratives => &[Task::Narrate],
            Self::RefexpMdetr => &[Task::Locate, Task::Describe],
            Self::VisualGenomeCoco => &[Task::Describe, Task::Locate],
            // A category names many objects of an image, so it locates none.
            Self::CocoInstances => &[Task::Describe],
        }
    }
}

/// What a reader found.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// One per image, with at least one row each, in the order of the file.
    pub samples: Vec<Sample>,
    /// What was left out.
    pub skipped: Skipped,
}

/// Reads the annotations at `annotations` about the images in the folder `images`, for one task.
///
/// # Errors
/// [`Error::Usage`] where the format cannot serve the task; [`Error::Io`] where the file or the folder
/// cannot be read; [`Error::Format`] where the file is not of the format, or none of its records can
/// be used.
pub fn load(format: Format, task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    if !format.tasks().contains(&task) {
        let tasks: Vec<_> = format.tasks().iter().map(|task| task.name()).collect();
        return Err(Error::Usage {
            problem: format!("the format {} cannot serve {}", format.name(), task.name()),
            help: format!("It serves {}.", tasks.join(" and ")),
        });
    }
    match format {
        Format::LocalizedNarratives => localized_narratives::load(annotations, images),
        Format::RefexpMdetr => referring_expressions::load(task, annotations, images),
        Format::VisualGenomeCoco => visual_genome::load(task, annotations, images),
        Format::CocoInstances => coco_instances::load(task, annotations, images),
    }
}

/// What a reader found, with what it need not hold in memory left in the file.
#[derive(Debug, Clone)]
pub struct Opened {
    /// One per image, with at least one row each, in the order of the file.
    pub samples: Samples,
    /// What was left out.
    pub skipped: Skipped,
}

/// As [`load`], with narratives left in their file until they are asked for.
///
/// # Errors
/// As [`load`].
pub fn open(format: Format, task: Task, annotations: &Path, images: &Path) -> Result<Opened> {
    if format == Format::LocalizedNarratives && task == Task::Narrate {
        let (index, skipped) = NarrativeIndex::open(annotations, images)?;
        return Ok(Opened { samples: Samples::Narratives(Arc::new(index)), skipped });
    }
    let Loaded { samples, skipped } = load(format, task, annotations, images)?;
    Ok(Opened { samples: samples.into(), skipped })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::testing::Folder;
    use super::*;

    #[test]
    fn names_are_those_of_toml_files() {
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
    }

    #[test]
    fn a_task_that_the_format_cannot_serve_is_refused_with_those_it_can() {
        let folder = Folder::new(&[]);
        let error = folder.load(Format::CocoInstances, Task::Narrate, "{}").unwrap_err();
        let Error::Usage { problem, help } = error else { unreachable!("{error}") };
        assert_eq!(problem, "the format coco_instances cannot serve narrate");
        assert_eq!(help, "It serves describe.");
    }

    #[test]
    fn every_format_names_a_file_that_is_missing_empty_or_something_else() {
        for format in Format::ALL {
            let folder = Folder::new(&["1.png"]);
            let load = |text: &str| folder.load(format, format.tasks()[0], text).unwrap_err();
            let missing = folder.root().join("nowhere.json");
            let error = super::load(format, format.tasks()[0], &missing, &folder.images());
            assert!(matches!(&error, Err(Error::Io { path, .. }) if *path == missing), "{error:?}");
            for (text, line) in
                [("", None), ("\n \n", None), ("\u{89}PNG", Some(1)), ("[1,\n", None)]
            {
                let error = load(text);
                let Error::Format { path, line: found, help, .. } = &error else {
                    unreachable!("{format:?} {text:?}: {error:?}")
                };
                assert_eq!(*path, folder.annotations());
                assert!(!help.is_empty());
                if line.is_some() {
                    assert_eq!(*found, line, "{format:?} {text:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_format_names_an_image_folder_that_is_missing() {
        for format in Format::ALL {
            let folder = Folder::new(&[]);
            std::fs::write(folder.annotations(), "{}").unwrap();
            let nowhere = folder.root().join("nowhere");
            let task = format.tasks()[0];
            let error = super::load(format, task, &folder.annotations(), &nowhere).unwrap_err();
            assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error:?}");
        }
    }
}

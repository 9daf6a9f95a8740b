//! Public dataset formats → [`Sample`]s, one file per format.
//!
//! A reader takes an annotation file and an image folder. Records that cannot be used are skipped,
//! counted and shown ([`Skipped`]); a file that cannot be used is an error. Whether an image file
//! exists is checked here, what is in it where it is decoded ([`super::transform`]).

mod boxes;
mod coco;
mod coco_captions;
mod coco_instances;
mod flickr30k_entities;
mod gathered;
mod image_folder;
mod llava;
mod localized_narratives;
mod phrase;
mod pickle;
mod record;
mod refer;
mod referring_expressions;
pub mod results;
mod shards;
mod skipped;
#[cfg(test)]
mod testing;
mod tfrecord;
pub mod trace;
mod uninext;
mod visual_genome;
mod visual_genome_regions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use coco_instances::{Instance, InstanceImage, Instances, decode_mask, read_instances};
use localized_narratives::Indexed;
pub use localized_narratives::NarrativeIndex;
pub use record::Id;
pub(crate) use record::null_non_numbers;
pub use skipped::{Example, Reason, Skipped};

use super::sample::{Sample, Task};
use super::samples::Samples;
use crate::error::{Error, Result};

/// How annotations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Localized Narratives JSON Lines, in shards or not; images are named by id
    /// (`000000000139.jpg` for COCO).
    LocalizedNarratives,
    /// COCO captions JSON.
    CocoCaptions,
    /// COCO instances JSON: boxes and masks of objects with a category each.
    CocoInstances,
    /// RefCOCO, RefCOCO+ and RefCOCOg as published: `refs(unc).p` beside `instances.json`.
    RefexpRefer,
    /// RefCOCO, RefCOCO+ and RefCOCOg as MDETR writes them: COCO JSON with an expression per "image".
    RefexpMdetr,
    /// Referring expressions as UNINEXT writes them: JSON with a list of objects per split.
    RefexpUninext,
    /// Visual Genome as published: `region_descriptions.json` beside `image_data.json`.
    VisualGenome,
    /// Visual Genome regions as GRiT writes them: COCO JSON with a caption per annotation.
    VisualGenomeCoco,
    /// Flickr30k Entities: a folder with `Sentences/*.txt` and `Annotations/*.xml`.
    Flickr30kEntities,
    /// LLaVA's instruction JSON: conversations about images.
    Llava,
    /// TFRecords of the reference's tools, in shards or not: narratives, expressions, regions or
    /// conversations, each with its image in it.
    Tfrecord,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 11] = [
        Self::LocalizedNarratives,
        Self::CocoCaptions,
        Self::CocoInstances,
        Self::RefexpRefer,
        Self::RefexpMdetr,
        Self::RefexpUninext,
        Self::VisualGenome,
        Self::VisualGenomeCoco,
        Self::Flickr30kEntities,
        Self::Llava,
        Self::Tfrecord,
    ];

    /// The name used in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalizedNarratives => "localized_narratives",
            Self::CocoCaptions => "coco_captions",
            Self::CocoInstances => "coco_instances",
            Self::RefexpRefer => "refexp_refer",
            Self::RefexpMdetr => "refexp_mdetr",
            Self::RefexpUninext => "refexp_uninext",
            Self::VisualGenome => "visual_genome",
            Self::VisualGenomeCoco => "visual_genome_coco",
            Self::Flickr30kEntities => "flickr30k_entities",
            Self::Llava => "llava",
            Self::Tfrecord => "tfrecord",
        }
    }

    /// The tasks that the format can serve, the usual one first.
    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::LocalizedNarratives => &[Task::Narrate, Task::Describe],
            Self::CocoCaptions | Self::Llava => &[Task::Narrate],
            Self::RefexpRefer | Self::RefexpMdetr | Self::RefexpUninext => {
                &[Task::Locate, Task::Describe]
            }
            Self::VisualGenome | Self::VisualGenomeCoco => {
                &[Task::Describe, Task::Locate, Task::Detect]
            }
            // A category names many objects of an image, so it locates none.
            Self::CocoInstances => &[Task::Describe, Task::Detect],
            Self::Flickr30kEntities => &[Task::Narrate, Task::Locate, Task::Describe],
            Self::Tfrecord => &[Task::Narrate, Task::Describe, Task::Locate, Task::Detect],
        }
    }

    /// What one record is called.
    fn record(self) -> &'static str {
        match self {
            Self::LocalizedNarratives => "narrative",
            Self::CocoCaptions => "caption",
            Self::CocoInstances => "annotation",
            Self::RefexpRefer | Self::RefexpMdetr | Self::RefexpUninext => "expression",
            Self::VisualGenome | Self::VisualGenomeCoco => "region",
            Self::Flickr30kEntities => "sentence",
            Self::Llava => "conversation",
            Self::Tfrecord => "record",
        }
    }

    /// Whether expressions come with masks of what they name.
    pub fn has_masks(self) -> bool {
        self == Self::RefexpMdetr
    }

    /// Whether images are in the annotations themselves, and none are looked for in a folder.
    pub fn holds_images(self) -> bool {
        self == Self::Tfrecord
    }

    /// The files that annotations at `path` are in: its shards, where the format may have some, else `path`
    /// itself, which need not be there.
    ///
    /// # Errors
    /// [`Error::Format`] where some of the shards are missing, or there are two sets of them.
    pub fn files(self, path: &Path) -> Result<Vec<PathBuf>> {
        match self {
            Self::LocalizedNarratives | Self::Tfrecord => shards::files(path),
            _ => Ok(vec![path.to_path_buf()]),
        }
    }
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Annotation file; for Flickr30k Entities the folder.
    pub annotations: &'a Path,
    /// Folder of the images. TFRecords hold their images and do not look here.
    pub images: &'a Path,
    /// Which split of a file that has several; `None` for all of them.
    pub split: Option<&'a str>,
    /// Points of the trace that are kept of each utterance, beside its box.
    pub trace_points: usize,
    /// Records that are shown of those skipped for the same reason.
    pub examples: usize,
}

impl<'a> Request<'a> {
    /// Every split of `annotations` about the images in the folder `images`.
    pub fn new(annotations: &'a Path, images: &'a Path) -> Self {
        let examples = skipped::FEW_EXAMPLES;
        Self { annotations, images, split: None, trace_points: 0, examples }
    }
}

/// What a reader found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// One per image, with at least one row each, in the order of the file.
    pub samples: Vec<Sample>,
    /// What was left out.
    pub skipped: Skipped,
    /// Records in the file, usable or not.
    pub num_records: usize,
    /// COCO's ids of images, by [`Sample::image_id`], as far as the files say so.
    pub coco_ids: HashMap<String, u64>,
}

/// Reads the annotations at `annotations` about the images in the folder `images`, for one task.
///
/// # Errors
/// As [`read`].
pub fn load(format: Format, task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    read(format, task, &Request::new(annotations, images))
}

/// Reads annotations for one task.
///
/// # Errors
/// As [`read_leniently`]; [`Error::Format`], too, where none of the records can be used.
pub fn read(format: Format, task: Task, request: &Request<'_>) -> Result<Loaded> {
    some_left(read_leniently(format, task, request)?, format, request)
}

/// Refuses annotations of which nothing is left.
fn some_left(loaded: Loaded, format: Format, request: &Request<'_>) -> Result<Loaded> {
    let num_samples = loaded.samples.len();
    loaded.skipped.check_some_left(request.annotations, num_samples, format.record())?;
    Ok(loaded)
}

/// Reads annotations for one task, of which none may be left.
///
/// # Errors
/// [`Error::Usage`] where the format cannot serve the task; [`Error::Io`] where the file or the folder
/// cannot be read; [`Error::Format`] where the file is not of the format.
pub fn read_leniently(format: Format, task: Task, request: &Request<'_>) -> Result<Loaded> {
    if !format.tasks().contains(&task) {
        let tasks: Vec<_> = format.tasks().iter().map(|task| task.name()).collect();
        return Err(Error::Usage {
            problem: format!("the format {} cannot serve {}", format.name(), task.name()),
            help: format!("It serves {}.", tasks.join(" and ")),
        });
    }
    read_unchecked(format, task, request)
}

/// Reads annotations for the task that the format, or the file, serves first; masks are checked to
/// decode. None of the records may be left.
///
/// # Errors
/// As [`read_leniently`].
pub fn read_thoroughly(format: Format, request: &Request<'_>) -> Result<Loaded> {
    match format {
        Format::CocoInstances => coco_instances::read_checking_masks(request),
        format => read_unchecked(format, usual_task(format, request)?, request),
    }
}

/// The task that a format, or where it has several kinds of files this file, serves first.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is not of the format.
pub fn usual_task(format: Format, request: &Request<'_>) -> Result<Task> {
    match format {
        Format::Tfrecord => tfrecord::first_task(request),
        format => Ok(format.tasks()[0]),
    }
}

fn read_unchecked(format: Format, task: Task, request: &Request<'_>) -> Result<Loaded> {
    match format {
        Format::LocalizedNarratives => localized_narratives::read(task, request),
        Format::CocoCaptions => coco_captions::read(request),
        Format::CocoInstances => coco_instances::read(task, request),
        Format::RefexpRefer => refer::read(task, request),
        Format::RefexpMdetr => referring_expressions::read(task, request),
        Format::RefexpUninext => uninext::read(task, request),
        Format::VisualGenome => visual_genome_regions::read(task, request),
        Format::VisualGenomeCoco => visual_genome::read(task, request),
        Format::Flickr30kEntities => flickr30k_entities::read(task, request),
        Format::Llava => llava::read(request),
        Format::Tfrecord => tfrecord::read(task, request),
    }
}

/// Reads expressions to locate as [`read`] does, with the masks of what they name.
///
/// # Errors
/// As [`read`]; [`Error::Usage`] where the format has no masks of expressions.
pub fn read_expressions_with_masks(format: Format, request: &Request<'_>) -> Result<Loaded> {
    if !format.has_masks() {
        let with_masks = Format::ALL.into_iter().filter(|format| format.has_masks());
        let names: Vec<_> = with_masks.map(Format::name).collect();
        return Err(Error::Usage {
            problem: format!("the format {} has no masks of expressions", format.name()),
            help: format!("Leave out `masks`, or give annotations of {}.", names.join(" or ")),
        });
    }
    some_left(referring_expressions::read_with_masks(request)?, format, request)
}

/// What a reader found, with what it need not hold in memory left in the file.
#[derive(Debug, Clone)]
pub struct Opened {
    /// One per image, with at least one row each, in the order of the file.
    pub samples: Samples,
    /// What was left out.
    pub skipped: Skipped,
}

/// As [`read`], with narratives left in their file until they are asked for.
///
/// # Errors
/// As [`read`].
pub fn open(format: Format, task: Task, request: &Request<'_>) -> Result<Opened> {
    if format == Format::LocalizedNarratives && task == Task::Narrate {
        let Indexed { index, skipped, .. } = NarrativeIndex::open(task, request)?;
        skipped.check_some_left(request.annotations, index.len(), format.record())?;
        return Ok(Opened { samples: Samples::Narratives(Arc::new(index)), skipped });
    }
    let Loaded { samples, skipped, .. } = read(format, task, request)?;
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
        assert_eq!(help, "It serves describe and detect.");
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
                // Of the others, which are no text, nothing has a line.
                let is_text = ![Format::RefexpRefer, Format::Flickr30kEntities, Format::Tfrecord]
                    .contains(&format);
                if line.is_some() && is_text {
                    assert_eq!(*found, line, "{format:?} {text:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_format_names_an_image_folder_that_is_missing() {
        // TFRecords hold their images.
        for format in Format::ALL.into_iter().filter(|format| *format != Format::Tfrecord) {
            let folder = Folder::new(&[]);
            std::fs::write(folder.annotations(), "{}").unwrap();
            let nowhere = folder.root().join("nowhere");
            let task = format.tasks()[0];
            let error = super::load(format, task, &folder.annotations(), &nowhere).unwrap_err();
            assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error:?}");
        }
    }
}

//! Floor 5: does a device compute what the paper computes? Golden vectors are inputs, parameters and
//! outputs of one component of the reference, in a safetensors file; here the component is built,
//! given the parameters and run, and its outputs are compared.
//!
//! | file | subject |
//! |---|---|
//! | [`vectors`] | the files |
//! | [`compare`] | tolerances and differences |
//! | [`vision`] | the image encoders |
//! | [`boxes`], [`box_parts`], [`box_decoder`] | boxes, and the decoder that finds them |
//! | [`gradients`] | norms of gradients |
//! | [`prompt`] | prompt encoders and prompt adapter |
//! | [`two_way`] | settings of two-way transformers |
//! | [`git`], [`points`] | the GIT-style decoder, the point head |
//! | [`masks`] | the mask decoder and the mask adapter |
//! | [`segment_anything`] | a whole Segment Anything model of Meta |
//! | [`losses`], [`mask_losses`] | losses of text and points, of masks |
//! | [`decoding`] | greedy decoding and beam search |
//! | [`places`] | token rules, points and boxes, maps and pixels |
//! | [`t5`] | T5 with adapters |
//! | [`json`], [`metrics`] | folders of JSON, measures of captions |
//! | [`evaluators`], [`narratives`] | published evaluators; places of spoken captions |
//! | [`whole_model`] | the whole model |

mod box_decoder;
mod box_parts;
mod boxes;
pub mod compare;
mod decoding;
mod evaluators;
mod git;
mod gradients;
pub mod json;
mod losses;
pub mod mask_losses;
mod masks;
mod metrics;
mod narratives;
mod places;
mod points;
mod prompt;
mod segment_anything;
mod t5;
mod two_way;
pub mod vectors;
mod vision;
mod whole_model;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::error::{Error, Result};
use crate::metrics::meteor::Meteor;
use compare::{Comparison, Produced, Verdict};
use vectors::{Vectors, collect};

/// Runs a component on the inputs of a file, and gives every output that the file has.
type Component = fn(&Vectors, &Device) -> Result<Vec<Produced>>;

/// The components that are built, by the `component` of a file's metadata.
const COMPONENTS: &[(&str, Component)] = &[
    ("eva02_vit", vision::eva),
    ("sam_vit", vision::sam),
    ("box_ops", boxes::box_ops),
    ("nms", boxes::nms),
    ("roi_align", boxes::roi_align),
    ("centernet_fpn", box_parts::pyramid),
    ("centernet_head", box_parts::head),
    ("centernet_targets_losses", box_parts::targets_and_losses),
    ("centernet2", box_decoder::whole),
    ("git_decoder", git::decoder),
    ("point_head", points::head),
    ("location_prompt_encoder", prompt::encoders),
    ("prompt_adapter", prompt::adapter),
    ("losses", losses::losses),
    ("decoding", decoding::decoding),
    ("location_ops", places::operations),
    ("mask_decoder", masks::decoder),
    ("mask_adapter", masks::adapter),
    ("t5", t5::t5),
    ("visual_projection", t5::visual_projection),
    ("pixel_llm", whole_model::whole),
];

/// Public checkpoints with what their own implementation makes of them: folders, by what their name
/// begins with.
const FOLDERS: &[(&str, Component)] = &[
    ("timm_eva02", vision::timm_eva),
    ("sam_pt", segment_anything::segment_anything),
    ("hf_t5", t5::hugging_face),
];

/// Compares what is computed from the files of a folder with the expected values there; METEOR where there
/// are its files.
type JsonComponent = fn(&Path, Option<&Meteor>) -> Result<Vec<Comparison>>;

/// Plain data in, plain data out: folders of JSON, by what their name begins with.
const JSON_FOLDERS: &[(&str, JsonComponent)] = &[
    ("caption_metrics", metrics::captions),
    ("evaluators", evaluators::all),
    ("localized_narratives", |folder, _| narratives::all(folder)),
];

/// What became of one file.
#[derive(Debug)]
pub struct Checked {
    /// The file or folder.
    pub path: PathBuf,
    /// What it is about.
    pub component: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// It ran; one comparison per output of the file.
    Compared(Vec<Comparison>),
    /// It could not run.
    Failed(Error),
    /// There is no such component here.
    NotImplemented,
}

/// Numbers of outputs by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Within their tolerances.
    pub passed: usize,
    /// Beyond them, or could not be run.
    pub failed: usize,
    /// Of what is not built.
    pub not_implemented: usize,
}

impl Checked {
    /// How many outputs passed, failed, and are not implemented; a file as a whole counts as one.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match &self.outcome {
            Outcome::Compared(comparisons) => {
                for comparison in comparisons {
                    match comparison.verdict {
                        Verdict::Passed => counts.passed += 1,
                        Verdict::Failed(_) => counts.failed += 1,
                        Verdict::NotImplemented => counts.not_implemented += 1,
                    }
                }
            }
            Outcome::Failed(_) => counts.failed = 1,
            Outcome::NotImplemented => counts.not_implemented = 1,
        }
        counts
    }
}

/// Everything under `paths` that holds golden vectors, in order of names.
///
/// # Errors
/// [`Error::Io`] where a path cannot be read, [`Error::Format`] where there are no vectors at all.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if json_component(path).is_some() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        collect(path, &mut found)?;
        if found.len() == before {
            let help = "Give a golden .safetensors file, a folder of a checkpoint with its \
                        io.safetensors, a folder of JSON of a known name, or a folder of such.";
            return Err(Error::format(path, "there are no golden vectors here", help));
        }
    }
    Ok(found)
}

fn json_component(path: &Path) -> Option<JsonComponent> {
    let name = vectors::name(path);
    let known = JSON_FOLDERS.iter().find(|(start, _)| path.is_dir() && name.starts_with(start));
    known.map(|(_, component)| *component)
}

/// Runs the component of one file on `device`; without `meteor`, its scores are not implemented.
pub fn check(path: &Path, device: &Device, meteor: Option<&Meteor>) -> Checked {
    let checked = |component: &str, outcome| Checked {
        path: path.to_path_buf(),
        component: component.to_string(),
        outcome,
    };
    if let Some(component) = json_component(path) {
        let outcome = component(path, meteor).map_or_else(Outcome::Failed, Outcome::Compared);
        return checked(&vectors::name(path), outcome);
    }
    let vectors = match Vectors::open(path) {
        Ok(Some(vectors)) => vectors,
        Ok(None) => return checked(&vectors::name(path), Outcome::NotImplemented),
        Err(error) => return checked(&vectors::name(path), Outcome::Failed(error)),
    };
    let table = if path.is_dir() { FOLDERS } else { COMPONENTS };
    let known = table.iter().find(|(name, _)| {
        if path.is_dir() { vectors.component.starts_with(name) } else { vectors.component == *name }
    });
    let outcome = match known {
        None => Outcome::NotImplemented,
        Some((_, component)) => match component(&vectors, device) {
            Ok(produced) => Outcome::Compared(compare::all(&vectors, produced)),
            Err(error) => Outcome::Failed(error),
        },
    };
    checked(&vectors.component, outcome)
}

//! [`SharedImages`]: which images are in the training split, and which of them elsewhere too.
//!
//! RefCOCO, RefCOCO+, RefCOCOg, COCO's captions and instances, its part of the Localized Narratives and
//! half of Visual Genome are about the same images under other names. Two images are one where their
//! file is, or where both are the same image of COCO: by a file name as COCO's, or by Visual Genome's
//! `image_data.json`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Finding;
use crate::data::formats::{Loaded, Reason};
use crate::data::sample::{ImageFile, Sample};

/// What an image may be known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    File(ImageFile),
    Coco(u64),
}

/// Images of the training split, and the annotations that have them.
#[derive(Debug, Default)]
pub(super) struct SharedImages {
    learnt: HashMap<Identity, String>,
}

impl SharedImages {
    /// Adds images of the training split.
    pub(super) fn learn(&mut self, loaded: &Loaded, annotations: &Path) {
        for identity in loaded.samples.iter().flat_map(|sample| identities(sample, loaded)) {
            self.learnt.entry(identity).or_insert_with(|| annotations.display().to_string());
        }
    }

    /// Images of another split that are in the training split, each once.
    pub(super) fn find(&self, loaded: &Loaded, annotations: &Path) -> Vec<Finding> {
        let mut seen = HashSet::new();
        let mut shared = Vec::new();
        for sample in &loaded.samples {
            let known = identities(sample, loaded)
                .into_iter()
                .find_map(|identity| Some((self.learnt.get(&identity)?, identity)));
            let Some((training, identity)) = known else { continue };
            let name = match &identity {
                Identity::File(file) => file.to_string(),
                Identity::Coco(id) => format!("COCO's image {id}"),
            };
            if seen.insert(identity) {
                shared.push(Finding {
                    kind: Reason::SharedImage.kind(),
                    file: annotations.display().to_string(),
                    line: None,
                    id: Some(sample.image_id.clone()),
                    message: format!("{name} is learnt from, too, by {training}"),
                });
            }
        }
        shared
    }
}

fn identities(sample: &Sample, loaded: &Loaded) -> Vec<Identity> {
    let known = loaded.coco_ids.get(&sample.image_id).copied();
    let coco_id = known.or_else(|| match sample.image.part {
        None => coco_id(&sample.image.path),
        // The record is part of a file that says nothing about COCO.
        Some(_) => None,
    });
    let file = ImageFile {
        path: sample.image.path.canonicalize().unwrap_or_else(|_| sample.image.path.clone()),
        part: sample.image.part,
    };
    coco_id.map(Identity::Coco).into_iter().chain([Identity::File(file)]).collect()
}

/// COCO's id of an image, by its file's name: `000000000139.jpg`, `COCO_train2014_000000000139.jpg`.
fn coco_id(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let number = match stem.strip_prefix("COCO_") {
        Some(rest) => rest.split_once('_')?.1,
        None => stem,
    };
    let is_coco = number.len() == 12 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_coco.then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_coco_are_told_from_others() {
        assert_eq!(coco_id(Path::new("a/000000000139.jpg")), Some(139));
        assert_eq!(coco_id(Path::new("COCO_val2014_000000000139.jpg")), Some(139));
        for name in ["139.jpg", "COCO_139.jpg", "1000092795.jpg", "ADE_train_00000001.jpg"] {
            assert_eq!(coco_id(Path::new(name)), None, "{name}");
        }
    }
}

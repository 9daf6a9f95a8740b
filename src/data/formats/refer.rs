//! RefCOCO, RefCOCO+ and RefCOCOg as published: `refs(unc).p`, `refs(google).p` or `refs(umd).p`, a
//! pickle of objects with what was said about each, beside COCO's `instances.json` with their boxes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_pickle::Value;

use super::coco::{AnnotationRecord, ImageRecord, LenientDocument, SoundDocument};
use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id, Lenient};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, boxes, pickle};
use crate::data::sample::{Row, Task};
use crate::error::{Error, Result};

/// What a user can do about a file that is no such pickle.
const HELP: &str = "Give refs(unc).p, refs(google).p or refs(umd).p of the REFER data set, as it was \
                    downloaded.";

/// What a user can do about the file beside it.
const INSTANCES_HELP: &str = "Put the instances.json of the same data set beside the pickle.";

/// An object that was referred to.
#[derive(Debug, Deserialize)]
struct Ref {
    ann_id: Id,
    image_id: Id,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Debug, Deserialize)]
struct Sentence {
    /// Lower case, without marks.
    sent: String,
}

/// Reads expressions with the boxes of their objects.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let refs = refs(path)?;
    let objects = Objects::beside(path)?;
    let mut reader = Reader {
        path,
        objects,
        skipped: Skipped::keeping(request.examples),
        gathered: Gathered::new(task),
        seen: HashSet::new(),
    };
    let mut num_records = 0;
    let mut splits = HashSet::new();
    for (index, value) in refs.into_iter().enumerate() {
        let entry = Lenient::<Ref>::of(pickle::to_json(value));
        let split = entry.record.as_ref().ok().map(|record| record.split.clone());
        if request.split.zip(split.as_deref()).is_some_and(|(asked, found)| asked != found) {
            splits.extend(split);
            continue;
        }
        num_records += entry.record.as_ref().map_or(1, |record| record.sentences.len());
        reader.add(index, entry, &mut folder);
    }
    if let (0, Some(asked)) = (num_records, request.split) {
        return Err(record::unknown_split(path, asked, splits));
    }
    let (samples, skipped) = (reader.gathered.into_samples(), reader.skipped);
    Ok(Loaded { samples, skipped, num_records, ..Loaded::default() })
}

fn refs(path: &Path) -> Result<Vec<Value>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    if bytes.trim_ascii().is_empty() {
        return Err(Error::format(path, "the file is empty", HELP));
    }
    let broken = |problem: String| Error::format(path, problem, HELP);
    match pickle::read(&bytes).map_err(|e| broken(format!("not a pickle of plain data: {e}")))? {
        Value::List(refs) => Ok(refs),
        _ => Err(broken("the pickle is not a list".to_string())),
    }
}

/// What `instances.json` says.
struct Objects {
    images: HashMap<Id, Result<ImageRecord, Fault>>,
    annotations: HashMap<Id, Result<AnnotationRecord<IgnoredAny>, Fault>>,
}

impl Objects {
    fn beside(refs: &Path) -> Result<Self> {
        let path = refs.with_file_name("instances.json");
        let document = record::read_document::<SoundDocument<_>, LenientDocument<_>>(
            &path,
            INSTANCES_HELP,
        )?;
        let images = document.images.into_iter();
        let annotations = document.annotations.into_iter();
        Ok(Self {
            images: images.filter_map(|entry| Some((entry.id?, entry.record))).collect(),
            annotations: annotations.filter_map(|entry| Some((entry.id?, entry.record))).collect(),
        })
    }

    /// The image and the annotation of an object.
    fn of(&self, found: &Ref) -> Result<(&ImageRecord, &AnnotationRecord<IgnoredAny>), Fault> {
        let unlisted = || Fault::new(Reason::UnknownImage, format!("image_id {}", found.image_id));
        let image = self.images.get(&found.image_id).ok_or_else(unlisted)?;
        let no_box = || {
            let message = format!("ann_id {} is not in instances.json", found.ann_id);
            Fault::new(Reason::NoBox, message)
        };
        let annotation = self.annotations.get(&found.ann_id).ok_or_else(no_box)?;
        let (image, annotation) =
            (image.as_ref().map_err(Fault::clone)?, annotation.as_ref().map_err(Fault::clone)?);
        Ok((image, annotation))
    }
}

struct Reader<'a> {
    path: &'a Path,
    objects: Objects,
    skipped: Skipped,
    gathered: Gathered,
    seen: HashSet<Id>,
}

impl Reader<'_> {
    fn add(&mut self, index: usize, entry: Lenient<Ref>, folder: &mut ImageFolder) {
        let Lenient { id, record, .. } = entry;
        let place = Place::Record { path: self.path, kind: "ref", id: id.as_ref(), index };
        if let Err(fault) =
            record.and_then(|found| self.add_sentences(&found, id.as_ref(), place, folder))
        {
            self.skipped.add(place, fault);
        }
    }

    fn add_sentences(
        &mut self,
        found: &Ref,
        id: Option<&Id>,
        place: Place<'_>,
        folder: &mut ImageFolder,
    ) -> Result<(), Fault> {
        if id.is_some_and(|id| !self.seen.insert(id.clone())) {
            return Err(Fault::new(Reason::Duplicate, "the ref_id stands above already"));
        }
        let (image, annotation) = self.objects.of(found)?;
        boxes::check_size(image.width, image.height)?;
        let file = folder.find(std::slice::from_ref(&image.file_name))?;
        let size = (image.width, image.height);
        let region = boxes::region(&annotation.bbox, size, place, &mut self.skipped)?;
        if found.sentences.is_empty() {
            return Err(Fault::new(Reason::NoWords, "nothing is said about the object"));
        }
        let mut rows = Vec::new();
        for Sentence { sent } in &found.sentences {
            match record::check_has_words(sent) {
                Ok(()) => rows.push(Row::of_region(sent.trim(), region)),
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        self.gathered.add(file.into(), &found.image_id.to_string(), rows);
        Ok(())
    }
}

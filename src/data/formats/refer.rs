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
use crate::data::sample::Task;
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
        let document =
            record::read_document::<SoundDocument<_>, LenientDocument<_>>(&path, INSTANCES_HELP)?;
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
        record::check_is_new("ref_id", id, &mut self.seen)?;
        let (image, annotation) = self.objects.of(found)?;
        boxes::check_size(image.width, image.height)?;
        let file = folder.find(std::slice::from_ref(&image.file_name))?;
        let size = (image.width, image.height);
        let region = boxes::region(&annotation.bbox, size, place, &mut self.skipped)?;
        if found.sentences.is_empty() {
            return Err(Fault::new(Reason::NoWords, "nothing is said about the object"));
        }
        let texts = found.sentences.iter().map(|sentence| sentence.sent.as_str());
        let rows = record::rows_of_region(texts, region, |fault| self.skipped.add(place, fault));
        self.gathered.add(file.into(), &found.image_id.to_string(), rows);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::{Folder, assert_skipped};
    use super::super::{Format, read as read_format};
    use super::*;
    use crate::geometry::BoundingBox;

    /// What Python 2 writes by protocol 0.
    fn pickled(value: &Json) -> String {
        match value {
            Json::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| pickled(item) + "a").collect();
                format!("(l{}", items.concat())
            }
            Json::Object(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(k, v)| format!("S'{k}'\n{}s", pickled(v))).collect();
                format!("(d{}", entries.concat())
            }
            Json::String(text) => format!("S'{text}'\n"),
            Json::Null => "N".to_string(),
            number => format!("I{number}\n"),
        }
    }

    fn refs() -> Json {
        let found = |ref_id: u32, ann_id: u32, image_id: u32, split: &str, texts: &[&str]| {
            let sentences: Vec<_> = texts.iter().map(|t| json!({"sent": t, "raw": t})).collect();
            json!({"ref_id": ref_id, "ann_id": ann_id, "image_id": image_id, "split": split,
                "sentences": sentences, "file_name": "of_the_object.jpg", "category_id": 1})
        };
        json!([
            found(0, 10, 1, "train", &["left dog", "the dog on the left "]),
            found(1, 20, 2, "val", &["cat"]),
            found(2, 11, 1, "train", &["right dog"]),
        ])
    }

    fn instances() -> Json {
        let image = |id: u32| json!({"id": id, "file_name": format!("{id}.jpg"), "width": 20, "height": 10});
        let object = |id: u32, x: u32| {
            json!({"id": id, "image_id": id / 10, "bbox": [x, 0, 5, 5],
            "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 1, 0, 1, 1]]})
        };
        json!({"images": [image(1), image(2)],
            "annotations": [object(10, 0), object(11, 10), object(20, 5)]})
    }

    fn load(refs: &[u8], instances: &Json, split: Option<&str>) -> Result<Loaded> {
        let folder = Folder::new(&["1.jpg", "2.jpg"]);
        let annotations = folder.root().join("refs(unc).p");
        fs::write(&annotations, refs).unwrap();
        fs::write(folder.root().join("instances.json"), instances.to_string()).unwrap();
        let images = folder.images();
        let request = Request { split, ..Request::new(&annotations, &images) };
        read_format(Format::RefexpRefer, Task::Locate, &request)
    }

    fn load_json(refs: &Json, split: Option<&str>) -> Result<Loaded> {
        load((pickled(refs) + ".").as_bytes(), &instances(), split)
    }

    #[test]
    fn every_sentence_is_a_row_with_the_box_of_its_object() {
        let loaded = load_json(&refs(), Some("train")).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        assert_eq!((loaded.samples.len(), loaded.num_records), (1, 3));
        let rows = loaded.samples[0].rows.iter();
        let found: Vec<_> = rows.map(|row| (row.text.as_str(), row.region.unwrap())).collect();
        let left = BoundingBox::new(0.0, 0.0, 0.25, 0.5);
        let right = BoundingBox::new(0.5, 0.0, 0.75, 0.5);
        let expected = [("left dog", left), ("the dog on the left", left), ("right dog", right)];
        assert_eq!(found, expected);
        assert_eq!(load_json(&refs(), None).unwrap().num_records, 4);
    }

    #[test]
    fn a_split_that_is_not_there_is_an_error_with_those_that_are() {
        let error = load_json(&refs(), Some("testB")).unwrap_err();
        let Error::Usage { problem, help } = error else { unreachable!("{error}") };
        assert!(problem.ends_with("has no split \"testB\""), "{problem}");
        assert!(help.starts_with("It has train, val;"), "{help}");
    }

    #[test]
    fn each_damaged_ref_is_skipped_for_its_reason() {
        type Damage = fn(&mut Json);
        let damages: [(Reason, Damage); 7] = [
            (Reason::NoBox, |r| r["ann_id"] = json!(99)),
            (Reason::UnknownImage, |r| r["image_id"] = json!(9)),
            (Reason::NoWords, |r| r["sentences"] = json!([{"sent": "."}])),
            (Reason::NoWords, |r| r["sentences"] = json!([])),
            (Reason::BrokenRecord, |r| r["sentences"] = json!("cat")),
            (Reason::BrokenRecord, |r| r["split"] = Json::Null),
            (Reason::Duplicate, |r| r["ref_id"] = json!(0)),
        ];
        for (reason, damage) in damages {
            let mut document = refs();
            damage(&mut document[1]);
            let loaded = load_json(&document, None).unwrap();
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
            assert_eq!(loaded.samples.len(), 1, "{reason:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_plain_data_is_an_error_with_a_remedy() {
        let whole = pickled(&refs()) + ".";
        let cases: [(&[u8], &str); 4] = [
            (&whole.as_bytes()[..whole.len() / 2], "cut off"),
            (b"cos\nsystem\n(S'true'\ntR.", "asks for code to be run"),
            (b"I5\n.", "is not a list"),
            (b"{\"refs\": []}", "not a pickle of plain data"),
        ];
        for (bytes, expected) in cases {
            let error = load(bytes, &instances(), None).unwrap_err();
            let Error::Format { path, problem, help, .. } = error else { unreachable!("{error}") };
            assert!(path.ends_with("refs(unc).p") && problem.contains(expected), "{problem}");
            assert!(help.contains("REFER"), "{help}");
        }
    }

    #[test]
    fn instances_that_are_missing_or_broken_are_named() {
        let folder = Folder::new(&[]);
        let annotations = folder.root().join("refs(unc).p");
        fs::write(&annotations, pickled(&refs()) + ".").unwrap();
        let images = folder.images();
        let request = Request::new(&annotations, &images);
        let error = read_format(Format::RefexpRefer, Task::Locate, &request).unwrap_err();
        assert!(error.to_string().contains("instances.json"), "{error}");
        let error = load((pickled(&refs()) + ".").as_bytes(), &json!([]), None).unwrap_err();
        assert!(error.to_string().contains("instances.json"), "{error}");
    }
}

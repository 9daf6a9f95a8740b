//! Referring expressions as UNINEXT writes them (`spec/data.md` §4.3): a list of objects per split, of
//! images of COCO, Visual Genome or Flickr30k.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id, Lenient};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, boxes};
use crate::data::sample::Task;
use crate::error::Result;

/// What a user can do about a file that is not in this layout.
const HELP: &str = "Give a JSON object with a list of objects per split, as UNINEXT's \
                    instances.json.";

/// An object and what was said about it.
#[derive(Debug, Deserialize)]
struct Object {
    image_id: Id,
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    /// `[x, y, width, height]` in pixels.
    bbox: Vec<Option<f64>>,
    expressions: Vec<String>,
    #[serde(default)]
    data_source: Option<String>,
}

/// Reads expressions with the boxes of their objects.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    type Splits = BTreeMap<String, Vec<Lenient<Object>>>;
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let splits = record::read_document::<Splits, Splits>(path, HELP)?;
    if let Some(asked) = request.split.filter(|asked| !splits.contains_key(*asked)) {
        return Err(record::unknown_split(path, asked, splits.into_keys()));
    }
    let asked = splits.into_iter().filter(|(name, _)| request.split.is_none_or(|s| s == name));
    let mut skipped = Skipped::keeping(request.examples);
    let mut gathered = Gathered::new(task);
    let (mut num_records, mut seen) = (0, HashSet::new());
    for (index, entry) in asked.flat_map(|(_, objects)| objects).enumerate() {
        let Lenient { image_id, record, .. } = entry;
        num_records += record.as_ref().map_or(1, |object| object.expressions.len());
        let place = Place::Record { path, kind: "object", id: None, index };
        let added = record.and_then(|object| {
            let message = format!("image {}", object.image_id);
            if !seen.insert((
                object.image_id.clone(),
                shown(&object.bbox),
                object.expressions.clone(),
            )) {
                return Err(Fault::new(Reason::Duplicate, message));
            }
            boxes::check_size(object.width, object.height)?;
            let image = folder.find(&file_names(&object))?;
            let size = (object.width, object.height);
            let region = boxes::region(&object.bbox, size, place, &mut skipped)?;
            let texts = object.expressions.iter().map(String::as_str);
            let rows = record::rows_of_region(texts, region, |fault| skipped.add(place, fault));
            gathered.add(image.into(), &object.image_id.to_string(), rows);
            Ok(())
        });
        if let Err(Fault { reason, message }) = added {
            let about = image_id.map(|id| format!(" (image {id})")).unwrap_or_default();
            skipped.add(place, Fault::new(reason, message + &about));
        }
    }
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

/// A box as a key: numbers of the file are told apart as they are written.
fn shown(bbox: &[Option<f64>]) -> String {
    format!("{bbox:?}")
}

/// What the file of an object's image may be called, below the folder of images.
fn file_names(object: &Object) -> Vec<String> {
    let id = &object.image_id;
    let number = format!("{:0>12}", id.to_string());
    let of_coco = ["", "train2014/"]
        .map(|folder| format!("{folder}COCO_train2014_{number}.jpg"))
        .into_iter()
        .chain(["", "train2017/"].map(|folder| format!("{folder}{number}.jpg")));
    let by_id = ["", "VG_100K/", "VG_100K_2/", "flickr30k-images/"].map(|f| format!("{f}{id}.jpg"));
    match object.data_source.as_deref() {
        Some("coco") => of_coco.collect(),
        Some(_) => by_id.to_vec(),
        // RefCOCO's own files say nothing and are of COCO; Flickr30k's say nothing, too.
        None => of_coco.chain(by_id).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{Folder, assert_skipped};
    use super::super::{Format, read as read_format};
    use super::*;
    use crate::geometry::BoundingBox;

    fn objects() -> Value {
        let object = |image_id: u32, bbox: [f32; 4], texts: &[&str]| {
            json!({
                "image_id": image_id, "width": 20, "height": 10, "bbox": bbox, "expressions": texts,
                "category_id": 0, "mask": [[0, 0, 1, 0, 1, 1]], "data_source": "coco",
            })
        };
        let mut of_genome = object(8, [0.0, 0.0, 20.0, 10.0], &["the sky"]);
        of_genome["data_source"] = json!("vg");
        json!({
            "train": [object(7, [5.0, 0.0, 10.0, 5.0], &["a dog", "the dog on the left"]), of_genome],
            "val": [object(9, [0.0, 0.0, 5.0, 5.0], &["a cat"])],
        })
    }

    fn load(document: &Value, split: Option<&str>) -> Result<Loaded> {
        let folder = Folder::new(&["COCO_train2014_000000000007.jpg", "8.jpg", "000000000009.jpg"]);
        std::fs::write(folder.annotations(), document.to_string()).unwrap();
        let (annotations, images) = (folder.annotations(), folder.images());
        let request = Request { split, ..Request::new(&annotations, &images) };
        read_format(Format::RefexpUninext, Task::Locate, &request)
    }

    #[test]
    fn every_expression_is_a_row_with_the_box_of_its_object() {
        let loaded = load(&objects(), Some("train")).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        let rows = &loaded.samples[0].rows;
        let region = Some(BoundingBox::new(0.25, 0.0, 0.75, 0.5));
        let found: Vec<_> = rows.iter().map(|row| (row.text.as_str(), row.region)).collect();
        assert_eq!(found, [("a dog", region), ("the dog on the left", region)]);
        let image_ids: Vec<_> = loaded.samples.iter().map(|s| s.image_id.as_str()).collect();
        assert_eq!((image_ids, loaded.num_records), (vec!["7", "8"], 3));
        assert_eq!(load(&objects(), None).unwrap().samples.len(), 3);
    }

    #[test]
    fn a_split_that_is_not_there_is_an_error_with_those_that_are() {
        let error = load(&objects(), Some("testA")).unwrap_err();
        assert!(error.to_string().contains("has no split \"testA\""), "{error}");
        let crate::Error::Usage { help, .. } = error else { unreachable!() };
        assert!(help.contains("train, val"), "{help}");
    }

    #[test]
    fn each_damaged_object_is_skipped_for_its_reason() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 9] = [
            (Reason::BrokenRecord, |o| o["expressions"] = json!("the sky")),
            (Reason::BrokenRecord, |o| o["width"] = json!("20")),
            (Reason::NoWords, |o| o["expressions"] = json!(["…"])),
            (Reason::EmptyBox, |o| o["bbox"] = json!([0, 0, 0, 10])),
            (Reason::BrokenBox, |o| o["bbox"] = json!([0, 0, 1])),
            (Reason::MissingImage, |o| o["image_id"] = json!(80)),
            (Reason::UnsafePath, |o| o["image_id"] = json!("../8")),
            (Reason::AbsurdSize, |o| o["height"] = json!(4_000_000_000_u32)),
            (Reason::Duplicate, |o| {
                *o = json!({"image_id": 7, "width": 20, "height": 10, "bbox": [5.0, 0.0, 10.0, 5.0],
                    "expressions": ["a dog", "the dog on the left"], "data_source": "coco"});
            }),
        ];
        for (reason, damage) in damages {
            let mut document = objects();
            damage(&mut document["train"][1]);
            let loaded = load(&document, Some("train")).unwrap();
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
            assert_eq!(loaded.samples.len(), 1);
        }
    }
}

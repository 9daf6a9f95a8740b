//! COCO captions (`spec/data.md` §3): five sentences or so about each image, without places.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id, Lenient};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, boxes};
use crate::data::sample::{ImageFile, Row, Task};
use crate::error::Result;

/// What a user can do about a file that is not in this layout.
const HELP: &str = "Give a JSON object with the lists `images` and `annotations`, as in COCO's \
                    captions_train2017.json.";

#[derive(Debug, Deserialize)]
struct Document {
    images: Vec<Lenient<Image>>,
    annotations: Vec<Lenient<Caption>>,
}

#[derive(Debug, Deserialize)]
struct Image {
    id: Id,
    file_name: String,
    /// Pixels; not every file says so.
    #[serde(default)]
    width: Option<u32>,
    #[serde(default)]
    height: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Caption {
    #[serde(default)]
    id: Option<Id>,
    image_id: Id,
    caption: String,
}

/// Reads captions about whole images.
pub(super) fn read(request: &Request<'_>) -> Result<Loaded> {
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let document = record::read_document::<Document, Document>(path, HELP)?;
    let mut skipped = Skipped::keeping(request.examples);
    let images = images(path, document.images, &mut folder, &mut skipped);
    let num_records = document.annotations.len();
    let mut gathered = Gathered::new(Task::Narrate);
    let mut seen = HashSet::with_capacity(num_records);
    for (index, Lenient { id, record, .. }) in document.annotations.into_iter().enumerate() {
        let place = Place::Record { path, kind: "annotation", id: id.as_ref(), index };
        let found = record.and_then(|caption| {
            record::check_is_new("id", caption.id.as_ref(), &mut seen)?;
            record::check_has_words(&caption.caption)?;
            let unlisted =
                || Fault::new(Reason::UnknownImage, format!("image_id {}", caption.image_id));
            Ok((images.get(&caption.image_id).ok_or_else(unlisted)?, caption))
        });
        match found {
            // Annotators' texts end with spaces and line ends.
            Ok((Some(image), caption)) => {
                let row = Row::of_image(caption.caption.trim());
                gathered.add(image.clone(), &caption.image_id.to_string(), vec![row]);
            }
            // That the image cannot be used has been said.
            Ok((None, _)) => {}
            Err(fault) => skipped.add(place, fault),
        }
    }
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

/// Where each listed image is; `None` where it cannot be used.
fn images(
    path: &Path,
    images: Vec<Lenient<Image>>,
    folder: &mut ImageFolder,
    skipped: &mut Skipped,
) -> HashMap<Id, Option<ImageFile>> {
    let mut found = HashMap::with_capacity(images.len());
    for (index, Lenient { id, record, .. }) in images.into_iter().enumerate() {
        let file = record.and_then(|image| {
            if found.contains_key(&image.id) {
                return Err(Fault::new(Reason::Duplicate, "the id stands above already"));
            }
            if let (Some(width), Some(height)) = (image.width, image.height) {
                boxes::check_size(width, height)?;
            }
            folder.find(std::slice::from_ref(&image.file_name))
        });
        match (file, id) {
            (Ok(file), Some(id)) => {
                found.insert(id, Some(file.into()));
            }
            (Ok(_), None) => {}
            (Err(fault), id) => {
                skipped.add(Place::Record { path, kind: "image", id: id.as_ref(), index }, fault);
                if let Some(id) = id {
                    found.entry(id).or_insert(None);
                }
            }
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Format;
    use super::super::testing::{Folder, assert_skipped};
    use super::*;

    fn captions() -> Value {
        let image =
            |id: u32| json!({"id": id, "file_name": format!("{id}.jpg"), "width": 8, "height": 6});
        let caption = |id: u32, image_id: u32, text: &str| json!({"id": id, "image_id": image_id, "caption": text});
        json!({
            "images": [image(1), image(2)],
            "annotations": [
                caption(10, 2, "A dog.\n"), caption(11, 1, "A cat. "), caption(12, 2, "A dog runs."),
            ],
        })
    }

    fn load(document: &Value) -> Loaded {
        let folder = Folder::new(&["1.jpg", "2.jpg"]);
        folder.load(Format::CocoCaptions, Task::Narrate, &document.to_string()).unwrap()
    }

    fn texts(loaded: &Loaded) -> Vec<Vec<&str>> {
        let samples = loaded.samples.iter();
        samples.map(|s| s.rows.iter().map(|row| row.text.as_str()).collect()).collect()
    }

    #[test]
    fn captions_of_an_image_share_a_sample_and_lose_the_spaces_around_them() {
        let loaded = load(&captions());
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        assert_eq!(texts(&loaded), [vec!["A dog.", "A dog runs."], vec!["A cat."]]);
        let row = &loaded.samples[0].rows[0];
        assert_eq!((row.region, row.locations.len(), loaded.num_records), (None, 0, 3));
    }

    #[test]
    fn each_damaged_record_is_skipped_for_its_reason() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 9] = [
            (Reason::NoWords, |d| d["annotations"][1]["caption"] = json!("\n")),
            (Reason::BrokenRecord, |d| d["annotations"][1]["caption"] = json!(7)),
            (Reason::Duplicate, |d| d["annotations"][1]["id"] = json!(10)),
            (Reason::UnknownImage, |d| d["annotations"][1]["image_id"] = json!(3)),
            (Reason::MissingImage, |d| d["images"][0]["file_name"] = json!("gone.jpg")),
            (Reason::UnsafePath, |d| d["images"][0]["file_name"] = json!("../1.jpg")),
            (Reason::AbsurdSize, |d| d["images"][0]["width"] = json!(2_000_000)),
            (Reason::NoPixels, |d| d["images"][0]["height"] = json!(0)),
            (Reason::BrokenRecord, |d| d["images"][0]["file_name"] = Value::Null),
        ];
        for (reason, damage) in damages {
            let mut document = captions();
            damage(&mut document);
            let loaded = load(&document);
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
            assert_eq!(texts(&loaded), [vec!["A dog.", "A dog runs."]]);
        }
    }

    #[test]
    fn an_image_that_is_listed_twice_is_a_duplicate_and_used_once() {
        let mut document = captions();
        let first = document["images"][0].clone();
        document["images"].as_array_mut().unwrap().push(first);
        let loaded = load(&document);
        assert_skipped(&loaded.skipped, &[(Reason::Duplicate, 1)]);
        assert_eq!(loaded.samples.len(), 2);
    }
}

//! Visual Genome as published: `region_descriptions.json`, a list of images with their regions, beside
//! `image_data.json` with the sizes of the images and which of COCO's they are.

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

const HELP: &str = "Give region_descriptions.json of Visual Genome, as it was downloaded.";

/// What a user can do about the file beside it.
const IMAGE_HELP: &str =
    "Put image_data.json of the same version of Visual Genome beside the regions.";

/// An image with its regions.
#[derive(Debug, Deserialize)]
struct DescribedImage {
    #[serde(alias = "image_id")]
    id: Id,
    regions: Vec<Lenient<Described>>,
}

#[derive(Debug, Deserialize)]
struct Described {
    /// Pixels; those of the upper left corner may be negative.
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
    phrase: String,
}

/// An entry of `image_data.json`.
#[derive(Debug, Deserialize)]
struct ImageData {
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    #[serde(default)]
    coco_id: Option<u64>,
}

/// Reads regions with what is said about them.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    type Images = Vec<Lenient<DescribedImage>>;
    let images = record::read_document::<Images, Images>(path, HELP)?;
    let mut reader = Reader {
        path,
        data: image_data(path)?,
        skipped: Skipped::keeping(request.examples),
        seen: HashSet::new(),
        coco_ids: HashMap::new(),
    };
    let mut gathered = Gathered::new(task);
    let mut num_records = 0;
    for (index, Lenient { id, image_id, record }) in images.into_iter().enumerate() {
        num_records += record.as_ref().map_or(1, |image| image.regions.len());
        let id = id.or(image_id);
        let place = Place::Record { path, kind: "image", id: id.as_ref(), index };
        match record.and_then(|image| reader.image(image, &mut folder)) {
            Ok(Some((file, id, rows))) => gathered.add(file, &id, rows),
            Ok(None) => {}
            Err(fault) => reader.skipped.add(place, fault),
        }
    }
    let Reader { skipped, coco_ids, .. } = reader;
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, coco_ids })
}

/// The images of `image_data.json`, which lies beside the regions.
fn image_data(regions: &Path) -> Result<HashMap<Id, Result<ImageData, Fault>>> {
    let path = regions.with_file_name("image_data.json");
    type Images = Vec<Lenient<ImageData>>;
    let images = record::read_document::<Images, Images>(&path, IMAGE_HELP)?;
    let by_id = |image: Lenient<ImageData>| Some((image.image_id.or(image.id)?, image.record));
    Ok(images.into_iter().filter_map(by_id).collect())
}

/// COCO's ids of the images of an `image_data.json` that lies beside `annotations`, if one does.
pub(super) fn coco_ids_beside(annotations: &Path) -> HashMap<String, u64> {
    let images = image_data(annotations).unwrap_or_default();
    let coco_id =
        |(id, image): (Id, Result<ImageData, Fault>)| Some((id.to_string(), image.ok()?.coco_id?));
    images.into_iter().filter_map(coco_id).collect()
}

struct Reader<'a> {
    path: &'a Path,
    data: HashMap<Id, Result<ImageData, Fault>>,
    skipped: Skipped,
    /// Ids of regions so far.
    seen: HashSet<Id>,
    coco_ids: HashMap<String, u64>,
}

impl Reader<'_> {
    /// The image's file, its id and a row per usable region; `None` where the image has none.
    fn image(
        &mut self,
        image: DescribedImage,
        folder: &mut ImageFolder,
    ) -> Result<Option<(ImageFile, String, Vec<Row>)>, Fault> {
        let DescribedImage { id, regions } = image;
        if regions.is_empty() {
            return Ok(None);
        }
        let unlisted =
            || Fault::new(Reason::UnknownImage, format!("image {id} is not in image_data.json"));
        let data = self.data.get(&id).ok_or_else(unlisted)?.as_ref().map_err(Fault::clone)?;
        boxes::check_size(data.width, data.height)?;
        let names = ["", "VG_100K/", "VG_100K_2/"].map(|folder| format!("{folder}{id}.jpg"));
        let file = folder.find(&names)?;
        let (size, name) = ((data.width, data.height), id.to_string());
        if let Some(coco_id) = data.coco_id {
            self.coco_ids.insert(name.clone(), coco_id);
        }
        let mut rows = Vec::new();
        for (index, Lenient { id, record, .. }) in regions.into_iter().enumerate() {
            let place = Place::Record { path: self.path, kind: "region", id: id.as_ref(), index };
            match record.and_then(|region| self.row(&region, id.as_ref(), size, place)) {
                Ok(row) => rows.push(row),
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        Ok(Some((file.into(), name, rows)))
    }

    fn row(
        &mut self,
        region: &Described,
        id: Option<&Id>,
        size: (u32, u32),
        place: Place<'_>,
    ) -> Result<Row, Fault> {
        record::check_is_new("region_id", id, &mut self.seen)?;
        record::check_has_words(&region.phrase)?;
        let xywh = [region.x, region.y, region.width, region.height];
        let bounds = boxes::region(&xywh, size, place, &mut self.skipped)?;
        Ok(Row::of_region(region.phrase.trim(), bounds))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::super::testing::{Folder, assert_skipped};
    use super::super::{Format, load as load_format};
    use super::*;
    use crate::geometry::BoundingBox;

    fn regions() -> Value {
        let region = |id: u32, image_id: u32, phrase: &str| {
            json!({"region_id": id, "image_id": image_id,
            "x": id, "y": 5, "width": 10, "height": 20, "phrase": phrase})
        };
        json!([
            {"id": 1, "regions": [region(10, 1, "a dog "), region(20, 1, "a tree")]},
            {"id": 2, "regions": [region(30, 2, "a cat")]},
            {"id": 3, "regions": []},
        ])
    }

    fn images() -> Value {
        let image = |id: u32| {
            json!({"image_id": id, "width": 100, "height": 50, "coco_id": null,
            "url": format!("https://example.org/VG_100K/{id}.jpg")})
        };
        let mut images = json!([image(1), image(2), image(3)]);
        images[1]["coco_id"] = json!(139);
        images
    }

    fn load(regions: &Value, data: &Value) -> Result<Loaded> {
        let folder = Folder::new(&["1.jpg"]);
        fs::create_dir(folder.images().join("VG_100K_2")).unwrap();
        fs::write(folder.images().join("VG_100K_2/2.jpg"), "").unwrap();
        fs::write(folder.root().join("image_data.json"), data.to_string()).unwrap();
        let annotations = folder.root().join("region_descriptions.json");
        fs::write(&annotations, regions.to_string()).unwrap();
        load_format(Format::VisualGenome, Task::Describe, &annotations, &folder.images())
    }

    #[test]
    fn regions_have_the_size_of_their_image_from_the_file_beside() {
        let loaded = load(&regions(), &images()).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        assert_eq!((loaded.samples.len(), loaded.num_records), (2, 3));
        let row = &loaded.samples[0].rows[0];
        assert_eq!(
            (row.text.as_str(), row.region),
            ("a dog", Some(BoundingBox::new(0.1, 0.1, 0.2, 0.5)))
        );
        assert!(loaded.samples[1].image.path.ends_with("VG_100K_2/2.jpg"));
        assert_eq!(loaded.coco_ids, HashMap::from([("2".to_string(), 139)]));
    }

    #[test]
    fn each_damaged_record_is_skipped_for_its_reason() {
        type Damage = fn(&mut Value, &mut Value);
        let damages: [(Reason, Damage); 10] = [
            (Reason::NoWords, |r, _| r[1]["regions"][0]["phrase"] = json!("")),
            (Reason::BrokenRecord, |r, _| r[1]["regions"][0]["phrase"] = json!(7)),
            (Reason::BrokenRecord, |r, _| r[1]["regions"] = json!(7)),
            (Reason::BrokenBox, |r, _| r[1]["regions"][0]["x"] = Value::Null),
            (Reason::EmptyBox, |r, _| r[1]["regions"][0]["height"] = json!(-3)),
            (Reason::Duplicate, |r, _| r[1]["regions"][0]["region_id"] = json!(10)),
            (Reason::UnknownImage, |r, _| r[1]["id"] = json!(9)),
            (Reason::MissingImage, |r, _| r[1]["id"] = json!(3)),
            (Reason::AbsurdSize, |_, d| d[1]["width"] = json!(123_456_789)),
            (Reason::BrokenRecord, |_, d| d[1]["width"] = json!("100")),
        ];
        for (index, (reason, damage)) in damages.into_iter().enumerate() {
            let (mut regions, mut data) = (regions(), images());
            damage(&mut regions, &mut data);
            let loaded = load(&regions, &data).unwrap();
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
            assert_eq!(loaded.samples.len(), 1, "damage {index}");
        }
    }

    #[test]
    fn a_box_that_reaches_out_is_clipped_and_noted() {
        let mut regions = regions();
        regions[1]["regions"][0]["x"] = json!(95);
        let loaded = load(&regions, &images()).unwrap();
        assert_eq!((loaded.skipped.count(), loaded.skipped.clipped()), (0, 1));
        assert_eq!(loaded.samples[1].rows[0].region, Some(BoundingBox::new(0.95, 0.1, 1.0, 0.5)));
    }

    #[test]
    fn the_sizes_that_are_missing_are_an_error_that_names_their_file() {
        let folder = Folder::new(&[]);
        fs::write(folder.annotations(), regions().to_string()).unwrap();
        let error = load_format(
            Format::VisualGenome,
            Task::Describe,
            &folder.annotations(),
            &folder.images(),
        );
        assert!(error.unwrap_err().to_string().contains("image_data.json"));
    }
}

//! COCO instances: objects with a category, a box and a mask.

use std::collections::HashMap;
use std::path::Path;

use hotcoco::types::Segmentation;

use super::coco::Images;
use super::record::Id;
use super::skipped::{Fault, Reason, Skipped};
use super::{Loaded, Request, coco};
use crate::data::sample::{ImageFile, Task};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::geometry::mask::{Mask, check_size};

/// The objects of a file.
#[derive(Debug)]
pub struct Instances {
    /// Those with objects, in the order of the file.
    pub images: Vec<InstanceImage>,
    /// What was left out.
    pub skipped: Skipped,
}

/// An image with its objects.
#[derive(Debug)]
pub struct InstanceImage {
    /// Where the image is.
    pub image: ImageFile,
    /// The dataset's name for the image.
    pub image_id: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// In the order of the file; at least one.
    pub instances: Vec<Instance>,
}

/// An object.
#[derive(Debug)]
pub struct Instance {
    /// The dataset's name for the object, where it has one.
    pub id: Option<String>,
    /// What it is.
    pub category: String,
    /// Its box, normalised to the image.
    pub bounds: BoundingBox,
    /// Which pixels it has; at least one.
    pub mask: Mask,
}

/// Reads objects with their category's name as text.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    coco::load(task, request, Images::Images, |_, object, categories| category(object, categories))
}

/// Reads objects with their masks. Every mask is checked to decode.
///
/// # Errors
/// As [`super::read`].
pub fn read_instances(annotations: &Path, images: &Path) -> Result<Instances> {
    let request = Request::new(annotations, images);
    let contents = coco::read::<Option<Segmentation>>(&request, Images::Images)?;
    let coco::Contents { images, categories, mut skipped, .. } = contents;
    let mut read = Vec::new();
    for image in images {
        let (width, height) = (image.record.width, image.record.height);
        let mut instances = Vec::new();
        for region in image.regions {
            let place = region.place(annotations);
            match instance(&region, &categories, width, height) {
                Ok(instance) => instances.push(instance),
                Err(fault) => skipped.add(place, fault),
            }
        }
        if !instances.is_empty() {
            let image_id = image.record.id.to_string();
            read.push(InstanceImage { image: image.path, image_id, width, height, instances });
        }
    }
    skipped.check_some_left(annotations, read.len(), "object")?;
    Ok(Instances { images: read, skipped })
}

/// As [`read`] to describe, but objects whose mask does not decode are skipped.
pub(super) fn read_checking_masks(request: &Request<'_>) -> Result<Loaded> {
    let text = |_: &_, object: &_, categories: &_| category(object, categories);
    let checked = |image: &coco::ImageRecord, object: &_| {
        mask(object, image.width, image.height).map(|_| None)
    };
    coco::load_with_masks(Task::Describe, request, Images::Images, text, checked)
}

fn instance(
    region: &coco::Region<Option<Segmentation>>,
    categories: &HashMap<Id, String>,
    width: u32,
    height: u32,
) -> Result<Instance, Fault> {
    let object = &region.annotation;
    let category = category(object, categories)?;
    let mask = mask(object, width, height)?;
    let id = object.id.as_ref().map(Id::to_string);
    Ok(Instance { id, category, bounds: region.bounds, mask })
}

/// The mask of an object in an image of `width × height` pixels.
pub(super) fn mask(
    object: &coco::AnnotationRecord<Option<Segmentation>>,
    width: u32,
    height: u32,
) -> Result<Mask, Fault> {
    let broken = |problem: String| Fault::new(Reason::BrokenMask, problem);
    let segmentation =
        object.segmentation.as_ref().ok_or_else(|| broken("no segmentation".to_string()))?;
    decode_mask(segmentation, width, height).map_err(broken)
}

fn category<S>(
    object: &coco::AnnotationRecord<S>,
    categories: &HashMap<Id, String>,
) -> Result<String, Fault> {
    if object.iscrowd != 0 {
        return Err(Fault::new(Reason::Crowd, ""));
    }
    let missing = || Fault::new(Reason::BrokenRecord, "missing field `category_id`");
    let id = object.category_id.as_ref().ok_or_else(missing)?;
    let unlisted = || Fault::new(Reason::UnknownCategory, format!("category_id {id}"));
    categories.get(id).cloned().ok_or_else(unlisted)
}

/// Decodes polygons or a run-length encoding, compressed or not, to the mask of an image of
/// `width × height` pixels.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode_mask(segmentation: &Segmentation, width: u32, height: u32) -> Result<Mask, String> {
    check_size(width, height)?;
    if let Some(polygons) = segmentation.polygons() {
        check_polygons(&polygons)?;
    }
    if let Segmentation::CompressedRle { size, .. } | Segmentation::UncompressedRle { size, .. } =
        segmentation
        && *size != [height, width]
    {
        let [h, w] = size;
        return Err(format!("the mask is of {w} × {h} pixels, the image of {width} × {height}"));
    }
    let runs = segmentation.to_rle(height, width).map_err(|error| error.to_string())?;
    let mask = Mask::from_runs(runs.counts, width, height)?;
    if mask.area() == 0 {
        return Err("the mask has no pixels".to_string());
    }
    Ok(mask)
}

fn check_polygons(polygons: &[Vec<f64>]) -> Result<(), String> {
    for polygon in polygons {
        // Three corners of two coordinates.
        if polygon.len() < 6 || polygon.len() % 2 != 0 {
            return Err(format!("a polygon of {} coordinates", polygon.len()));
        }
        if polygon.iter().any(|coordinate| !coordinate.is_finite()) {
            return Err("a polygon with a coordinate that is not finite".to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{Folder, assert_skipped};
    use super::super::{Format, read_thoroughly};
    use super::*;

    /// An image of 4 × 3 pixels with a cat of 2 × 2 at (1, 1), its mask in the given spelling, and a dog.
    fn objects(mask: &Value) -> Value {
        let square = json!([[0, 0, 1, 0, 1, 1, 0, 1]]);
        json!({
            "images": [{"id": 5, "file_name": "5.jpg", "width": 4, "height": 3}],
            "annotations": [
                {"id": 1, "image_id": 5, "category_id": 17, "bbox": [1, 1, 2, 2], "iscrowd": 0,
                 "segmentation": mask},
                {"id": 2, "image_id": 5, "category_id": 18, "bbox": [0, 0, 1, 1], "iscrowd": 0,
                 "segmentation": square},
            ],
            "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}],
        })
    }

    /// Column by column: 4 outside, 2 inside, 1 outside, 2 inside, 3 outside.
    fn runs() -> Value {
        json!({"size": [3, 4], "counts": [4, 2, 1, 2, 3]})
    }

    fn folder_with(document: &Value) -> Folder {
        let folder = Folder::new(&["5.jpg"]);
        std::fs::write(folder.annotations(), document.to_string()).unwrap();
        folder
    }

    fn read_all(document: &Value) -> Instances {
        let folder = folder_with(document);
        read_instances(&folder.annotations(), &folder.images()).unwrap()
    }

    #[test]
    fn categories_are_what_there_is_to_say() {
        let folder = Folder::new(&["5.jpg"]);
        let document = objects(&runs()).to_string();
        let loaded = folder.load(Format::CocoInstances, Task::Describe, &document).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        let rows = &loaded.samples[0].rows;
        let found: Vec<_> = rows.iter().map(|row| (row.text.as_str(), row.region)).collect();
        let cat = BoundingBox::new(0.25, 1.0 / 3.0, 0.75, 1.0);
        let dog = BoundingBox::new(0.0, 0.0, 0.25, 1.0 / 3.0);
        assert_eq!(found, [("cat", Some(cat)), ("dog", Some(dog))]);
    }

    #[test]
    fn masks_decode_from_polygons_and_from_runs_compressed_or_not() {
        let polygon = json!([[1, 1, 3, 1, 3, 3, 1, 3]]);
        let halves = json!([[1, 1, 2, 1, 2, 3, 1, 3], [2, 1, 3, 1, 3, 3, 2, 3]]);
        // 5 bits a character from 48 on; from the third on the difference to two before:
        // 4, 2, 1, 2 − 2 = 0, 3 − 1 = 2.
        let compressed = json!({"size": [3, 4], "counts": "42102"});
        let (o, x) = (false, true);
        #[rustfmt::skip]
        let expected = [
            o, o, o, o,
            o, x, x, o,
            o, x, x, o,
        ];
        for spelling in [runs(), compressed, polygon, halves] {
            let Instances { images, skipped } = read_all(&objects(&spelling));
            assert!(skipped.is_empty(), "{spelling}: {skipped}");
            let InstanceImage { width, height, instances, image_id, .. } = &images[0];
            assert_eq!((*width, *height, image_id.as_str()), (4, 3, "5"));
            let Instance { id, category, mask, .. } = &instances[0];
            assert_eq!((id.as_deref(), category.as_str()), (Some("1"), "cat"));
            assert_eq!(mask.pixels(), expected, "{spelling}");
            assert_eq!((mask.width(), mask.height(), mask.area()), (4, 3, 4));
        }
    }

    #[test]
    fn each_damaged_mask_is_skipped_and_nothing_else_is() {
        let masks = [
            json!({"size": [3, 4], "counts": [4, 2, 1, 2, 30]}),
            json!({"size": [4, 3], "counts": [4, 2, 1, 2, 3]}),
            json!({"size": [100_000, 100_000], "counts": [4, 2]}),
            json!({"size": [3, 4], "counts": [12]}),
            json!({"size": [3, 4], "counts": "4210zzzz"}),
            json!({"size": [3, 4], "counts": "é"}),
            json!([[1, 1, 3, 1]]),
            json!([[1, 1, 3, 1, 3, 3, 1]]),
            json!([]),
            Value::Null,
        ];
        for mask in masks {
            let Instances { images, skipped } = read_all(&objects(&mask));
            assert_skipped(&skipped, &[(Reason::BrokenMask, 1)]);
            assert_eq!(images[0].instances.len(), 1);
            assert_eq!(images[0].instances[0].category, "dog");
        }
        for mask in [json!({"size": [3, 4]}), json!({"size": [3, 4], "counts": [-4, 16]}), json!(3)]
        {
            let Instances { images, skipped } = read_all(&objects(&mask));
            assert_skipped(&skipped, &[(Reason::BrokenRecord, 1)]);
            assert_eq!(images[0].instances.len(), 1);
        }
    }

    #[test]
    fn crowds_and_unlisted_categories_are_skipped() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 4] = [
            (Reason::Crowd, |d| d["annotations"][0]["iscrowd"] = json!(1)),
            (Reason::UnknownCategory, |d| d["annotations"][0]["category_id"] = json!(90)),
            (Reason::BrokenRecord, |d| {
                d["annotations"][0].as_object_mut().unwrap().remove("category_id");
            }),
            (Reason::NoWords, |d| d["categories"][0]["name"] = json!("")),
        ];
        for (reason, damage) in damages {
            let mut document = objects(&runs());
            damage(&mut document);
            let folder = folder_with(&document);
            let text = document.to_string();
            let loaded = folder.load(Format::CocoInstances, Task::Describe, &text).unwrap();
            let (annotations, images) = (folder.annotations(), folder.images());
            let request = Request::new(&annotations, &images);
            let checked = read_thoroughly(Format::CocoInstances, &request).unwrap();
            for loaded in [loaded, checked] {
                assert_skipped(&loaded.skipped, &[(reason, 1)]);
                assert_eq!((loaded.samples[0].rows.len(), loaded.num_records), (1, 2));
            }
        }
    }

    #[test]
    fn no_object_with_a_mask_is_an_error() {
        let mut document = objects(&json!([]));
        document["annotations"].as_array_mut().unwrap().pop();
        let folder = folder_with(&document);
        let error = read_instances(&folder.annotations(), &folder.images()).unwrap_err();
        assert!(error.to_string().contains("1 × broken mask"), "{error}");
    }
}

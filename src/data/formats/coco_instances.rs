//! COCO instances: objects with a category, a box and a mask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hotcoco::types::Segmentation;

use super::record::Id;
use super::skipped::{Fault, Reason, Skipped};
use super::{Loaded, coco};
use crate::data::sample::Task;
use crate::error::Result;
use crate::geometry::BoundingBox;

/// Most pixels of a mask that is decoded: 16384 a side, as for images.
const MAX_PIXELS: u64 = 1 << 28;

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
    pub image: PathBuf,
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
    /// Which pixels it has.
    pub mask: Mask,
}

/// Which pixels of an image belong to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Row by row, `width · height`.
    pub pixels: Vec<bool>,
}

impl Mask {
    /// How many pixels belong to the object.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&inside| inside).count()
    }
}

/// Reads objects with their category's name as text.
pub(super) fn load(task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    coco::load(task, annotations, images, false, |_, object, categories| {
        category(object, categories)
    })
}

/// Reads objects with their masks, all of them decoded.
///
/// # Errors
/// As [`super::load`].
pub fn read_instances(annotations: &Path, images: &Path) -> Result<Instances> {
    let contents = coco::read::<Option<Segmentation>>(annotations, images, false)?;
    let coco::Contents { images, categories, mut skipped } = contents;
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

fn instance(
    region: &coco::Region<Option<Segmentation>>,
    categories: &HashMap<Id, String>,
    width: u32,
    height: u32,
) -> Result<Instance, Fault> {
    let object = &region.annotation;
    let category = category(object, categories)?;
    let broken = |problem: String| Fault::new(Reason::BrokenMask, problem);
    let segmentation =
        object.segmentation.as_ref().ok_or_else(|| broken("no segmentation".to_string()))?;
    let mask = decode_mask(segmentation, width, height).map_err(broken)?;
    let id = object.id.as_ref().map(Id::to_string);
    Ok(Instance { id, category, bounds: region.bounds, mask })
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
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("a mask of {width} × {height} pixels is too large"));
    }
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
    let columns = hotcoco::mask::decode(&runs);
    let (w, h) = (width as usize, height as usize);
    let pixels = (0..h).flat_map(|y| (0..w).map(move |x| y + h * x));
    let pixels = pixels.map(|at| columns.get(at).is_some_and(|&value| value != 0)).collect();
    let mask = Mask { width, height, pixels };
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

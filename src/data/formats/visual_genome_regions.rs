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
const IMAGE_HELP: &str = "Put image_data.json of the same version of Visual Genome beside the regions.";

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
    #[serde(alias = "id")]
    image_id: Id,
    width: u32,
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
    let coco_id = |(id, image): (Id, Result<ImageData, Fault>)| Some((id.to_string(), image.ok()?.coco_id?));
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
        if id.is_some_and(|id| !self.seen.insert(id.clone())) {
            return Err(Fault::new(Reason::Duplicate, "the region_id stands above already"));
        }
        record::check_has_words(&region.phrase)?;
        let xywh = [region.x, region.y, region.width, region.height];
        let bounds = boxes::region(&xywh, size, place, &mut self.skipped)?;
        Ok(Row::of_region(region.phrase.trim(), bounds))
    }
}

//! The layout that COCO, MDETR and GRiT share: `images`, `annotations` that name their image, and
//! boxes as `[x, y, width, height]` in pixels.

mod records;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::de::DeserializeOwned;

use self::records::Category;
pub(super) use self::records::{AnnotationRecord, ImageRecord, LenientDocument, SoundDocument};
use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id, Lenient};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, boxes};
use crate::data::sample::{ImageFile, Row, Task};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;

/// What a user can do about a file that is not in this layout.
const HELP: &str =
    "Give a JSON object with the lists `images` and `annotations`, as COCO writes them.";

/// What the images of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Images {
    /// Expressions, each about an image; each needs a box.
    Expressions,
    /// Images.
    Images,
}

/// An image that is there, with the annotations about it.
#[derive(Debug)]
pub(super) struct ListedImage<S> {
    pub(super) record: ImageRecord,
    pub(super) path: ImageFile,
    pub(super) regions: Vec<Region<S>>,
}

/// An annotation with a usable box.
#[derive(Debug)]
pub(super) struct Region<S> {
    pub(super) annotation: AnnotationRecord<S>,
    /// Index among the annotations of the file.
    index: usize,
    /// Normalised to the image.
    pub(super) bounds: BoundingBox,
}

/// Everything usable in a file.
#[derive(Debug)]
pub(super) struct Contents<S> {
    /// Those with annotations, in the order of the file.
    pub(super) images: Vec<ListedImage<S>>,
    /// Names by id.
    pub(super) categories: HashMap<Id, String>,
    pub(super) skipped: Skipped,
    /// Expressions, or annotations of images; usable or not.
    num_records: usize,
}

/// Reads a file, and checks that images exist and that boxes are usable.
pub(super) fn read<S: DeserializeOwned + Default>(
    request: &Request<'_>,
    kind: Images,
) -> Result<Contents<S>> {
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let document = record::read_document::<SoundDocument<S>, LenientDocument<S>>(path, HELP)?;
    let num_records = match kind {
        Images::Expressions => document.images.len(),
        Images::Images => document.annotations.len(),
    };
    let mut reader = Reader { path, skipped: Skipped::keeping(request.examples) };
    let categories = reader.categories(document.categories);
    let mut images = reader.images(document.images);
    reader.assign(document.annotations, &mut images);
    let mut listed = Vec::new();
    for image in images.entries {
        // Where its annotations have been skipped already, that is what there is to say.
        let may_be_bare = kind == Images::Images || image.has_skipped_annotations;
        if image.annotations.is_empty() && image.record.is_ok() && may_be_bare {
            continue;
        }
        listed.extend(reader.check(image, &mut folder));
    }
    Ok(Contents { images: listed, categories, skipped: reader.skipped, num_records })
}

/// Reads one task's samples; `text` says what is said about a region.
pub(super) fn load(
    task: Task,
    request: &Request<'_>,
    kind: Images,
    text: impl Fn(&ImageRecord, &AnnotationRecord, &HashMap<Id, String>) -> Result<String, Fault>,
) -> Result<Loaded> {
    load_with_masks(task, request, kind, text, |_, _| Ok(None))
}

/// As [`load`]; `mask` says which pixels a region has.
pub(super) fn load_with_masks<S: DeserializeOwned + Default>(
    task: Task,
    request: &Request<'_>,
    kind: Images,
    text: impl Fn(&ImageRecord, &AnnotationRecord<S>, &HashMap<Id, String>) -> Result<String, Fault>,
    mask: impl Fn(&ImageRecord, &AnnotationRecord<S>) -> Result<Option<Mask>, Fault>,
) -> Result<Loaded> {
    let path = request.annotations;
    let Contents { images, categories, mut skipped, num_records } = read(request, kind)?;
    let mut gathered = Gathered::new(task);
    for ListedImage { record, path: image, regions } in images {
        let mut rows = Vec::new();
        for region in regions {
            let object = &region.annotation;
            let text = text(&record, object, &categories).and_then(with_words);
            match text.and_then(|text| Ok((text, mask(&record, object)?))) {
                Ok((text, mask)) => rows.push(Row { mask, ..Row::of_region(text, region.bounds) }),
                Err(fault) => skipped.add(region.place(path), fault),
            }
        }
        gathered.add(image, &record.image_id(), rows);
    }
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

fn with_words(text: String) -> Result<String, Fault> {
    record::check_has_words(&text).map(|()| text)
}

impl<S> Region<S> {
    /// Where the annotation stands in the file at `path`.
    pub(super) fn place<'a>(&'a self, path: &'a Path) -> Place<'a> {
        annotation_place(path, self.annotation.id.as_ref(), self.index)
    }
}

fn annotation_place<'a>(path: &'a Path, id: Option<&'a Id>, index: usize) -> Place<'a> {
    Place::Record { path, kind: "annotation", id, index }
}

/// An entry of `images`, usable or not, with the annotations that name it.
struct Entry<S> {
    id: Option<Id>,
    index: usize,
    record: Result<ImageRecord, Fault>,
    annotations: Vec<(usize, AnnotationRecord<S>)>,
    /// Whether annotations that name it have been skipped.
    has_skipped_annotations: bool,
}

struct Entries<S> {
    entries: Vec<Entry<S>>,
    /// Where each id's first entry is.
    by_id: HashMap<Id, usize>,
}

struct Reader<'a> {
    path: &'a Path,
    skipped: Skipped,
}

impl Reader<'_> {
    fn categories(&mut self, categories: Vec<Lenient<Category>>) -> HashMap<Id, String> {
        let mut names = HashMap::new();
        for (index, Lenient { id, record, .. }) in categories.into_iter().enumerate() {
            let fault = match record {
                Ok(Category { id, .. }) if names.contains_key(&id) => {
                    Fault::new(Reason::Duplicate, "the id stands above already")
                }
                Ok(Category { id, name }) => {
                    names.insert(id, name);
                    continue;
                }
                Err(fault) => fault,
            };
            let id = id.as_ref();
            self.skipped.add(Place::Record { path: self.path, kind: "category", id, index }, fault);
        }
        names
    }

    /// Entries by id. Of entries with the same id only the first is kept.
    fn images<S>(&mut self, images: Vec<Lenient<ImageRecord>>) -> Entries<S> {
        let mut entries = Vec::with_capacity(images.len());
        let mut by_id = HashMap::with_capacity(images.len());
        for (index, Lenient { id, record, .. }) in images.into_iter().enumerate() {
            match &id {
                Some(id) if by_id.contains_key(id) => {
                    let fault = Fault::new(Reason::Duplicate, "the id stands above already");
                    self.skip_image(Some(id), index, fault);
                    continue;
                }
                Some(id) => by_id.insert(id.clone(), entries.len()),
                None => None,
            };
            let annotations = Vec::new();
            entries.push(Entry { id, index, record, annotations, has_skipped_annotations: false });
        }
        Entries { entries, by_id }
    }

    /// Gives each annotation to the image that it names.
    fn assign<S>(
        &mut self,
        annotations: Vec<Lenient<AnnotationRecord<S>>>,
        images: &mut Entries<S>,
    ) {
        let mut seen = HashSet::with_capacity(annotations.len());
        for (index, Lenient { id, image_id, record }) in annotations.into_iter().enumerate() {
            let entry = image_id.and_then(|id| images.by_id.get(&id)).copied();
            let entry = entry.and_then(|entry| images.entries.get_mut(entry));
            let is_repeated = id.as_ref().is_some_and(|id| seen.contains(id));
            let record = record.and_then(|annotation| match is_repeated {
                true => Err(Fault::new(Reason::Duplicate, "the id stands above already")),
                false => Ok(annotation),
            });
            let fault = match (record, entry) {
                (Ok(annotation), Some(entry)) => {
                    entry.annotations.push((index, annotation));
                    seen.extend(id);
                    continue;
                }
                (Ok(annotation), None) => {
                    Fault::new(Reason::UnknownImage, format!("image_id {}", annotation.image_id))
                }
                (Err(fault), entry) => {
                    if let Some(entry) = entry {
                        entry.has_skipped_annotations = true;
                    }
                    fault
                }
            };
            self.skipped.add(annotation_place(self.path, id.as_ref(), index), fault);
        }
    }

    /// The image with its usable annotations. An image that cannot be used is one fault, however many
    /// annotations go with it.
    fn check<S>(&mut self, image: Entry<S>, folder: &mut ImageFolder) -> Option<ListedImage<S>> {
        let Entry { id, index, record, annotations, .. } = image;
        let found = record.and_then(|record| {
            if annotations.is_empty() {
                return Err(Fault::new(Reason::NoBox, "no annotation names it"));
            }
            boxes::check_size(record.width, record.height)?;
            let path = folder.find(std::slice::from_ref(&record.file_name))?;
            Ok((record, path.into()))
        });
        let (record, path) = match found {
            Ok(found) => found,
            Err(Fault { reason, mut message }) => {
                if annotations.len() > 1 {
                    message += &format!("; its {} annotations go with it", annotations.len());
                }
                self.skip_image(id.as_ref(), index, Fault { reason, message });
                return None;
            }
        };
        let regions = annotations
            .into_iter()
            .filter_map(|(index, annotation)| self.region(&record, index, annotation))
            .collect();
        Some(ListedImage { record, path, regions })
    }

    fn region<S>(
        &mut self,
        image: &ImageRecord,
        index: usize,
        annotation: AnnotationRecord<S>,
    ) -> Option<Region<S>> {
        let place = annotation_place(self.path, annotation.id.as_ref(), index);
        let size = (image.width, image.height);
        match boxes::region(&annotation.bbox, size, place, &mut self.skipped) {
            Ok(bounds) => Some(Region { annotation, index, bounds }),
            Err(fault) => {
                self.skipped.add(place, fault);
                None
            }
        }
    }

    fn skip_image(&mut self, id: Option<&Id>, index: usize, fault: Fault) {
        self.skipped.add(Place::Record { path: self.path, kind: "image", id, index }, fault);
    }
}

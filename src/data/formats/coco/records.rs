//! What stands in a file of COCO's layout; keys that are not used are left out.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::super::record::{Id, Identified, Lenient};

/// A file: images, annotations and categories.
#[derive(Debug, Deserialize)]
pub(super) struct Document<I, A, C> {
    pub(super) images: Vec<I>,
    pub(super) annotations: Vec<A>,
    #[serde(default = "Vec::new")]
    pub(super) categories: Vec<C>,
}

/// A file without a broken record.
pub(super) type SoundDocument<S> = Document<ImageRecord, AnnotationRecord<S>, Category>;

/// A file in which records may be broken.
pub(super) type LenientDocument<S> =
    Document<Lenient<ImageRecord>, Lenient<AnnotationRecord<S>>, Lenient<Category>>;

impl<S> From<SoundDocument<S>> for LenientDocument<S> {
    fn from(document: SoundDocument<S>) -> Self {
        Self {
            images: document.images.into_iter().map(Into::into).collect(),
            annotations: document.annotations.into_iter().map(Into::into).collect(),
            categories: document.categories.into_iter().map(Into::into).collect(),
        }
    }
}

/// An image, or one expression about an image.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) id: Id,
    pub(super) file_name: String,
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// MDETR: the expression.
    #[serde(default)]
    pub(crate) caption: Option<String>,
    /// MDETR: the image that the expression is about.
    #[serde(default)]
    original_id: Option<Id>,
    /// MDETR, by its other name.
    #[serde(default)]
    original_img_id: Option<Id>,
}

/// A region of an image; `S` is what is kept of the segmentation.
#[derive(Debug, Deserialize)]
#[serde(bound = "S: DeserializeOwned + Default")]
pub(crate) struct AnnotationRecord<S = IgnoredAny> {
    #[serde(default)]
    pub(crate) id: Option<Id>,
    pub(super) image_id: Id,
    /// `[x, y, width, height]` in pixels; `None` where the file said `null` or `NaN`.
    pub(super) bbox: Vec<Option<f64>>,
    /// GRiT: what the region is.
    #[serde(default)]
    pub(crate) caption: Option<String>,
    #[serde(default)]
    pub(crate) category_id: Option<Id>,
    #[serde(default)]
    pub(crate) iscrowd: u8,
    #[serde(default)]
    pub(crate) segmentation: S,
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) id: Id,
    pub(super) name: String,
}

impl ImageRecord {
    /// The dataset's name for the image, not for the expression about it.
    pub(crate) fn image_id(&self) -> String {
        let id = self.original_img_id.as_ref().or(self.original_id.as_ref());
        id.unwrap_or(&self.id).to_string()
    }
}

impl Identified for ImageRecord {
    fn id(&self) -> Option<Id> {
        Some(self.id.clone())
    }
}

impl<S> Identified for AnnotationRecord<S> {
    fn id(&self) -> Option<Id> {
        self.id.clone()
    }

    fn image_id(&self) -> Option<Id> {
        Some(self.image_id.clone())
    }
}

impl Identified for Category {
    fn id(&self) -> Option<Id> {
        Some(self.id.clone())
    }
}

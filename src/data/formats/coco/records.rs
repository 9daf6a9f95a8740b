//! What stands in a file of COCO's layout; keys that are not used are left out.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::super::record::{Id, Identified, Lenient};

/// A file: images, annotations and categories.
#[derive(Debug, Deserialize)]
pub(in crate::data::formats) struct Document<I, A, C> {
    pub(in crate::data::formats) images: Vec<I>,
    pub(in crate::data::formats) annotations: Vec<A>,
    #[serde(default = "Vec::new")]
    pub(in crate::data::formats) categories: Vec<C>,
}

/// A file without a broken record.
pub(in crate::data::formats) type SoundDocument<S> =
    Document<ImageRecord, AnnotationRecord<S>, Category>;

/// A file in which records may be broken.
pub(in crate::data::formats) type LenientDocument<S> =
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
pub(in crate::data::formats) struct ImageRecord {
    pub(in crate::data::formats) id: Id,
    pub(in crate::data::formats) file_name: String,
    /// Pixels.
    pub(in crate::data::formats) width: u32,
    /// Pixels.
    pub(in crate::data::formats) height: u32,
    /// MDETR: the expression.
    #[serde(default)]
    pub(in crate::data::formats) caption: Option<String>,
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
pub(in crate::data::formats) struct AnnotationRecord<S = IgnoredAny> {
    #[serde(default)]
    pub(in crate::data::formats) id: Option<Id>,
    pub(in crate::data::formats) image_id: Id,
    /// `[x, y, width, height]` in pixels; `None` where the file said `null` or `NaN`.
    pub(in crate::data::formats) bbox: Vec<Option<f64>>,
    /// GRiT: what the region is.
    #[serde(default)]
    pub(in crate::data::formats) caption: Option<String>,
    #[serde(default)]
    pub(in crate::data::formats) category_id: Option<Id>,
    #[serde(default)]
    pub(in crate::data::formats) iscrowd: u8,
    #[serde(default)]
    pub(in crate::data::formats) segmentation: S,
}

#[derive(Debug, Deserialize)]
pub(in crate::data::formats) struct Category {
    pub(in crate::data::formats) id: Id,
    pub(in crate::data::formats) name: String,
}

impl ImageRecord {
    /// The dataset's name for the image, not for the expression about it.
    pub(in crate::data::formats) fn image_id(&self) -> String {
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

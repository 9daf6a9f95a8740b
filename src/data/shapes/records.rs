//! The public formats as they are written (`spec/data.md` §2.1, §4.2, §5, and COCO's instances).

use serde::Serialize;

use super::attributes::Shape;
use super::trace::TracePoint;

/// A line of a Localized Narratives file.
#[derive(Debug, Serialize)]
pub(super) struct Narrative {
    pub(super) dataset_id: String,
    /// Decimal and without leading zeros, as for COCO's images.
    pub(super) image_id: String,
    pub(super) annotator_id: u32,
    pub(super) caption: String,
    pub(super) timed_caption: Vec<TimedUtterance>,
    pub(super) traces: Vec<Vec<TracePoint>>,
    /// Where the sound is; there is none.
    pub(super) voice_recording: String,
}

/// One utterance of a narrative; times in seconds.
#[derive(Debug, Serialize)]
pub(super) struct TimedUtterance {
    pub(super) utterance: String,
    pub(super) start_time: f64,
    pub(super) end_time: f64,
}

/// A file of COCO's layout.
#[derive(Debug, Serialize)]
pub(super) struct Coco<I, A> {
    pub(super) images: Vec<I>,
    pub(super) annotations: Vec<A>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) categories: Vec<Category>,
}

impl<I, A> Coco<I, A> {
    /// An empty file; with the shapes as categories where asked.
    pub(super) fn new(categories: bool) -> Self {
        let all = if categories { Shape::ALL } else { &[] };
        Self {
            images: Vec::new(),
            annotations: Vec::new(),
            categories: all.iter().map(|shape| Category::of(*shape)).collect(),
        }
    }
}

/// What kinds of object there are.
#[derive(Debug, Serialize)]
pub(super) struct Category {
    pub(super) id: u32,
    pub(super) name: &'static str,
    pub(super) supercategory: &'static str,
}

impl Category {
    fn of(shape: Shape) -> Self {
        Self { id: category_id(shape), name: shape.word(), supercategory: "shape" }
    }
}

/// Categories are counted from 1.
pub(super) fn category_id(shape: Shape) -> u32 {
    shape as u32 + 1
}

/// An image of an instances or regions file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Image {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A mask in COCO's compressed run-length encoding.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Segmentation {
    /// Height, width.
    pub(super) size: [u32; 2],
    pub(super) counts: String,
}

/// An object of an instances file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Instance {
    pub(super) id: u64,
    pub(super) image_id: u64,
    pub(super) category_id: u32,
    /// x, y, width, height in pixels, around the visible pixels.
    pub(super) bbox: [u32; 4],
    /// Visible pixels.
    pub(super) area: u64,
    pub(super) iscrowd: u8,
    pub(super) segmentation: Segmentation,
    /// How it looks; not a key of COCO's.
    pub(super) attributes: InstanceAttributes,
}

/// The words of an object's attributes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct InstanceAttributes {
    pub(super) size: &'static str,
    pub(super) colour: &'static str,
    pub(super) pattern: &'static str,
    pub(super) shape: &'static str,
}

/// An "image" of an expressions file: one expression.
#[derive(Debug, Serialize)]
pub(super) struct ExpressionImage {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) width: u32,
    pub(super) height: u32,
    /// The id of the image itself.
    pub(super) original_id: u64,
    pub(super) caption: String,
    /// Counted from 1 in its file.
    pub(super) refexp_id: u64,
    pub(super) dataset_name: &'static str,
}

/// The object that an expression names.
#[derive(Debug, Serialize)]
pub(super) struct ExpressionObject {
    pub(super) id: u64,
    /// The id of the [`ExpressionImage`].
    pub(super) image_id: u64,
    pub(super) category_id: u32,
    /// x, y, width, height in pixels.
    pub(super) bbox: [u32; 4],
    pub(super) area: u64,
    pub(super) iscrowd: u8,
    /// Ranges of characters of the caption that name the object.
    pub(super) tokens_positive: Vec<[usize; 2]>,
    /// The id in the instances file.
    pub(super) original_id: u64,
    pub(super) segmentation: Segmentation,
}

/// A region of a regions file.
#[derive(Debug, Serialize)]
pub(super) struct Region {
    pub(super) id: u64,
    pub(super) image_id: u64,
    /// x, y, width, height in pixels.
    pub(super) bbox: [u32; 4],
    pub(super) caption: String,
}

//! RefCOCO, RefCOCO+ and RefCOCOg as MDETR writes them (`spec/data.md` §4.2): each entry of `images` is
//! one expression about an image, and the annotation that names it has the box.

use std::path::Path;

use super::skipped::{Fault, Reason};
use super::{Loaded, coco};
use crate::data::sample::Task;
use crate::error::Result;

/// Reads expressions with their boxes; expressions about the same image share a sample.
pub(super) fn load(task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    coco::load(task, annotations, images, true, |expression, _, _| {
        expression.caption.clone().ok_or_else(|| {
            Fault::new(Reason::BrokenRecord, format!("image {} has no caption", expression.id))
        })
    })
}

//! Visual Genome regions as GRiT writes them (`spec/data.md` §5): COCO JSON in which each annotation has
//! a `caption`.

use std::path::Path;

use super::skipped::{Fault, Reason};
use super::{Loaded, coco};
use crate::data::sample::Task;
use crate::error::Result;

/// Reads regions with what is said about them.
pub(super) fn load(task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    coco::load(task, annotations, images, false, |_, region, _| {
        let missing = || Fault::new(Reason::BrokenRecord, "missing field `caption`");
        region.caption.clone().ok_or_else(missing)
    })
}

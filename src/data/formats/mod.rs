//! Public formats → samples.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Layout of an annotation file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Localized Narratives JSONL.
    LocalizedNarratives,
    /// Referring expressions, MDETR's JSON.
    RefexpMdetr,
    /// Visual Genome regions, GRiT's COCO JSON.
    VisualGenomeCoco,
    /// COCO instances.
    CocoInstances,
}

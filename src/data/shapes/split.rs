//! The four splits, and what their images are called.

use super::ShapesConfig;

/// Ids of one split begin this far after those of the split before, so that an id names one image
/// of the world and adding images to a split moves no other.
pub(super) const IDS_PER_SPLIT: usize = 100_000_000;

/// A part of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    Train,
    Val,
    Test,
    /// Pairs of colour and shape that the others never have.
    HeldOut,
}

impl Split {
    pub(super) const ALL: [Self; 4] = [Self::Train, Self::Val, Self::Test, Self::HeldOut];

    /// The name in folders and files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
            Self::HeldOut => "held_out",
        }
    }

    /// How many images a world has of it.
    pub(super) fn num_images(self, config: &ShapesConfig) -> usize {
        match self {
            Self::Train => config.train_images,
            Self::Val => config.val_images,
            Self::Test => config.test_images,
            Self::HeldOut => config.held_out_images,
        }
    }

    /// The id of an image counted from 0.
    pub(super) fn image_id(self, index: usize) -> u64 {
        (self as usize * IDS_PER_SPLIT + index + 1) as u64
    }
}

/// The name of an image's file, as COCO's are.
pub(super) fn file_name(image_id: u64, jpeg: bool) -> String {
    format!("{image_id:012}.{}", if jpeg { "jpg" } else { "png" })
}

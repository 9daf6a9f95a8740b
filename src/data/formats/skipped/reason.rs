//! [`Reason`]: why a record is not used, or what is wrong with one that is.

/// Why a record is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A line that is not JSON.
    BrokenJson,
    /// A field is missing or of the wrong type.
    BrokenRecord,
    /// Something with the same identity came before.
    Duplicate,
    /// A file name that leads out of the image folder.
    UnsafePath,
    /// The image file is not there.
    MissingImage,
    /// An image recorded as having no pixels.
    NoPixels,
    /// An annotation of an image that the file does not list.
    UnknownImage,
    /// An annotation of a category that the file does not list.
    UnknownCategory,
    /// A text without a letter or digit.
    NoWords,
    /// A box that is not four finite numbers.
    BrokenBox,
    /// A box without an area.
    EmptyBox,
    /// A box with nothing inside the image.
    BoxOutside,
    /// A text without a box.
    NoBox,
    /// A trace with fewer than two moments.
    EmptyTrace,
    /// An utterance that ends before it begins.
    BackwardTimes,
    /// A narrative of which no utterance was traced inside the image.
    NoUtterance,
    /// A region that covers a crowd rather than one object.
    Crowd,
    /// A mask that does not decode or does not fit its image.
    BrokenMask,
    /// A file of which nothing, or nothing more, can be read.
    BrokenFile,
    /// A record whose bytes are not those that were written.
    WrongChecksum,
    /// An image recorded as larger than any that is decoded.
    AbsurdSize,
    /// A box that reaches more than a pixel out of its image; the part inside is used.
    ClippedBox,
    /// An utterance without words, or whose words the caption does not have.
    MissingUtterance,
    /// A conversation that is not about an image.
    TextOnly,
    /// A phrase whose entity nobody drew a box for.
    UndrawnPhrase,
    /// An image file that cannot be decoded.
    BrokenImage,
    /// An image that is trained on and evaluated on.
    SharedImage,
}

impl Reason {
    /// A few words, as they stand in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokenJson => "broken JSON",
            Self::BrokenRecord => "field missing or of the wrong type",
            Self::Duplicate => "duplicate",
            Self::UnsafePath => "file name leads out of the image folder",
            Self::MissingImage => "missing image",
            Self::NoPixels => "image without a size",
            Self::UnknownImage => "annotation of an unlisted image",
            Self::UnknownCategory => "unlisted category",
            Self::NoWords => "text without words",
            Self::BrokenBox => "box is not four finite numbers",
            Self::EmptyBox => "box without an area",
            Self::BoxOutside => "box outside the image",
            Self::NoBox => "text without a box",
            Self::EmptyTrace => "empty trace",
            Self::BackwardTimes => "utterance times backwards",
            Self::NoUtterance => "no utterance traced inside the image",
            Self::Crowd => "crowd region",
            Self::BrokenMask => "broken mask",
            Self::BrokenFile => "broken file",
            Self::WrongChecksum => "wrong checksum",
            Self::AbsurdSize => "image too large",
            Self::ClippedBox => "box reaches out of the image",
            Self::MissingUtterance => "utterance missing",
            Self::TextOnly => "conversation without an image",
            Self::UndrawnPhrase => "phrase without a drawn box",
            Self::BrokenImage => "broken image",
            Self::SharedImage => "image of training and evaluation",
        }
    }

    /// One word for programs, as `pixelllm data check --json` gives it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::BrokenJson => "broken_json",
            Self::BrokenRecord => "broken_record",
            Self::Duplicate => "duplicate",
            Self::UnsafePath => "unsafe_path",
            Self::MissingImage => "missing_image",
            Self::NoPixels => "no_pixels",
            Self::UnknownImage => "unknown_image",
            Self::UnknownCategory => "unknown_category",
            Self::NoWords => "no_words",
            Self::BrokenBox => "broken_box",
            Self::EmptyBox => "empty_box",
            Self::BoxOutside | Self::ClippedBox => "box_out_of_bounds",
            Self::NoBox => "no_box",
            Self::EmptyTrace => "empty_trace",
            Self::BackwardTimes => "backward_times",
            Self::NoUtterance => "no_utterance",
            Self::Crowd => "crowd",
            Self::BrokenMask => "broken_mask",
            Self::BrokenFile => "broken_file",
            Self::WrongChecksum => "wrong_checksum",
            Self::AbsurdSize => "absurd_size",
            Self::MissingUtterance => "missing_utterance",
            Self::TextOnly => "text_only",
            Self::UndrawnPhrase => "undrawn_phrase",
            Self::BrokenImage => "broken_image",
            Self::SharedImage => "shared_image",
        }
    }

    /// Whether something is wrong with the record. The others are sound, and of no use to us.
    pub fn is_fault(self) -> bool {
        !matches!(self, Self::Crowd | Self::TextOnly | Self::UndrawnPhrase)
    }
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Fault {
    pub(in super::super) reason: Reason,
    /// The particulars.
    pub(in super::super) message: String,
}

impl Fault {
    pub(in super::super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

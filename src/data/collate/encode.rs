//! A sample → its image, or the features of it, and its rows as ids and places.

use rand_chacha::ChaCha8Rng;

use super::choice::{Choice, choose};
use super::{Collator, Pick};
use crate::data::augmentation::FlipTexts;
use crate::data::directions::{mirrored_row, mirrored_text, says_side};
use crate::data::feature_cache::CachedFeatures;
use crate::data::image_file::open_rgb;
use crate::data::placement::Placement;
use crate::data::sample::{Row, Task};
use crate::data::source::{AnswerForm, Source, fill_prompt};
use crate::data::tokenizer::Encoded;
use crate::data::transform::{Canvas, canvas_side, load_canvas_with, place};
use crate::error::{Error, Result};
use crate::geometry::mask::Mask;
use crate::geometry::polyline::resample;
use crate::geometry::{BoundingBox, Point};

/// One image with its chosen rows.
pub(super) struct Item {
    pub(super) picture: Picture,
    pub(super) rows: Vec<EncodedRow>,
}

/// What there is of an image.
pub(super) enum Picture {
    /// Pixels.
    Canvas(Canvas),
    /// What frozen encoders make of it.
    Features(CachedFeatures),
}

/// One row as ids.
pub(super) struct EncodedRow {
    pub(super) text: Encoded,
    pub(super) context: Vec<i64>,
    /// Per token of the text, normalised to the image.
    pub(super) places: Vec<Option<BoundingBox>>,
    /// Normalised to the image.
    pub(super) prompt: BoundingBox,
    /// On the image as it is on the canvas, whatever its size.
    pub(super) mask: Option<Mask>,
    /// What is asked about in place of the box, normalised to the image; empty for nothing.
    pub(super) trace: Vec<Point>,
}

impl Picture {
    /// Un-padded width and height in pixels of the canvas.
    pub(super) fn size(&self) -> [u32; 2] {
        let (width, height) = match self {
            Self::Canvas(canvas) => (canvas.width, canvas.height),
            Self::Features(features) => features.size(),
        };
        [width, height]
    }
}

impl Collator {
    /// A sample as `choice` has it.
    pub(super) fn item(&self, pick: &Pick<'_>, choice: Choice) -> Result<Item> {
        let chosen = match choice {
            Choice::Rows(chosen) => chosen,
            Choice::Augmented(rng) => return self.augmented(pick, *rng),
        };
        let Pick { source, sample } = *pick;
        let path = source.samples.image(sample);
        let picture = match &self.features {
            Some(features) => Picture::Features(features.get(&path, source.config.decoding)?),
            None => {
                let decoding = &source.config.decoding;
                Picture::Canvas(load_canvas_with(path.as_ref(), self.canvas_px, decoding)?)
            }
        };
        let rows = chosen
            .into_iter()
            .map(|row| {
                self.encoded(source, &*source.samples.row(sample, row)?, &source.config.prompt)
            })
            .collect::<Result<_>>()?;
        Ok(Item { picture, rows })
    }

    /// A sample that is changed at random. Everything about a row goes through the same placement, and a
    /// row that is left out takes its text, its prompt and its box with it.
    fn augmented(&self, pick: &Pick<'_>, mut rng: ChaCha8Rng) -> Result<Item> {
        let Pick { source, sample } = *pick;
        let (samples, config) = (&source.samples, &source.config.augmentation);
        let image = open_rgb(samples.image(sample).as_ref(), &source.config.decoding)?;
        let side = canvas_side(&image, self.canvas_px)?;
        let shown = |placement: &Placement| -> Vec<usize> {
            let is_shown = |row: &usize| {
                let region = samples.region(sample, *row);
                region.is_none_or(|region| config.shows(placement, region))
            };
            (0..samples.num_rows(sample)).filter(is_shown).collect()
        };
        let mut placement =
            config.place(image.dimensions(), side, &mut rng, |place| !shown(place).is_empty());
        let shown = shown(&placement);
        let chosen = choose(shown.len(), source.config.rows_per_image, &mut rng);
        let rows: Result<Vec<_>> =
            chosen.into_iter().map(|at| samples.row(sample, shown[at])).collect();
        let rows = rows?;
        let says_side =
            || says_side(&source.config.prompt) || rows.iter().any(|row| mentions_side(row));
        let flips = config.flips(&mut rng);
        if flips && (config.flip_texts == FlipTexts::Swap || !says_side()) {
            placement = placement.flipped();
        }
        let rows = rows.iter().map(|row| {
            let mirrored = placement.is_flipped().then(|| mirrored_row(row));
            self.row_at(source, mirrored.as_ref().unwrap_or(row), &placement)
        });
        let rows = rows.collect::<Result<_>>()?;
        let mut canvas = place(&image, self.canvas_px, &placement)?;
        config.light(&mut canvas, &mut rng);
        Ok(Item { picture: Picture::Canvas(canvas), rows })
    }

    /// A row as it is seen through `placement`.
    fn row_at(&self, source: &Source, row: &Row, placement: &Placement) -> Result<EncodedRow> {
        let prompt = match placement.is_flipped() {
            true => mirrored_text(&source.config.prompt),
            false => source.config.prompt.clone(),
        };
        let mut encoded = self.encoded(source, row, &prompt)?;
        for place in &mut encoded.places {
            *place = place.and_then(|bounds| placement.bounds(bounds));
        }
        if let Some(region) = row.region {
            // Rows of which nothing is seen have been left out.
            let seen = placement.bounds(region).unwrap_or(BoundingBox::UNIT);
            if source.task().captions_regions() {
                encoded.prompt = seen;
            }
            if source.config.writes_boxes() {
                encoded.text = self.tokenizer.encode_box(seen)?;
            }
        }
        for point in &mut encoded.trace {
            *point = placement.nearest(*point);
        }
        if let Some(mask) = &mut encoded.mask {
            *mask = placement.mask(mask).map_err(|problem| Error::Compute {
                problem: format!("a mask cannot be placed on the canvas: {problem}"),
                help: "Report this as a bug.".into(),
            })?;
        }
        Ok(encoded)
    }

    /// A row as it is; `prompt`: the instruction, with its placeholder.
    fn encoded(&self, source: &Source, row: &Row, prompt: &str) -> Result<EncodedRow> {
        let config = &source.config;
        let prompt = fill_prompt(prompt, row);
        let context = if prompt.is_empty() {
            Vec::new()
        } else {
            self.tokenizer.encode_context(&prompt, config.max_context_tokens)?
        };
        let whole = BoundingBox::UNIT;
        let region = row.region.unwrap_or(whole);
        let text = match config.answer {
            AnswerForm::Points => self.tokenizer.encode(&row.text, config.max_text_tokens)?,
            AnswerForm::Text => self.tokenizer.encode_box(region)?,
        };
        let places = match source.task() {
            Task::Narrate => self.alignment.align(&row.locations, &text.offsets),
            // The same place at every token: the loss selects the one that answers.
            Task::Locate if config.has_places() => vec![Some(region); text.ids.len()],
            Task::Locate | Task::Describe | Task::Detect => vec![None; text.ids.len()],
        };
        let prompt = if source.task().captions_regions() { region } else { whole };
        let trace = match source.task() == Task::Describe {
            true => resample(&row.trace().collect::<Vec<_>>(), self.trace_points),
            false => Vec::new(),
        };
        Ok(EncodedRow { text, context, places, prompt, mask: row.mask.clone(), trace })
    }
}

/// Whether a text, or what it answers, says left or right.
fn mentions_side(row: &Row) -> bool {
    says_side(&row.text) || row.question.as_deref().is_some_and(says_side)
}

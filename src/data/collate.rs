//! Samples → [`HostBatch`]: images onto the canvas, texts to ids, places to tokens.

use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::alignment::Alignment;
use super::batch::{BatchDims, HostBatch};
use super::masks::HostMasks;
use super::sample::{Row, Sample, Task};
use super::source::Source;
use super::tokenizer::{Encoded, Tokenizer};
use super::transform::{Canvas, load_canvas};
use crate::error::{Error, Result};
use crate::geometry::mask::Mask;
use crate::geometry::polyline::resample;
use crate::geometry::{BoundingBox, Point};

/// What samples become batches with.
#[derive(Debug, Clone)]
pub struct Collator {
    /// Texts to ids.
    pub tokenizer: Tokenizer,
    /// How words find their places.
    pub alignment: Alignment,
    /// Side of the canvas, in pixels.
    pub canvas_px: usize,
    /// Points that a trace is told by; 0 tells it by its box.
    pub trace_points: usize,
}

/// How many rows of a sample, and which.
#[derive(Debug)]
pub enum RowChoice<'a> {
    /// `rows_per_image` of them, drawn at random.
    Random(&'a mut ChaCha8Rng),
    /// The first of them.
    First(usize),
}

/// One image with its chosen rows.
struct Item {
    canvas: Canvas,
    rows: Vec<EncodedRow>,
}

/// One row as ids.
struct EncodedRow {
    text: Encoded,
    context: Vec<i64>,
    /// Per token of the text, normalised to the image.
    places: Vec<Option<BoundingBox>>,
    /// Normalised to the image.
    prompt: BoundingBox,
    /// What is asked about in place of the box, normalised to the image; empty for nothing.
    trace: Vec<Point>,
    /// On the image as it was.
    mask: Option<Mask>,
}

impl Collator {
    /// Makes a batch of the samples at `indices`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where an image cannot be read.
    pub fn collate(
        &self,
        source: &Source,
        indices: &[usize],
        mut choice: RowChoice<'_>,
    ) -> Result<HostBatch> {
        let items: Result<Vec<Item>> = indices
            .iter()
            .map(|&index| self.item(source, &source.samples[index], &mut choice))
            .collect();
        let items = items?;
        if items.is_empty() {
            return Err(Error::Compute {
                problem: "a batch of no images was asked for".into(),
                help: "Set training.batch_size to at least 1.".into(),
            });
        }
        // Drawn last, so that rows are the same with it and without.
        let seed = match &mut choice {
            RowChoice::Random(rng) => rng.random(),
            RowChoice::First(_) => 0,
        };
        Ok(HostBatch { seed, ..self.stack(source, &items) })
    }

    fn item(&self, source: &Source, sample: &Sample, choice: &mut RowChoice<'_>) -> Result<Item> {
        let canvas = load_canvas(&sample.image, self.canvas_px)?;
        let total = sample.rows.len();
        let chosen: Vec<usize> = match choice {
            RowChoice::Random(rng) => choose(total, source.config.rows_per_image, rng),
            RowChoice::First(count) => (0..total.min(*count)).collect(),
        };
        let rows: Result<_> =
            chosen.iter().map(|&row| self.row(source, &sample.rows[row])).collect();
        Ok(Item { canvas, rows: rows? })
    }

    fn row(&self, source: &Source, row: &Row) -> Result<EncodedRow> {
        let config = &source.config;
        let text = self.tokenizer.encode(&row.text, config.max_text_tokens)?;
        let prompt = source.prompt_for(row);
        let context = if prompt.is_empty() {
            Vec::new()
        } else {
            self.tokenizer.encode_context(&prompt, config.max_context_tokens)?
        };
        let whole = BoundingBox::UNIT;
        let region = row.region.unwrap_or(whole);
        let places = match source.task() {
            Task::Narrate => self.alignment.align(&row.locations, &text.offsets),
            // The same place at every token: the loss selects the one that answers.
            Task::Locate => vec![Some(region); text.ids.len()],
            Task::Describe | Task::Detect => vec![None; text.ids.len()],
        };
        let prompt = if source.task().captions_regions() { region } else { whole };
        let trace = match source.task() == Task::Describe {
            true => resample(&row.trace().collect::<Vec<_>>(), self.trace_points),
            false => Vec::new(),
        };
        let mask = row.mask.clone();
        Ok(EncodedRow { text, context, places, prompt, trace, mask })
    }

    fn stack(&self, source: &Source, items: &[Item]) -> HostBatch {
        let longest = |length: fn(&EncodedRow) -> usize| {
            items.iter().flat_map(|item| &item.rows).map(length).max().unwrap_or(0)
        };
        let rows = items.iter().map(|item| item.rows.len()).max().unwrap_or(0).max(1);
        let text_tokens = match source.config.masks {
            // The mask branch reads the padding, too: there must always be the same of it.
            true => source.config.max_text_tokens,
            false => longest(|row| row.text.ids.len()),
        };
        let dims = BatchDims {
            images: items.len(),
            canvas_px: self.canvas_px,
            rows,
            prompts: if source.shares_prompt() { 1 } else { rows },
            text_tokens: text_tokens.max(2),
            context_tokens: longest(|row| row.context.len()),
        };
        let pad = self.tokenizer.vocabulary().pad;
        let mut batch = HostBatch {
            task: source.task(),
            dims,
            images: Vec::with_capacity(dims.images * 3 * self.canvas_px * self.canvas_px),
            sizes: Vec::with_capacity(dims.images * 2),
            prompt_boxes: Vec::with_capacity(dims.images * dims.prompts * 4),
            prompt_traces: Vec::new(),
            context: Vec::with_capacity(dims.images * dims.prompts * dims.context_tokens),
            text: Vec::with_capacity(dims.images * rows * dims.text_tokens),
            row_valid: Vec::with_capacity(dims.images * rows),
            points: Vec::with_capacity(dims.images * rows * dims.text_tokens * 4),
            seed: 0,
            masks: source.config.masks.then(|| HostMasks::with_capacity(&dims)),
        };
        // Of a source, all prompts are traces or none is.
        let trace_points = longest(|row| row.trace.len());
        for item in items {
            push_image(&mut batch, &item.canvas);
            for row in 0..dims.prompts {
                push_prompt(&mut batch, item, row, pad);
                push_trace(&mut batch, item, row, trace_points);
            }
            for row in 0..rows {
                push_text(&mut batch, item.rows.get(row), pad);
                if let Some(masks) = &mut batch.masks {
                    let mask = item.rows.get(row).and_then(|row| row.mask.as_ref());
                    masks.push(mask, &item.canvas, self.canvas_px);
                }
            }
        }
        batch
    }
}

/// `count` of `total` rows at random, in their order; all where there are fewer.
fn choose(total: usize, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = index::sample(rng, total, count.min(total)).into_vec();
    chosen.sort_unstable();
    chosen
}

fn push_image(batch: &mut HostBatch, canvas: &Canvas) {
    batch.images.extend(planes(canvas));
    batch.sizes.extend([canvas.width as f32, canvas.height as f32]);
}

/// Interleaved bytes → planes, `[3, S, S]`, 0–255.
pub(crate) fn planes(canvas: &Canvas) -> impl Iterator<Item = f32> {
    let plane = |channel| canvas.pixels.iter().skip(channel).step_by(3);
    (0..3).flat_map(plane).map(|&value| f32::from(value))
}

/// The prompt of a filler is that of the whole image.
fn push_prompt(batch: &mut HostBatch, item: &Item, row: usize, pad: i64) {
    let row = item.rows.get(row);
    let prompt = match row {
        Some(row) if row.trace.is_empty() => row.prompt,
        Some(_) => BoundingBox::new(0.0, 0.0, 0.0, 0.0),
        None => BoundingBox::UNIT,
    };
    let prompt = prompt.scale(item.canvas.width as f32, item.canvas.height as f32);
    batch.prompt_boxes.extend(prompt.to_array());
    let context = row.map_or(&[][..], |row| &row.context);
    batch.context.extend(context);
    batch.context.extend(std::iter::repeat_n(pad, batch.dims.context_tokens - context.len()));
}

/// A filler is drawn along the image's top-left corner.
fn push_trace(batch: &mut HostBatch, item: &Item, row: usize, trace_points: usize) {
    let trace = item.rows.get(row).map_or(&[][..], |row| &row.trace);
    let (width, height) = (item.canvas.width as f32, item.canvas.height as f32);
    let points = trace.iter().flat_map(|point| [point.x * width, point.y * height]);
    batch.prompt_traces.extend(points);
    batch.prompt_traces.extend(std::iter::repeat_n(0.0, (trace_points - trace.len()) * 2));
}

/// A filler is nothing but padding.
fn push_text(batch: &mut HostBatch, row: Option<&EncodedRow>, pad: i64) {
    batch.row_valid.push(f32::from(u8::from(row.is_some())));
    let (ids, places) = row.map_or((&[][..], &[][..]), |row| (&row.text.ids, &row.places));
    let fill = batch.dims.text_tokens - ids.len();
    batch.text.extend(ids);
    batch.text.extend(std::iter::repeat_n(pad, fill));
    for place in places {
        batch.points.extend(place.map_or([0.0; 4], BoundingBox::to_array));
    }
    batch.points.extend(std::iter::repeat_n(0.0, fill * 4));
}

//! Samples → [`HostBatch`]: images onto the canvas, texts to ids, places to tokens.

use std::sync::Arc;

use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::alignment::Alignment;
use super::augmentation::FlipTexts;
use super::batch::{BatchDims, HostBatch, HostFeatures};
use super::directions::{mirrored_row, mirrored_text, says_side};
use super::feature_cache::{CachedFeatures, FeatureCache};
use super::image_file::open_rgb;
use super::masks::HostMasks;
use super::placement::Placement;
use super::sample::{Row, Task};
use super::source::{Source, fill_prompt};
use super::tokenizer::{Encoded, Tokenizer};
use super::transform::{Canvas, canvas_side, load_canvas_with, place};
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
    /// Features to take instead of pixels, where there are any.
    pub features: Option<Arc<FeatureCache>>,
    /// Threads that samples are read on; the caller's own without.
    workers: Option<Arc<ThreadPool>>,
}

/// How many rows of a sample, and which.
#[derive(Debug)]
pub enum RowChoice<'a> {
    /// For training: `rows_per_image` of them, drawn at random.
    Random {
        /// What draws the rows of the samples that are not changed at random.
        rows: &'a mut ChaCha8Rng,
        /// What draws everything else about each sample.
        samples: &'a [ChaCha8Rng],
    },
    /// The first of them.
    First(usize),
}

/// A sample of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// Where it is from.
    pub source: &'a Source,
    /// Its place there.
    pub sample: usize,
}

/// What is to be done with a sample.
enum Choice {
    /// These rows, of the image as it is.
    Rows(Vec<usize>),
    /// What is drawn with these numbers.
    Augmented(Box<ChaCha8Rng>),
}

/// One image with its chosen rows.
struct Item {
    picture: Picture,
    rows: Vec<EncodedRow>,
}

/// What there is of an image.
enum Picture {
    /// Pixels.
    Canvas(Canvas),
    /// What frozen encoders make of it.
    Features(CachedFeatures),
}

/// One row as ids.
struct EncodedRow {
    text: Encoded,
    context: Vec<i64>,
    /// Per token of the text, normalised to the image.
    places: Vec<Option<BoundingBox>>,
    /// Normalised to the image.
    prompt: BoundingBox,
    /// On the image as it is on the canvas, whatever its size.
    mask: Option<Mask>,
    /// What is asked about in place of the box, normalised to the image; empty for nothing.
    trace: Vec<Point>,
}

impl Collator {
    /// Reads samples on the thread that asks for a batch, and tells traces by their boxes.
    pub fn new(tokenizer: Tokenizer, alignment: Alignment, canvas_px: usize) -> Self {
        Self { tokenizer, alignment, canvas_px, trace_points: 0, features: None, workers: None }
    }

    /// The same with `count` threads that read samples; one per core where that is `None`.
    ///
    /// # Errors
    /// [`Error::Compute`] where they cannot be started.
    pub fn with_workers(self, count: Option<usize>) -> Result<Self> {
        let builder = ThreadPoolBuilder::new().thread_name(|index| format!("data-{index}"));
        let pool = builder.num_threads(count.unwrap_or(0)).build();
        let workers = Some(Arc::new(pool.map_err(|error| Error::Compute {
            problem: format!("cannot start the threads that read data: {error}"),
            help: "Set data.workers to a smaller number.".into(),
        })?));
        Ok(Self { workers, ..self })
    }

    /// Makes a batch of the samples of `source` at `indices`.
    ///
    /// # Errors
    /// As [`Self::collate_mixed`].
    pub fn collate(
        &self,
        source: &Source,
        indices: &[usize],
        choice: RowChoice<'_>,
    ) -> Result<HostBatch> {
        let picks: Vec<_> = indices.iter().map(|&sample| Pick { source, sample }).collect();
        self.collate_mixed(&picks, choice)
    }

    /// Makes a batch of samples of one task, in their order.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where an image or a text cannot be read, for the first such
    /// sample; [`Error::Compute`] without a sample.
    pub fn collate_mixed(&self, picks: &[Pick<'_>], choice: RowChoice<'_>) -> Result<HostBatch> {
        if picks.is_empty() {
            return Err(Error::Compute {
                problem: "a batch of no images was asked for".into(),
                help: "Set training.batch_size to at least 1.".into(),
            });
        }
        let (choices, seed) = choices(picks, choice);
        let make = || {
            let items: Vec<Result<Item>> = picks
                .par_iter()
                .zip(choices)
                .map(|(pick, choice)| self.item(pick, choice))
                .collect();
            let items = items.into_iter().collect::<Result<Vec<Item>>>()?;
            Ok(HostBatch { seed, ..self.stack(picks, &items) })
        };
        match &self.workers {
            Some(workers) => workers.install(make),
            None => make(),
        }
    }

    fn item(&self, pick: &Pick<'_>, choice: Choice) -> Result<Item> {
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
            .map(|row| self.row(source, &*source.samples.row(sample, row)?))
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
            let row = self.row_at(source, mirrored.as_ref().unwrap_or(row), &placement)?;
            Ok(row)
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
        if source.task().captions_regions() && row.region.is_some() {
            // Rows of which nothing is seen have been left out.
            encoded.prompt = placement.bounds(encoded.prompt).unwrap_or(BoundingBox::UNIT);
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

    fn row(&self, source: &Source, row: &Row) -> Result<EncodedRow> {
        self.encoded(source, row, &source.config.prompt)
    }

    /// `prompt`: the instruction, with its placeholder.
    fn encoded(&self, source: &Source, row: &Row, prompt: &str) -> Result<EncodedRow> {
        let config = &source.config;
        let text = self.tokenizer.encode(&row.text, config.max_text_tokens)?;
        let prompt = fill_prompt(prompt, row);
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
        Ok(EncodedRow { text, context, places, prompt, mask: row.mask.clone(), trace })
    }

    fn stack(&self, picks: &[Pick<'_>], items: &[Item]) -> HostBatch {
        let longest = |length: fn(&EncodedRow) -> usize| {
            items.iter().flat_map(|item| &item.rows).map(length).max().unwrap_or(0)
        };
        let rows = items.iter().map(|item| item.rows.len()).max().unwrap_or(0).max(1);
        let shares_prompt = picks.iter().all(|pick| pick.source.shares_prompt());
        let has_masks = picks.iter().any(|pick| pick.source.config.masks);
        let text_tokens = match has_masks {
            // The mask branch reads the padding, too: there must always be the same of it.
            true => picks.iter().map(|pick| pick.source.config.max_text_tokens).max().unwrap_or(0),
            false => longest(|row| row.text.ids.len()),
        };
        let dims = BatchDims {
            images: items.len(),
            canvas_px: self.canvas_px,
            rows,
            prompts: if shares_prompt { 1 } else { rows },
            text_tokens: text_tokens.max(2),
            context_tokens: longest(|row| row.context.len()),
        };
        let pad = self.tokenizer.vocabulary().pad;
        let mut batch = HostBatch {
            task: picks.first().map_or(Task::Narrate, |pick| pick.source.task()),
            dims,
            images: images(items, self.canvas_px),
            features: HostFeatures::stack(items.iter().filter_map(|item| match &item.picture {
                Picture::Features(features) => Some(features),
                Picture::Canvas(_) => None,
            })),
            sizes: Vec::with_capacity(dims.images * 2),
            prompt_boxes: Vec::with_capacity(dims.images * dims.prompts * 4),
            prompt_traces: Vec::new(),
            context: Vec::with_capacity(dims.images * dims.prompts * dims.context_tokens),
            text: Vec::with_capacity(dims.images * rows * dims.text_tokens),
            row_valid: Vec::with_capacity(dims.images * rows),
            points: Vec::with_capacity(dims.images * rows * dims.text_tokens * 4),
            seed: 0,
            masks: has_masks.then(|| HostMasks::with_capacity(&dims)),
        };
        let trace_points = longest(|row| row.trace.len());
        for item in items {
            batch.sizes.extend(item.picture.size().map(|side| side as f32));
            for row in 0..dims.prompts {
                push_prompt(&mut batch, item, row, pad);
                push_trace(&mut batch, item, row, trace_points);
            }
            for row in 0..rows {
                push_text(&mut batch, item.rows.get(row), pad);
                if let Some(masks) = &mut batch.masks {
                    let mask = item.rows.get(row).and_then(|row| row.mask.as_ref());
                    masks.push(mask, item.picture.size(), self.canvas_px);
                }
            }
        }
        batch
    }
}

impl Picture {
    /// Un-padded width and height in pixels of the canvas.
    fn size(&self) -> [u32; 2] {
        let (width, height) = match self {
            Self::Canvas(canvas) => (canvas.width, canvas.height),
            Self::Features(features) => features.size(),
        };
        [width, height]
    }
}

/// Whether a text, or what it answers, says left or right.
fn mentions_side(row: &Row) -> bool {
    says_side(&row.text) || row.question.as_deref().is_some_and(says_side)
}

/// What is drawn for each sample by the numbers of the batch, in the order of the samples; and the seed
/// of the batch, drawn last, so that rows are the same with it and without.
fn choices(picks: &[Pick<'_>], choice: RowChoice<'_>) -> (Vec<Choice>, u64) {
    let total = |pick: &Pick<'_>| pick.source.samples.num_rows(pick.sample);
    match choice {
        RowChoice::First(count) => {
            let choose = |pick| Choice::Rows((0..total(pick).min(count)).collect());
            (picks.iter().map(choose).collect(), 0)
        }
        RowChoice::Random { rows, samples } => {
            let mut choose = |(pick, rng): (&Pick<'_>, Option<&ChaCha8Rng>)| match rng {
                Some(rng) if !pick.source.config.augmentation.is_off() => {
                    Choice::Augmented(Box::new(rng.clone()))
                }
                _ => Choice::Rows(choose(total(pick), pick.source.config.rows_per_image, rows)),
            };
            let samples = samples.iter().map(Some).chain(std::iter::repeat(None));
            let choices = picks.iter().zip(samples).map(&mut choose).collect();
            (choices, rows.random())
        }
    }
}

/// `count` of `total` rows at random, in their order; all where there are fewer.
fn choose(total: usize, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = index::sample(rng, total, count.min(total)).into_vec();
    chosen.sort_unstable();
    chosen
}

/// `[B, 3, S, S]`; empty where there are features instead.
fn images(items: &[Item], canvas_px: usize) -> Vec<f32> {
    let canvases: Vec<_> = items
        .iter()
        .filter_map(|item| match &item.picture {
            Picture::Canvas(canvas) => Some(canvas),
            Picture::Features(_) => None,
        })
        .collect();
    let size = 3 * canvas_px * canvas_px;
    let mut images = vec![0.0; canvases.len() * size];
    let targets = images.par_chunks_mut(size.max(1));
    targets.zip(canvases).for_each(|(planes, canvas)| write_planes(canvas, planes));
    images
}

/// Interleaved bytes → planes, `[3, S, S]`, 0–255.
pub(crate) fn planes(canvas: &Canvas) -> Vec<f32> {
    let mut planes = vec![0.0; canvas.pixels.len()];
    write_planes(canvas, &mut planes);
    planes
}

/// As [`planes`], to a place that is there.
fn write_planes(canvas: &Canvas, planes: &mut [f32]) {
    let (pixels, _) = canvas.pixels.as_chunks::<3>();
    let (red, rest) = planes.split_at_mut(pixels.len());
    let (green, blue) = rest.split_at_mut(pixels.len());
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        let [r, g, b] = pixel.map(f32::from);
        (*red, *green, *blue) = (r, g, b);
    }
}

/// The prompt of a filler is that of the whole image.
fn push_prompt(batch: &mut HostBatch, item: &Item, row: usize, pad: i64) {
    let row = item.rows.get(row);
    let prompt = match row {
        Some(row) if row.trace.is_empty() => row.prompt,
        Some(_) => BoundingBox::new(0.0, 0.0, 0.0, 0.0),
        None => BoundingBox::UNIT,
    };
    let [width, height] = item.picture.size().map(|side| side as f32);
    let prompt = prompt.scale(width, height);
    batch.prompt_boxes.extend(prompt.to_array());
    let context = row.map_or(&[][..], |row| &row.context);
    batch.context.extend(context);
    batch.context.extend(std::iter::repeat_n(pad, batch.dims.context_tokens - context.len()));
}

/// Nothing but padding where the prompt is a box.
fn push_trace(batch: &mut HostBatch, item: &Item, row: usize, trace_points: usize) {
    let trace = item.rows.get(row).map_or(&[][..], |row| &row.trace);
    let [width, height] = item.picture.size().map(|side| side as f32);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

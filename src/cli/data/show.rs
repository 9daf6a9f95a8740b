//! `pixelllm data show`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use image::RgbImage;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::output::say;
use super::annotations::{Annotations, Asked, OneFile, TaskArgument};
use crate::data::alignment::Alignment;
use crate::data::batch::HostBatch;
use crate::data::collate::{Collator, RowChoice};
use crate::data::formats;
use crate::data::sample::Task;
use crate::data::source::{AnswerForm, Source, SourceConfig};
use crate::data::tokenizer::{COORDINATES, Tokenizer};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::model::prompt::location::LocationConfig;
use crate::report::overlay;
use crate::tasks::{Description, LocatedWord, Location, Narration};
use crate::training::sources;

/// Vocabulary of a tokenizer that is trained on one file, in ids, at most: BERT's.
const VOCABULARY: usize = 30_522;

/// Where a word without a place is: what is not a number is not drawn.
const NOWHERE: BoundingBox = BoundingBox::new(f32::NAN, f32::NAN, f32::NAN, f32::NAN);

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    annotations: Annotations,
    #[command(flatten)]
    task: TaskArgument,
    /// Folder to draw in
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Images of each source, evenly spaced over it
    #[arg(long, value_name = "N", default_value_t = 4)]
    samples: usize,
    /// Seed of which texts of an image are drawn where it has more than `rows_per_image`
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Of one file: the tokenizer [default: one trained on the texts of the file]
    #[arg(long, value_name = "FILE", requires = "format")]
    tokenizer: Option<PathBuf>,
    /// Of one file: side of the canvas, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 384, requires = "format")]
    canvas_px: usize,
}

impl Show {
    pub(super) fn run(self) -> Result<ExitCode> {
        fs::create_dir_all(&self.out).map_err(Error::io("create", &self.out))?;
        let (sources, collator) = match self.annotations.ask()? {
            Asked::File(file) => one_file(&file, &self.task, self.tokenizer, self.canvas_px)?,
            Asked::Experiment(experiment, split) => {
                let data = &experiment.data;
                let train = sources::load_split(data, &data.splits.train)?;
                let tokenizer = sources::tokenizer(&experiment, &train)?;
                let shown = match split {
                    Some(split) => sources::load_split(data, &split)?,
                    None => train,
                };
                (shown, sources::collator(&experiment, tokenizer)?)
            }
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        for (number, source) in sources.iter().enumerate() {
            let total = source.samples.len();
            let count = self.samples.min(total);
            for index in (0..count).map(|k| k * total / count) {
                let (rows, samples) = (&mut rng.clone(), [rng.clone()]);
                let choice = RowChoice::Random { rows, samples: &samples };
                let batch = collator.collate(source, &[index], choice)?;
                // Another image, other numbers.
                let _: u64 = rng.random();
                let seen = Seen { source, index, batch: &batch, tokenizer: &collator.tokenizer };
                seen.show(&self.out, number)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The source that one file is, and what it becomes batches with.
fn one_file(
    file: &OneFile,
    task: &TaskArgument,
    tokenizer: Option<PathBuf>,
    canvas_px: usize,
) -> Result<(Vec<Source>, Collator)> {
    let request = file.request();
    let task = task.or_usual(file.format, &request)?;
    let loaded = formats::read(file.format, task, &request)?;
    let path = |path: &Path| path.display().to_string();
    let config = SourceConfig {
        rows_per_image: 4,
        ..SourceConfig::new(task, file.format, path(&file.annotations), path(&file.images))
    };
    let source = Source { config, samples: loaded.samples.into(), skipped: loaded.skipped };
    let tokenizer = match tokenizer {
        Some(file) => Tokenizer::from_file(file)?,
        None => Tokenizer::train(source.texts().collect::<Result<Vec<_>>>()?, VOCABULARY)?,
    };
    let mut collator = Collator::new(tokenizer, Alignment::default(), canvas_px);
    collator.trace_points = LocationConfig::default().trace_points;
    Ok((vec![source], collator))
}

/// An image with its rows, as the model sees it.
struct Seen<'a> {
    source: &'a Source,
    index: usize,
    /// Of this image alone.
    batch: &'a HostBatch,
    tokenizer: &'a Tokenizer,
}

impl Seen<'_> {
    /// Draws every row and prints its tokens. `number`: which of the sources it is of.
    fn show(&self, folder: &Path, number: usize) -> Result<()> {
        let image = self.source.samples.image(self.index);
        let canvas = self.canvas()?;
        let task = self.source.task();
        for row in (0..self.batch.dims.rows).filter(|row| self.batch.row_valid[*row] > 0.0) {
            let name = format!("{number}-{}-{:05}-{row}.png", task.name(), self.index);
            let path = folder.join(name);
            let picture = self.picture(&canvas, row)?;
            picture.save(&path).map_err(|error| Error::Compute {
                problem: format!("cannot write {}: {error}", path.display()),
                help: "Choose another folder.".into(),
            })?;
            say(format_args!("{}: {image}", path.display()));
            self.print_tokens(row);
        }
        Ok(())
    }

    /// The canvas with its padding, `S × S`.
    fn canvas(&self) -> Result<RgbImage> {
        let side = self.batch.dims.canvas_px;
        let plane = side * side;
        let pixels = (0..plane).flat_map(|at| (0..3).map(move |channel| channel * plane + at));
        // Whole numbers from 0 to 255.
        let bytes = pixels.map(|at| self.batch.images[at] as u8).collect();
        RgbImage::from_raw(side as u32, side as u32, bytes).ok_or_else(|| Error::Compute {
            problem: "the canvas has another size than its batch says".into(),
            help: "Report this as a bug.".into(),
        })
    }

    /// What is known of a row drawn on the canvas, by the task.
    fn picture(&self, canvas: &RgbImage, row: usize) -> Result<RgbImage> {
        let (ids, places) = (self.ids(row), self.places(row));
        let caption = self.tokenizer.decode(ids);
        match self.source.task() {
            Task::Narrate => {
                let word = |(&id, place): (&i64, &Option<BoundingBox>)| {
                    let text = self.tokenizer.decode(&[id]);
                    let bounds = place.unwrap_or(NOWHERE);
                    (!text.is_empty()).then(|| LocatedWord::new(text, bounds, 0.0))
                };
                let words = ids.iter().zip(&places).filter_map(word).collect();
                let (tokens, token_log_probs) = (Vec::new(), Vec::new());
                let said = Narration { caption, words, tokens, token_log_probs, score: 0.0 };
                overlay::narration(canvas, &said)
            }
            Task::Describe | Task::Detect => {
                let region = self.prompt(row);
                let said = Description {
                    region,
                    caption,
                    words: Vec::new(),
                    tokens: Vec::new(),
                    token_log_probs: Vec::new(),
                    score: 0.0,
                };
                overlay::description(canvas, &said)
            }
            Task::Locate => {
                let bounds = match self.batch.answer {
                    AnswerForm::Points => places.iter().flatten().next_back().copied(),
                    // Behind begin.
                    AnswerForm::Text => {
                        self.tokenizer.decode_box(ids.get(1..=COORDINATES).unwrap_or_default())
                    }
                };
                let bounds = bounds.unwrap_or(BoundingBox::UNIT);
                let location = Location::new(caption, bounds);
                overlay::location(canvas, &location, None)
            }
        }
    }

    /// Ids of a row, padding included.
    fn ids(&self, row: usize) -> &[i64] {
        let length = self.batch.dims.text_tokens;
        &self.batch.text[row * length..(row + 1) * length]
    }

    /// The place of each token, normalised to the canvas; a place without an area is none.
    fn places(&self, row: usize) -> Vec<Option<BoundingBox>> {
        let length = self.batch.dims.text_tokens;
        let points = &self.batch.points[row * length * 4..(row + 1) * length * 4];
        let place = |&[x0, y0, x1, y1]: &[f32; 4]| {
            let has_place = [x0, y0, x1, y1] != [0.0; 4];
            has_place.then(|| self.on_canvas(BoundingBox::new(x0, y0, x1, y1)))
        };
        points.as_chunks::<4>().0.iter().map(place).collect()
    }

    /// A box normalised to the un-padded image, normalised to the canvas.
    fn on_canvas(&self, bounds: BoundingBox) -> BoundingBox {
        let side = self.batch.dims.canvas_px as f32;
        bounds.scale(self.batch.sizes[0] / side, self.batch.sizes[1] / side)
    }

    /// Which prompt a row has: its own, or that of all rows.
    fn prompt_of(&self, row: usize) -> usize {
        if self.batch.dims.prompts == 1 { 0 } else { row }
    }

    /// The prompt of a row, normalised to the canvas.
    fn prompt(&self, row: usize) -> BoundingBox {
        let prompt = self.prompt_of(row);
        let corners = &self.batch.prompt_boxes[prompt * 4..(prompt + 1) * 4];
        let side = self.batch.dims.canvas_px as f32;
        let &[x0, y0, x1, y1] = corners else { return BoundingBox::UNIT };
        BoundingBox::new(x0, y0, x1, y1).scale(1.0 / side, 1.0 / side)
    }

    /// The instruction, and a line of tokens with their ids and the corners of their places in pixels
    /// of the canvas.
    fn print_tokens(&self, row: usize) {
        let dims = &self.batch.dims;
        let prompt = self.prompt_of(row);
        let context =
            &self.batch.context[prompt * dims.context_tokens..(prompt + 1) * dims.context_tokens];
        if !context.is_empty() {
            say(format_args!("  context {:?} {context:?}", self.tokenizer.decode(context)));
        }
        let side = dims.canvas_px as f32;
        let pad = self.tokenizer.vocabulary().pad;
        for (at, (&id, place)) in self.ids(row).iter().zip(self.places(row)).enumerate() {
            // T5's texts begin with padding.
            if id == pad && at > 0 {
                continue;
            }
            let place = place.map(|place| place.scale(side, side).to_array().map(f32::round));
            let place = place.map(|[x0, y0, x1, y1]| format!(" ({x0}, {y0}) ({x1}, {y1})"));
            let text = self.tokenizer.decode(&[id]);
            say(format_args!("  {id:>6} {text:<16}{}", place.unwrap_or_default()));
        }
    }
}

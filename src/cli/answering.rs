//! What `narrate`, `describe`, `locate` and `detect` have in common: images go through the model in
//! batches, answers come out as text, JSON, drawings and a page.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::answer_text::answer_text;
use super::loaded_run::LoadedRun;
use super::output::say;
use super::pictures::{DrawingNames, ImageArguments, Images, Picture};
use crate::error::{Error, Result};
use crate::report::answers::AnswerPage;
use crate::report::overlay::{self, Drawing};
use crate::tasks::predictor::{EncodedImages, Predictor};
use crate::tasks::results::{AskedImage, FORMAT_VERSION};
use crate::tasks::{Answer, ImageResult, Place, Stage};

/// What a command asks about every image.
pub(super) trait Question: Sync {
    /// The places that are asked about, normalised to an image of `width × height` pixels.
    fn places(&self, _size: (u32, u32)) -> Result<Vec<Place>> {
        Ok(Vec::new())
    }

    /// The answer about each of the pictures, which the model has looked at.
    fn answers(
        &self,
        predictor: &Predictor,
        images: &EncodedImages,
        pictures: &[Picture],
    ) -> Result<Vec<Answer>>;
}

/// What becomes of the answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "What becomes of the answers")]
pub(super) struct OutputArguments {
    /// Where to draw the answer of a single image [default: the image's name and the task, in the
    /// current directory]
    #[arg(long, value_name = "FILE.png|FILE.svg")]
    overlay: Option<PathBuf>,
    /// Folder to draw the answer of each image in; it is made where it is not there
    #[arg(long, value_name = "DIR", conflicts_with = "overlay")]
    overlay_dir: Option<PathBuf>,
    /// What is drawn in the folder
    #[arg(long, value_name = "FORMAT", default_value = "png", requires = "overlay_dir")]
    overlay_format: OverlayFormat,
    /// Write a page with all images and answers, on which words and places point at each other
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Print answers as JSON: an object for a single image, a line each for many. Boxes are x0, y0, x1,
    /// y1 from 0 to 1 over the image; `pixelllm schema` has the whole of it
    #[arg(long)]
    json: bool,
}

/// What a drawing is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverlayFormat {
    /// Pixels
    Png,
    /// Lines and words that stay sharp
    Svg,
}

impl OverlayFormat {
    /// By the ending of a file.
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "png" => Ok(Self::Png),
            "svg" => Ok(Self::Svg),
            _ => Err(Error::Usage {
                problem: format!("cannot draw in {}", path.display()),
                help: "Give --overlay a name that ends in .png or .svg.".into(),
            }),
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }

    fn write(self, drawing: &Drawing, path: &Path) -> Result<()> {
        match self {
            Self::Svg => std::fs::write(path, drawing.svg()?).map_err(Error::io("write", path)),
            Self::Png => drawing.rasterize()?.save(path).map_err(|error| match error {
                image::ImageError::IoError(source) => Error::io("write", path)(source),
                other => Error::Compute {
                    problem: format!("cannot write {}: {other}", path.display()),
                    help: "Report this as a bug.".into(),
                },
            }),
        }
    }
}

/// Asks `question` about all images; the exit code is 1 where one of many could not be answered about.
pub(super) fn answer(
    question: &impl Question,
    task: &'static str,
    loaded: &LoadedRun,
    images: &ImageArguments,
    output: &OutputArguments,
) -> Result<ExitCode> {
    let mut answering = Answering::new(question, task, &loaded.predictor, output)?;
    let code = match images.find()? {
        Images::One(path) => answering.one(&path)?,
        Images::Many(paths) => answering.many(&paths, images.batch)?,
    };
    answering.finish()?;
    Ok(code)
}

/// A command at work.
struct Answering<'a, Q> {
    question: &'a Q,
    task: &'static str,
    predictor: &'a Predictor,
    output: &'a OutputArguments,
    names: DrawingNames,
    page: Option<AnswerPage>,
}

impl<'a, Q: Question> Answering<'a, Q> {
    fn new(
        question: &'a Q,
        task: &'static str,
        predictor: &'a Predictor,
        output: &'a OutputArguments,
    ) -> Result<Self> {
        // Said before the model works.
        output.overlay.as_deref().map(OverlayFormat::of).transpose()?;
        if let Some(folder) = &output.overlay_dir {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let page = output.html.as_ref().map(|_| AnswerPage::new(format!("pixelllm {task}")));
        let names = DrawingNames::default();
        Ok(Self { question, task, predictor, output, names, page })
    }

    /// A single image, whose answer is drawn in any case.
    fn one(&mut self, path: &Path) -> Result<ExitCode> {
        let begun = Instant::now();
        let picture = self.read(path)?;
        let results = self.results(std::slice::from_ref(&picture), begun)?;
        for result in results {
            let drawn = match &self.output.overlay {
                Some(path) => self.draw_in(&picture, &result, path)?,
                None => self.draw_by_name(&picture, &result)?,
            };
            if self.output.json {
                say(json(&result, true)?);
            } else {
                say(format_args!("{}\n\nDrawn in {}", answer_text(&result), drawn.display()));
            }
            self.show(&picture, &result)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Images in batches; what is wrong with one is told, and the others go on.
    fn many(&mut self, paths: &[PathBuf], batch: usize) -> Result<ExitCode> {
        if self.output.overlay.is_some() {
            return Err(Error::Usage {
                problem: "--overlay draws a single image, and there are many".into(),
                help: "Give --overlay-dir a folder.".into(),
            });
        }
        let begun = Instant::now();
        let bar = progress_bar(self.task, paths.len());
        let mut num_skipped = 0;
        for paths in paths.chunks(batch) {
            let batch_begun = Instant::now();
            let read: Vec<_> = paths.par_iter().map(|path| self.read(path)).collect();
            let mut pictures = Vec::with_capacity(paths.len());
            for (path, read) in paths.iter().zip(read) {
                match read {
                    Ok(picture) => pictures.push(picture),
                    Err(error) => {
                        num_skipped += 1;
                        bar.suspend(|| eprintln!("skipped {}", named(path, &error)));
                    }
                }
            }
            if !pictures.is_empty() {
                let results = self.results(&pictures, batch_begun)?;
                for (picture, result) in pictures.iter().zip(&results) {
                    bar.suspend(|| self.tell(picture, result))?;
                }
            }
            bar.inc(paths.len() as u64);
        }
        bar.finish_and_clear();
        let num_done = paths.len() - num_skipped;
        let rate = num_done as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        eprintln!("{num_done} done, {num_skipped} skipped, {rate:.1} images/s");
        Ok(ExitCode::from(u8::from(num_skipped > 0)))
    }

    fn read(&self, path: &Path) -> Result<Picture> {
        let picture = Picture::read(path, self.predictor.canvas_px())?;
        let places = self.question.places(picture.image.dimensions())?;
        Ok(Picture { places, ..picture })
    }

    /// The results of pictures, which were begun to be read at `begun`.
    fn results(&self, pictures: &[Picture], begun: Instant) -> Result<Vec<ImageResult>> {
        let time = begun.elapsed();
        let canvases: Vec<_> = pictures.iter().map(|picture| picture.canvas.clone()).collect();
        let images = self.predictor.encode(&canvases)?;
        images.record(Stage::Read, time);
        let mut answers: VecDeque<_> =
            self.question.answers(self.predictor, &images, pictures)?.into();
        let timings = images.timings();
        let result = |picture: &Picture| {
            let (width, height) = picture.image.dimensions();
            let path = picture.path.display().to_string();
            let image = AskedImage { path, width, height };
            let answer = answers.pop_front()?;
            Some(ImageResult { version: FORMAT_VERSION, image, answer, timings })
        };
        Ok(pictures.iter().filter_map(result).collect())
    }

    /// One of many: a line of JSON, or its name and the answer.
    fn tell(&mut self, picture: &Picture, result: &ImageResult) -> Result<()> {
        if self.output.overlay_dir.is_some() {
            self.draw_by_name(picture, result)?;
        }
        match self.output.json {
            true => say(json(result, false)?),
            false => say(format_args!("{}\n{}\n", picture.path.display(), answer_text(result))),
        }
        self.show(picture, result)
    }

    fn draw_by_name(&mut self, picture: &Picture, result: &ImageResult) -> Result<PathBuf> {
        let format = self.output.overlay_format;
        let name = self.names.next(&picture.path, self.task);
        let name = format!("{name}.{}", format.extension());
        let folder = self.output.overlay_dir.clone().unwrap_or_default();
        self.draw_in(picture, result, &folder.join(name))
    }

    fn draw_in(&self, picture: &Picture, result: &ImageResult, path: &Path) -> Result<PathBuf> {
        let drawing = overlay::answer(&picture.image, &result.answer, &picture.places)?;
        OverlayFormat::of(path)?.write(&drawing, path)?;
        Ok(path.to_path_buf())
    }

    /// Adds to the page, if there is to be one.
    fn show(&mut self, picture: &Picture, result: &ImageResult) -> Result<()> {
        match &mut self.page {
            Some(page) => page.add(&result.image.path, &picture.image, &result.answer),
            None => Ok(()),
        }
    }

    fn finish(&self) -> Result<()> {
        if let (Some(page), Some(path)) = (&self.page, &self.output.html) {
            page.write(path)?;
            eprintln!("Look at {}", path.display());
        }
        Ok(())
    }
}

/// What is wrong with an image, with its name at the front.
fn named(path: &Path, error: &Error) -> String {
    let (path, problem) = (path.display().to_string(), error.to_string());
    if problem.contains(&path) { problem } else { format!("{path}: {problem}") }
}

fn json(result: &ImageResult, pretty: bool) -> Result<String> {
    let json = match pretty {
        true => serde_json::to_string_pretty(result),
        false => serde_json::to_string(result),
    };
    json.map_err(|error| Error::Compute {
        problem: format!("the answer cannot be written as JSON: {error}"),
        help: "Report this as a bug.".into(),
    })
}

/// On a terminal alone.
fn progress_bar(task: &'static str, count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count as u64).with_message(task);
    let template = "{msg} {wide_bar} {pos}/{len} {per_sec}, {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

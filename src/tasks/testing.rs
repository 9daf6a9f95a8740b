//! A tiny model with random weights, and images and sources for it.

use std::path::Path;

use burn::tensor::Device;

use super::predictor::{EncodedImages, Predictor};
use crate::data::formats::{Format, Skipped};
use crate::data::sample::{LocatedSpan, Row, Sample, Task};
use crate::data::source::{AnswerForm, Source, SourceConfig};
use crate::data::tokenizer::Tokenizer;
use crate::data::transform::Canvas;
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::model::language::LanguageConfig;
use crate::model::language::git::GitConfig;
use crate::model::pixel_llm::{PixelLlm, PixelLlmConfig};
use crate::model::testing::{tiny_boxes, tiny_config};
use crate::model::vision::VisionConfig;

/// Side of the canvas, in pixels.
pub(super) const SIDE: usize = 16;

/// Two narratives; their words are all that the model knows.
pub(super) const TEXTS: [&str; 2] =
    ["here is a small red circle", "we see a large blue striped square"];

/// One encoder, and texts a little longer than those of the tiny model.
fn config(dropout: f64) -> PixelLlmConfig {
    let tiny = tiny_config();
    let LanguageConfig::Git(language) = tiny.language else {
        unreachable!("the tiny model is GIT")
    };
    PixelLlmConfig {
        canvas_px: SIDE,
        vision: VisionConfig { sam: None, ..tiny.vision },
        language: LanguageConfig::Git(GitConfig { max_positions: 12, dropout, ..language }),
        ..tiny
    }
}

/// How a task is asked for in these tests.
pub(super) fn source_config(task: Task) -> SourceConfig {
    SourceConfig {
        task,
        format: Format::LocalizedNarratives,
        annotations: String::new(),
        images: String::new(),
        weight: 1.0,
        first_step: 0,
        rows_per_image: 1,
        max_text_tokens: 10,
        prompt: if task == Task::Locate { "where is {text}".into() } else { String::new() },
        max_context_tokens: 8,
        answer: AnswerForm::Points,
        splits: std::collections::BTreeMap::new(),
        masks: false,
        decoding: Default::default(),
        augmentation: Default::default(),
    }
}

/// The model and its tokenizer, on `device`.
pub(super) fn model_on(device: &Device, dropout: f64) -> Result<(PixelLlm, Tokenizer)> {
    let config = config(dropout);
    assert_eq!(config.validate(), []);
    let texts = TEXTS.iter().copied().chain(["where is"]).cycle().take(30);
    let tokenizer = Tokenizer::train(texts, 200)?;
    Ok((config.init(tokenizer.vocabulary(), device), tokenizer))
}

/// A predictor for `tasks`, on `device`.
pub(super) fn predictor_on(device: &Device, dropout: f64, tasks: &[Task]) -> Result<Predictor> {
    let (model, tokenizer) = model_on(device, dropout)?;
    let sources: Vec<_> = tasks.iter().map(|&task| source_config(task)).collect();
    Ok(Predictor::new(&model, tokenizer, &sources))
}

/// A predictor that writes boxes, with `count` location tokens.
pub(super) fn box_writer(count: usize) -> Result<Predictor> {
    let device = Device::flex();
    let (_, tokenizer) = model_on(&device, 0.0)?;
    let tokenizer = tokenizer.with_location_tokens(count)?;
    let model = config(0.0).init(tokenizer.vocabulary(), &device);
    let source = SourceConfig { answer: AnswerForm::Text, ..source_config(Task::Locate) };
    Ok(Predictor::new(&model, tokenizer, &[source]))
}

/// The tasks that need no box decoder.
pub(super) const WITHOUT_BOXES: [Task; 3] = [Task::Narrate, Task::Describe, Task::Locate];

/// A predictor for every task that needs no box decoder.
pub(crate) fn predictor() -> Result<Predictor> {
    predictor_on(&Device::flex(), 0.0, &WITHOUT_BOXES)
}

/// A predictor for *detect*.
pub(super) fn detector() -> Result<Predictor> {
    let config = PixelLlmConfig { boxes: Some(tiny_boxes()), ..config(0.0) };
    assert_eq!(config.validate(), []);
    let (_, tokenizer) = model_on(&Device::flex(), 0.0)?;
    let model = config.init(tokenizer.vocabulary(), &Device::flex());
    Ok(Predictor::new(&model, tokenizer, &[source_config(Task::Detect)]))
}

/// A square image and a wide one, with some texture.
pub(super) fn canvases() -> Vec<Canvas> {
    let image = |seed: usize, height: u32| {
        let area = SIDE * SIDE * 3;
        let value = |i: usize| (((i + seed) * (i + 7 * seed) * 31) % 256) as u8;
        let inside = height as usize * SIDE * 3;
        let pixels = (0..area).map(|i| if i < inside { value(i) } else { 0 }).collect();
        Canvas { pixels, width: SIDE as u32, height }
    };
    vec![image(1, SIDE as u32), image(2, 12)]
}

/// [`canvases`] as the model sees them.
pub(super) fn images(predictor: &Predictor) -> Result<EncodedImages> {
    predictor.encode(&canvases())
}

/// A source of `rows` about the images at `paths`, one list per image.
pub(super) fn source(task: Task, paths: &[impl AsRef<Path>], rows: Vec<Vec<Row>>) -> Source {
    let samples = paths.iter().zip(rows).map(|(path, rows)| Sample {
        image: path.as_ref().into(),
        image_id: path.as_ref().file_stem().map_or_else(String::new, |s| s.display().to_string()),
        task,
        rows,
    });
    let samples = samples.collect::<Vec<_>>().into();
    Source { config: source_config(task), samples, skipped: Skipped::default() }
}

/// A row about a region.
pub(super) fn region(text: &str, bounds: BoundingBox) -> Row {
    Row::of_region(text, bounds)
}

/// A narrative that was said at one place.
pub(super) fn narrative(text: &str, bounds: BoundingBox) -> Row {
    let location = LocatedSpan::new(Some(0..text.len()), bounds);
    Row { locations: vec![location], ..Row::of_image(text) }
}

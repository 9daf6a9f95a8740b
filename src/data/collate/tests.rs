mod written_boxes;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::choice::choose;
use super::*;
use crate::data::augmentation::{AugmentationConfig, FlipTexts};
use crate::data::batch::BatchDims;
use crate::data::formats::{Format, Skipped};
use crate::data::sample::{LocatedSpan, Row, Sample, Task};
use crate::data::samples::Samples;
use crate::data::source::SourceConfig;
use crate::geometry::BoundingBox;
use crate::geometry::mask::Mask;
use crate::model::prompt::location::{IGNORED, POSITIVE};

/// Four marks on black: what each is called, its colour and its box in pixels of 120 × 80.
const MARKS: [(&str, [u8; 3], [u32; 4]); 4] = [
    ("the red one on the left", [255, 0, 0], [6, 4, 36, 28]),
    ("the green one on the right", [0, 255, 0], [84, 8, 114, 32]),
    ("blue below", [0, 0, 255], [12, 48, 48, 76]),
    ("white in the corner", [255, 255, 255], [78, 44, 120, 80]),
];

const SIDE: usize = 48;

fn bounds_of([x0, y0, x1, y1]: [u32; 4]) -> BoundingBox {
    BoundingBox::new(x0 as f32, y0 as f32, x1 as f32, y1 as f32).scale(1.0 / 120.0, 1.0 / 80.0)
}

/// The pixels of a mark, on the image.
fn mask_of([x0, y0, x1, y1]: [u32; 4]) -> Mask {
    let inside = |at: u32| (x0..x1).contains(&(at % 120)) && (y0..y1).contains(&(at / 120));
    Mask::from_pixels(&(0..120 * 80).map(inside).collect::<Vec<_>>(), 120, 80).unwrap()
}

fn marked_image(folder: &Path) -> PathBuf {
    let color = |x: u32, y: u32| {
        let inside = |[x0, y0, x1, y1]: [u32; 4]| (x0..x1).contains(&x) && (y0..y1).contains(&y);
        let mark = MARKS.iter().find(|(_, _, place)| inside(*place));
        Rgb(mark.map_or([0; 3], |(_, color, _)| *color))
    };
    let path = folder.join("marks.png");
    RgbImage::from_fn(120, 80, color).save(&path).unwrap();
    path
}

/// All marks of the image, for a task.
fn source(task: Task, image: &Path, augmentation: AugmentationConfig) -> Source {
    let rows = match task {
        Task::Narrate => {
            let (mut text, mut locations) = (String::new(), Vec::new());
            for (words, _, place) in MARKS {
                let begin = text.len();
                text += words;
                let span = Some(begin..text.len());
                locations.push(LocatedSpan::new(span, bounds_of(place)));
                text += ", ";
            }
            vec![Row { locations, ..Row::of_image(text) }]
        }
        Task::Describe | Task::Locate | Task::Detect => {
            let row = |(text, _, place): (&str, _, _)| Row {
                mask: Some(mask_of(place)),
                ..Row::of_region(text, bounds_of(place))
            };
            MARKS.map(row).to_vec()
        }
    };
    let config = SourceConfig {
        rows_per_image: 3,
        max_text_tokens: 40,
        prompt: if task == Task::Narrate { String::new() } else { "{text}".into() },
        max_context_tokens: 40,
        augmentation,
        ..SourceConfig::new(task, Format::LocalizedNarratives, "", "")
    };
    let sample = Sample { image: image.into(), image_id: "1".into(), task, rows };
    Source { config, samples: vec![sample].into(), skipped: Skipped::default() }
}

fn collator() -> Collator {
    let texts = MARKS.iter().map(|mark| mark.0).chain(["right", "left"]).cycle().take(60);
    Collator::new(Tokenizer::train(texts, 300).unwrap(), Alignment::Offsets, SIDE)
}

fn changed(collator: &Collator, source: &Source, seed: u64) -> HostBatch {
    let (mut rows, sample) = (ChaCha8Rng::seed_from_u64(0), ChaCha8Rng::seed_from_u64(seed));
    let choice = RowChoice::Random { rows: &mut rows, samples: &[sample] };
    collator.collate(source, &[0], choice).unwrap()
}

/// The ids of a row, without begin, end and padding.
fn words(collator: &Collator, ids: &[i64]) -> String {
    collator.tokenizer.decode(ids)
}

/// Mean colour inside a box in pixels of the canvas, one pixel away from its edges; `None` where that is
/// nothing.
fn mean_color(batch: &HostBatch, bounds: BoundingBox) -> Option<[f32; 3]> {
    let [x0, y0, x1, y1] = bounds.to_array().map(|v| v as usize);
    let inside: Vec<_> = (y0 + 1..y1.saturating_sub(1))
        .flat_map(|y| (x0 + 1..x1.saturating_sub(1)).map(move |x| y * SIDE + x))
        .collect();
    let mean = |plane: usize| {
        let sum: f32 = inside.iter().map(|at| batch.images[plane * SIDE * SIDE + at]).sum();
        sum / inside.len() as f32
    };
    (inside.len() >= 4).then(|| [mean(0), mean(1), mean(2)])
}

/// The mark that a text is about, whichever way round.
fn mark(text: &str) -> [u8; 3] {
    let of = |word: &str| text.contains(word);
    let words = ["red", "green", "blue", "white"];
    let found: Vec<_> = (0..4).filter(|at| of(words[*at])).collect();
    assert_eq!(found.len(), 1, "{text}");
    MARKS[found[0]].1
}

fn assert_color(found: [f32; 3], expected: [u8; 3], says: &str) {
    let is_near = found.iter().zip(expected).all(|(a, b)| (a - f32::from(b)).abs() < 60.0);
    assert!(is_near, "{says}: {found:?} is not {expected:?}");
}

const CHANGES: AugmentationConfig = AugmentationConfig {
    scale: [0.5, 2.5],
    min_visible: 0.0,
    flip: 0.5,
    flip_texts: FlipTexts::Swap,
    brightness: 0.1,
    contrast: 0.0,
    saturation: 0.0,
};

#[test]
fn text_prompt_and_box_stay_with_their_mark_through_crops_and_flips() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let collator = collator();
    for task in [Task::Describe, Task::Detect, Task::Locate] {
        let source = source(task, &image, CHANGES);
        let (mut looked, mut left_out) = (0, 0);
        for seed in 0..200 {
            let batch = changed(&collator, &source, seed);
            let BatchDims { rows, text_tokens, context_tokens, prompts, .. } = batch.dims;
            assert_eq!((rows, batch.row_valid.len()), (prompts, rows));
            left_out += usize::from(rows < 3);
            for row in 0..rows {
                assert_eq!(batch.row_valid[row], 1.0, "a row without a mark is left out whole");
                let text = words(&collator, &batch.text[row * text_tokens..][..text_tokens]);
                let context =
                    words(&collator, &batch.context[row * context_tokens..][..context_tokens]);
                assert_eq!(text, context, "seed {seed}");
                let numbers = match task {
                    Task::Describe | Task::Detect => &batch.prompt_boxes[row * 4..][..4],
                    // Of the second token, as of every other.
                    _ => &batch.points[(row * text_tokens + 1) * 4..][..4],
                };
                let bounds = BoundingBox::new(numbers[0], numbers[1], numbers[2], numbers[3]);
                let bounds = match task {
                    Task::Describe | Task::Detect => bounds,
                    _ => bounds.scale(batch.sizes[0], batch.sizes[1]),
                };
                if let Some(color) = mean_color(&batch, bounds) {
                    looked += 1;
                    assert_color(color, mark(&text), &format!("seed {seed}: {text} {bounds:?}"));
                }
            }
        }
        assert!(looked > 300 && left_out > 20, "{looked} {left_out}");
    }
}

#[test]
fn masks_stay_with_their_marks_through_crops_and_flips() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let collator = collator();
    let mut source = source(Task::Locate, &image, CHANGES);
    assert_eq!(changed(&collator, &source, 0).masks, None, "not asked for");
    source.config.masks = true;
    let area = SIDE * SIDE;
    let (mut looked, mut without) = (0, 0);
    for seed in 0..100 {
        let batch = changed(&collator, &source, seed);
        let masks = batch.masks.as_ref().unwrap();
        let BatchDims { rows, text_tokens, .. } = batch.dims;
        assert_eq!(text_tokens, 40, "the mask branch reads the padding, too");
        for row in 0..rows {
            let text = words(&collator, &batch.text[row * text_tokens..][..text_tokens]);
            let mask = &masks.pixels[row * area..][..area];
            let has_pixels = mask.contains(&1);
            assert_eq!(masks.valid[row], f32::from(u8::from(has_pixels)));
            without += usize::from(!has_pixels);
            // Pixels away from the edge, where colours mix.
            let is_inside = |at: &usize| {
                let (x, y) = (at % SIDE, at / SIDE);
                let around = (1..SIDE - 1).contains(&x) && (1..SIDE - 1).contains(&y);
                around
                    && [0, 1, SIDE - 1, SIDE + 1].iter().all(|by| mask[at - by.min(at)] == 1)
                    && [0, 1, SIDE - 1, SIDE + 1, SIDE].iter().all(|by| mask[at + by] == 1)
            };
            for at in (0..area).filter(is_inside) {
                let color = [0, 1, 2].map(|plane| batch.images[plane * area + at]);
                assert_color(color, mark(&text), &format!("seed {seed}: {text} at {at}"));
                looked += 1;
            }
            // And all of the mark is inside.
            let numbers = &batch.points[(row * text_tokens + 1) * 4..][..4];
            let bounds = BoundingBox::new(numbers[0], numbers[1], numbers[2], numbers[3])
                .scale(batch.sizes[0], batch.sizes[1]);
            let count = mask.iter().filter(|inside| **inside == 1).count() as f32;
            let edge = bounds.width() + bounds.height() + 1.0;
            assert!(
                (count - bounds.area()).abs() <= edge,
                "seed {seed}: {text} {count} {bounds:?}"
            );
        }
    }
    assert!(looked > 5_000 && without < 20, "{looked} {without}");
}

/// Marks to describe, each by a trace that stays at its centre.
fn traced(image: &Path, augmentation: AugmentationConfig) -> Source {
    let mut source = source(Task::Describe, image, augmentation);
    for row in &mut source.samples.loaded_mut()[0].rows {
        let bounds = row.region.unwrap();
        row.locations
            .push(LocatedSpan { points: vec![bounds.center()], ..LocatedSpan::new(None, bounds) });
    }
    source
}

#[test]
fn traces_stay_with_their_marks_through_crops_and_flips() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let mut collator = collator();
    let source = traced(&image, CHANGES);
    let told_by_boxes = changed(&collator, &source, 0);
    assert!(told_by_boxes.prompt_traces.is_empty() && told_by_boxes.prompt_boxes[2] > 0.0);
    collator.trace_points = 2;
    let (mut looked, mut cut_away) = (0, 0);
    for seed in 0..100 {
        let batch = changed(&collator, &source, seed);
        let BatchDims { rows, text_tokens, .. } = batch.dims;
        assert_eq!(batch.prompt_boxes, vec![0.0; rows * 4]);
        for (row, trace) in batch.prompt_traces.chunks(4).enumerate() {
            let text = words(&collator, &batch.text[row * text_tokens..][..text_tokens]);
            assert_eq!(trace[..2], trace[2..]);
            let inside = |axis: usize| (1.0..batch.sizes[axis] - 1.0).contains(&trace[axis]);
            assert!((0..2).all(|axis| (0.0..=batch.sizes[axis]).contains(&trace[axis])));
            if inside(0) && inside(1) {
                let at = trace[1] as usize * SIDE + trace[0] as usize;
                let color = [0, 1, 2].map(|plane| batch.images[plane * SIDE * SIDE + at]);
                assert_color(color, mark(&text), &format!("seed {seed}: {text} {trace:?}"));
                looked += 1;
            } else {
                cut_away += 1;
            }
        }
    }
    assert!(looked > 150 && cut_away > 5, "{looked} {cut_away}");
}

#[test]
fn prompts_of_a_batch_may_be_boxes_and_traces() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let mut collator = collator();
    collator.trace_points = 2;
    let [boxes, traces] = [source(Task::Describe, &image, CHANGES), traced(&image, CHANGES)];
    let picks = [&boxes, &traces].map(|source| Pick { source, sample: 0 });
    let batch = collator.collate_mixed(&picks, RowChoice::First(1)).unwrap();
    assert!(batch.prompt_boxes[..4].iter().all(|v| *v > 0.0));
    assert_eq!(batch.prompt_boxes[4..], [0.0; 4]);
    assert!(
        batch.prompt_traces[..4] == [0.0; 4] && batch.prompt_traces[4..].iter().all(|v| *v > 0.0)
    );
    let points = batch.to_device(&Device::flex()).rows.prompt_points.unwrap();
    let labels: Vec<i64> = points.labels.into_data().iter::<i64>().collect();
    assert_eq!(labels, [IGNORED, IGNORED, POSITIVE, POSITIVE]);
}

#[test]
fn words_of_narratives_keep_their_places_and_lose_those_that_are_cut_away() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let collator = collator();
    let source = source(Task::Narrate, &image, CHANGES);
    let (mut looked, mut lost, mut swapped) = (0, 0, 0);
    for seed in 0..100 {
        let batch = changed(&collator, &source, seed);
        let text = words(&collator, &batch.text);
        swapped += usize::from(text.contains("red one on the right"));
        for (at, ids) in batch.text.chunks(1).enumerate() {
            let word = words(&collator, &[&batch.text[..1], ids].concat());
            let Some(color) = ["red", "green", "blue", "white"].iter().position(|c| *c == word)
            else {
                continue;
            };
            let numbers = &batch.points[at * 4..][..4];
            if numbers == [0.0; 4] {
                lost += 1;
                continue;
            }
            let bounds = BoundingBox::new(numbers[0], numbers[1], numbers[2], numbers[3])
                .scale(batch.sizes[0], batch.sizes[1]);
            if let Some(found) = mean_color(&batch, bounds) {
                looked += 1;
                assert_color(found, MARKS[color].1, &format!("seed {seed} {word} {bounds:?}"));
            }
        }
    }
    assert!(looked > 100 && lost > 20 && swapped > 20, "{looked} {lost} {swapped}");
}

#[test]
fn left_and_right_are_swapped_or_their_images_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let collator = collator();
    let flip = |flip_texts| AugmentationConfig { flip: 1.0, flip_texts, ..Default::default() };
    let batch = |task, config| changed(&collator, &source(task, &image, config), 1);
    // The red mark is in the top-left corner of the image, the green one in the top-right.
    let corner = |batch: &HostBatch| batch.images[4 * SIDE + 8] > 128.0;
    let kept = batch(Task::Narrate, flip(FlipTexts::Keep));
    assert!(corner(&kept) && words(&collator, &kept.text).contains("red one on the left"));
    let swapped = batch(Task::Narrate, flip(FlipTexts::Swap));
    assert!(!corner(&swapped) && words(&collator, &swapped.text).contains("red one on the right"));
    // Without a side in any text, there is nothing to keep.
    let mut silent = source(Task::Describe, &image, flip(FlipTexts::Keep));
    silent.samples.loaded_mut()[0].rows.retain(|row| !row.text.contains("one"));
    assert!(!corner(&changed(&collator, &silent, 1)));
}

#[test]
fn the_same_numbers_give_the_same_batch_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let source = source(Task::Locate, &image, CHANGES);
    let batch = |collator: &Collator| {
        let samples: Vec<_> = (0..9).map(ChaCha8Rng::seed_from_u64).collect();
        let mut rows = ChaCha8Rng::seed_from_u64(3);
        let choice = RowChoice::Random { rows: &mut rows, samples: &samples };
        collator.collate(&source, &[0; 9], choice).unwrap()
    };
    let expected = batch(&collator());
    for workers in [1, 2, 5] {
        let collator = collator().with_workers(Some(workers)).unwrap();
        assert!(batch(&collator) == expected, "{workers}");
    }
}

#[test]
fn nothing_changes_without_augmentation_nor_for_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let collator = collator();
    let first = |config| {
        collator.collate(&source(Task::Locate, &image, config), &[0], RowChoice::First(3)).unwrap()
    };
    let plain = first(AugmentationConfig::default());
    assert!(first(CHANGES) == plain);
    assert_eq!(plain.seed, 0);
    let random = |seed| changed(&collator, &source(Task::Locate, &image, Default::default()), seed);
    assert_eq!(random(1), random(2));
    // What a step draws has the next number after those of the rows.
    let mut rows = ChaCha8Rng::seed_from_u64(0);
    choose(4, 3, &mut rows);
    assert_eq!(random(1).seed, rows.random::<u64>());
    assert_eq!(random(1).images, plain.images);
}

#[test]
fn the_first_image_that_cannot_be_read_is_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let mut source = source(Task::Locate, &image, AugmentationConfig::default());
    let Samples::Loaded(samples) = &mut source.samples else { unreachable!() };
    for at in 1..8 {
        let missing = folder.path().join(format!("missing-{at}.png"));
        samples.push(Sample { image: missing.into(), ..samples[0].clone() });
    }
    let collator = collator().with_workers(Some(4)).unwrap();
    let all: Vec<_> = (0..8).collect();
    let error = collator.collate(&source, &all, RowChoice::First(1)).unwrap_err();
    assert!(error.to_string().contains("missing-1.png"), "{error}");
}

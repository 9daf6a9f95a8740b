use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::*;
use crate::data::source::AnswerForm;
use crate::metrics::referring::iou;
use crate::tasks::testing::{self, narrative, region};

/// A square image and one twice as wide as high.
fn write_images(folder: &Path) -> Vec<PathBuf> {
    let sizes = [("a.png", 16, 16), ("b.png", 16, 8)];
    let write = |(name, width, height)| {
        let path = folder.join(name);
        let pixel = |x: u32, y: u32| image::Rgb([(x * 16) as u8, (y * 16) as u8, 99]);
        image::RgbImage::from_fn(width, height, pixel).save(&path).unwrap();
        path
    };
    sizes.into_iter().map(write).collect()
}

const LEFT: BoundingBox = BoundingBox::new(0.0, 0.0, 0.5, 1.0);
const RIGHT: BoundingBox = BoundingBox::new(0.5, 0.0, 1.0, 1.0);

/// Two images with two texts about the first and one about the second, for each task.
fn sources(paths: &[PathBuf]) -> Vec<Source> {
    let rows = |row: fn(&str, BoundingBox) -> crate::data::sample::Row, texts: [&str; 3]| {
        vec![vec![row(texts[0], LEFT), row(texts[1], RIGHT)], vec![row(texts[2], LEFT)]]
    };
    let captions = ["a small red circle", "a small red square", "a large blue square"];
    vec![
        testing::source(Task::Narrate, paths, rows(narrative, ["we see", "red", "blue"])),
        testing::source(Task::Describe, paths, rows(region, captions)),
        testing::source(Task::Locate, paths, rows(region, ["red", "circle", "square"])),
    ]
}

fn evaluate(config: &EvaluationConfig, edit: impl Fn(&mut Vec<Source>)) -> Outcome {
    evaluate_by(&testing::predictor().unwrap(), config, edit)
}

fn evaluate_by(
    predictor: &Predictor,
    config: &EvaluationConfig,
    edit: impl Fn(&mut Vec<Source>),
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(&write_images(folder.path()));
    edit(&mut sources);
    let evaluator = Evaluator { predictor, alignment: Alignment::Offsets, config, meteor: None };
    let train = sources.clone();
    evaluator.evaluate(&[("test".into(), sources)], &train, &|_| ()).unwrap()
}

fn score(outcome: &Outcome, task: &str, metric: &str) -> Score {
    outcome.evaluation["test"][task][metric]
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
}

#[test]
fn baselines_are_those_worked_out_by_hand() {
    let outcome = evaluate(&EvaluationConfig::default(), |_| ());
    let baseline = |task, metric| score(&outcome, task, metric).baseline.unwrap();
    // Left or right half against the centre: 0.5, 0.5, 0, 0.5.
    close(baseline("narrate", "trace_error"), 0.375);
    close(baseline("narrate", "center_error"), 0.125);
    // The nearest corner: (0, 0) is 0.5 away, (0.5, 1) 0.25.
    close(baseline("narrate", "point_l1"), 0.25);
    // The mean box is (1/6, 0, 2/3, 1): a left half is 1/6 away in two of four coordinates, a
    // right half 1/3. The first image has two words at the left ("we see") and one at the right.
    let (left, right) = (1.0 / 12.0, 1.0 / 6.0);
    let first = (2.0 * left + right) / 3.0;
    close(baseline("narrate", "trace_error_vs_mean_box"), (first + left) / 2.0);
    // Overlap with a left half 1/3 of 2/3, with a right half 1/6 of 5/6.
    close(baseline("locate", "mean_iou"), (0.5 + 0.5 + 0.2) / 3.0);
    close(baseline("locate", "precision_at_0.75"), 0.0);
    // "small red square": 2 + 3 + 1 of 9 attributes, all of one caption.
    close(baseline("describe", "attribute_accuracy"), 6.0 / 9.0);
    close(baseline("describe", "all_attributes"), 1.0 / 3.0);
    // "a small red circle", the first of the file.
    close(baseline("describe", "exact_match"), 1.0 / 3.0);
    close(baseline("describe", "token_f1"), (1.0 + 0.75 + 0.25) / 3.0);
    assert_eq!(outcome.notes, [""; 0]);
}

#[test]
fn baselines_of_the_coco_measures_are_those_worked_out_by_hand() {
    let outcome = evaluate(&EvaluationConfig::default(), |_| ());
    let baseline = |task, metric| score(&outcome, task, metric).baseline.unwrap();
    // "a small red circle" three times. Beside the circle all n-grams are right; beside the red
    // square 3 words, 2 pairs, 1 triple; beside the blue one "a".
    let precisions = [8.0 / 12.0, 5.0 / 9.0, 3.0 / 6.0, 1.0 / 3.0];
    close(baseline("describe", "bleu_4"), precisions.iter().product::<f64>().powf(0.25));
    close(baseline("describe", "rouge_l"), (1.0 + 0.75 + 0.25) / 3.0);
    // Weights: "a" is in all three references, what is in two of them weighs c, in one t.
    let (c, t) = (1.5_f64.ln(), 3.0_f64.ln());
    // "small", "red" of {small, red, circle} and {small, red, square}; and so on for pairs, triples.
    let words = 2.0 * c * c / ((2.0 * c * c + t * t).sqrt() * 3.0_f64.sqrt() * c);
    let pairs = 2.0 * c * c / (2.0 * c * c + t * t);
    let triples = c * c / (c * c + t * t);
    let red_square = 10.0 * (words + pairs + triples) / 4.0;
    close(baseline("describe", "cider"), (10.0 + red_square) / 3.0);
    // "we see" is one of two references of the first image, and nothing of the second.
    close(baseline("narrate", "rouge_l"), 0.5);
    close(baseline("narrate", "cider"), (10.0 * (2.0 / 4.0) / 2.0) / 2.0);
}

#[test]
fn every_answer_is_scored_once_and_kept() {
    let outcome = evaluate(&EvaluationConfig { batch_size: 1, ..Default::default() }, |_| ());
    let n = |task, metric| score(&outcome, task, metric).n;
    assert_eq!(n("narrate", "trace_error"), 2);
    assert_eq!(n("narrate", "token_f1"), 2);
    assert_eq!(n("describe", "attribute_accuracy"), 3);
    assert_eq!(n("locate", "mean_iou"), 3);

    assert_eq!(outcome.answers.len(), 2, "answers about an image are together");
    let [first, second] = &outcome.answers[..] else { unreachable!() };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("a", "b"));
    assert_eq!(first.reference_narrations, ["we see", "red"]);
    assert!(first.narration.is_some() && second.narration.is_some());
    assert_eq!((first.descriptions.len(), second.descriptions.len()), (2, 1));
    assert_eq!(first.descriptions[1].1, "a small red square");

    let ious = outcome.answers.iter().flat_map(|image| {
        let height = if image.name == "a" { 16.0 } else { 8.0 };
        let pixels = move |b: BoundingBox| b.scale(16.0, height).clip(16.0, height);
        image.locations.iter().map(move |(l, truth)| iou(pixels(l.bounds), pixels(*truth)))
    });
    let ious: Vec<f64> = ious.collect();
    close(score(&outcome, "locate", "mean_iou").value, ious.iter().sum::<f64>() / 3.0);
}

/// Scores of *detect* of a model with random weights; the source says what there is.
#[test]
fn written_answers_that_are_no_box_count_as_none() {
    // The share of boxes among the answers, the mean IoU that is scored, and that of the boxes that were told.
    let scored = |tokens: usize| {
        let writer = testing::box_writer(tokens).unwrap();
        let outcome = evaluate_by(&writer, &EvaluationConfig::default(), |sources| {
            sources.retain(|source| source.task() == Task::Locate);
            sources[0].config.answer = AnswerForm::Text;
        });
        let share = score(&outcome, "locate", "well_formed");
        assert_eq!((share.n, share.baseline), (3, None));
        let pixels = |bounds: BoundingBox, [width, height]: [f32; 2]| bounds.scale(width, height);
        let told =
            outcome.answers.iter().zip([[16.0, 16.0], [16.0, 8.0]]).flat_map(|(image, size)| {
                let locations = image.locations.iter();
                locations.map(move |(l, truth)| iou(pixels(l.bounds, size), pixels(*truth, size)))
            });
        let told: Vec<f64> = told.collect();
        let mean_iou = score(&outcome, "locate", "mean_iou").value;
        (share.value, mean_iou, told.iter().sum::<f64>() / told.len() as f64)
    };
    // With two location tokens, a random model would write words; with very many, boxes.
    let (_, none, _) = (0..20).map(|_| scored(2)).find(|one| one.0 == 0.0).unwrap();
    assert_eq!(none, 0.0);
    let (_, mean_iou, told) = (0..50).map(|_| scored(2000)).find(|one| one.0 == 1.0).unwrap();
    close(mean_iou, told);
}

fn detect(rows: fn(&[PathBuf]) -> Source) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let source = rows(&write_images(folder.path()));
    let predictor = testing::detector().unwrap();
    let config = EvaluationConfig::default();
    let evaluator = Evaluator {
        predictor: &predictor,
        alignment: Alignment::Offsets,
        config: &config,
        meteor: None,
    };
    let train = vec![source.clone()];
    evaluator.evaluate(&[("test".into(), vec![source])], &train, &|_| ()).unwrap()
}

#[test]
fn the_trivial_detections_are_scored_as_worked_out_by_hand() {
    let outcome = detect(|paths| {
        let captions = ["a red circle", "a red square", "a red circle"];
        let rows = vec![
            vec![region(captions[0], LEFT), region(captions[1], RIGHT)],
            vec![region(captions[2], LEFT)],
        ];
        testing::source(Task::Detect, paths, rows)
    });
    let baseline = |metric| score(&outcome, "detect", metric).baseline.unwrap();
    // Boxes of half the width and the whole height, at the left (right for 2 of 3 regions), in the
    // middle (for none: 1/3 of either half), at the right (for 1 of 3). Ranked left, left, right,
    // right, middle: right, right, and of the two at the right that of the first image.
    close(baseline("recall_at_0.5"), 1.0);
    close(baseline("map_boxes_at_0.5"), 1.0);
    // "a red circle" is what stands at the left: precision 1 up to a recall of 2/3, 67 of 100 points.
    close(baseline("map_exact"), 0.67);
    // Beside "a red square" it has two words of three, in one chunk: 2/3 · (1 − 0.6 · (1/2)^0.2) = 0.32, above
    // all thresholds. METEOR's files are not given, and the measure is called by what there is of it.
    close(baseline("map_meteor_exact_stem"), 1.0);
    assert!(!outcome.evaluation["test"]["detect"].contains_key("map"));
    assert_eq!(score(&outcome, "detect", "map_boxes").n, 3);
    let answers = &outcome.answers[0];
    assert!(answers.detections.as_ref().is_some_and(|found| !found.is_empty()));
    assert_eq!(answers.annotated_regions[1], (RIGHT, "a red square".into()));
}

#[test]
fn regions_that_are_annotated_twice_are_one() {
    let outcome = detect(|paths| {
        let near = BoundingBox::new(0.0, 0.0, 0.5, 0.9);
        let rows = vec![vec![region("a", LEFT), region("b", near)], vec![region("c", RIGHT)]];
        testing::source(Task::Detect, paths, rows)
    });
    assert_eq!(score(&outcome, "detect", "map_boxes").n, 2);
}

#[test]
fn batches_do_not_change_the_scores() {
    let one = evaluate(&EvaluationConfig { batch_size: 1, ..Default::default() }, |_| ());
    let both = evaluate(&EvaluationConfig { batch_size: 2, ..Default::default() }, |_| ());
    for (task, scores) in &one.evaluation["test"] {
        assert!(!scores.is_empty());
        for (metric, score) in scores {
            let other = both.evaluation["test"][task][metric];
            close(score.baseline.unwrap(), other.baseline.unwrap());
            assert_eq!(score.n, other.n);
        }
    }
}

#[test]
fn what_was_not_scored_is_said() {
    let outcome = evaluate(&EvaluationConfig { max_images: 1, ..Default::default() }, |all| {
        let [narrate, describe, locate] = all.as_mut_slice() else { unreachable!() };
        for sample in narrate.samples.loaded_mut() {
            sample.rows.iter_mut().for_each(|row| row.locations.clear());
        }
        for sample in describe.samples.loaded_mut() {
            sample.rows.iter_mut().for_each(|row| row.text = "a thing".into());
        }
        locate.samples.loaded_mut()[0].rows[0].text = " ".into();
    });
    let tasks = &outcome.evaluation["test"];
    let metrics = |task: &str| tasks[task].keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(metrics("narrate"), ["bleu_4", "rouge_l", "token_f1"]);
    assert_eq!(metrics("describe"), ["bleu_4", "cider", "exact_match", "rouge_l", "token_f1"]);
    assert_eq!(tasks["locate"]["mean_iou"].n, 1);
    assert_eq!(outcome.answers.len(), 1);
    for note in [
        "test: narrate: scored the first 1 of 2 images",
        "test: narrate: no word has a place: the trace metrics are left out",
        "test: locate: 1 expressions have no words",
    ] {
        assert!(outcome.notes.iter().any(|found| found == note), "{note}: {:?}", outcome.notes);
    }
    for start in ["test: describe: no caption", "test: narrate: cider compares"] {
        assert!(outcome.notes.iter().any(|note| note.starts_with(start)), "{start}");
    }
}

#[test]
fn a_value_that_is_no_number_is_left_out_and_said() {
    let mut table = Table::default();
    table.add("mean_iou", f64::NAN, Some(0.5), 3);
    table.add("precision", 0.25, Some(f64::NAN), 3);
    assert_eq!(table.notes, ["mean_iou is NaN and was left out"]);
    assert_eq!(table.scores.keys().collect::<Vec<_>>(), ["precision"]);
    assert_eq!(table.scores["precision"].baseline, None);
}

#[test]
fn progress_comes_after_every_batch_and_broken_images_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write_images(folder.path());
    let sources = sources(&paths);
    let config = EvaluationConfig { batch_size: 1, ..Default::default() };
    let predictor = testing::predictor().unwrap();
    let evaluator = Evaluator {
        predictor: &predictor,
        alignment: Alignment::Offsets,
        config: &config,
        meteor: None,
    };
    let steps = RefCell::new(Vec::new());
    let progress = |p: Progress<'_>| steps.borrow_mut().push((p.task, p.done, p.total));
    let splits = [("test".to_string(), sources)];
    evaluator.evaluate(&splits, &[], &progress).unwrap();
    let expected: Vec<_> =
        testing::WITHOUT_BOXES.into_iter().flat_map(|task| [(task, 1, 2), (task, 2, 2)]).collect();
    assert_eq!(steps.into_inner(), expected);

    std::fs::write(&paths[1], []).unwrap();
    let error = evaluator.evaluate(&splits, &[], &|_| ()).unwrap_err();
    assert!(error.to_string().contains("b.png"), "{error}");
}

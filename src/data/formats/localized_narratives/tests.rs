use serde_json::{Value, json};

use super::super::Format;
use super::super::testing::{Folder, assert_skipped};
use super::*;
use crate::data::alignment::Alignment;
use crate::data::sample::{Sample, Task};
use crate::data::token_points::in_pixels;
use crate::error::Error;

const IMAGES: [&str; 2] = ["000000000007.png", "000000000008.jpg"];

fn narrative(image_id: &str, annotator_id: u32) -> Value {
    json!({
        "dataset_id": "mscoco_train2017",
        "image_id": image_id,
        "annotator_id": annotator_id,
        "caption": "A red circle, and a square.",
        "timed_caption": [
            {"utterance": "a red circle,", "start_time": 0.0, "end_time": 1.0},
            {"utterance": "and a square.", "start_time": 1.0, "end_time": 2.0},
        ],
        "traces": [
            [{"x": 0.25, "y": 0.125, "t": 0.0}],
            [{"x": 0.5, "y": 0.75, "t": 1.0}, {"x": 1.5, "y": 0.75, "t": 2.0}],
        ],
        "voice_recording": "…",
    })
}

fn load(lines: &[String]) -> Result<Loaded> {
    let text = lines.join("\n");
    Folder::new(&IMAGES).load(Format::LocalizedNarratives, Task::Narrate, &text)
}

#[test]
fn narratives_of_an_image_share_a_sample_in_the_order_of_the_file() {
    let lines = [("7", 1), ("8", 1), ("7", 2)];
    let Loaded { samples, skipped } =
        load(&lines.map(|(image, annotator)| narrative(image, annotator).to_string())).unwrap();
    assert!(skipped.is_empty(), "{skipped}");
    let found: Vec<_> =
        samples.iter().map(|s| (s.image_id.as_str(), s.rows.len(), s.task)).collect();
    assert_eq!(found, [("7", 2, Task::Narrate), ("8", 1, Task::Narrate)]);
    let file_name = |sample: &Sample| sample.image.file_name().unwrap().to_owned();
    assert_eq!(samples.iter().map(file_name).collect::<Vec<_>>(), IMAGES);
}

#[test]
fn utterances_have_their_bytes_of_the_caption_and_the_trace_clipped_to_the_image() {
    let loaded = load(&[narrative("7", 1).to_string()]).unwrap();
    let row = &loaded.samples[0].rows[0];
    assert_eq!((row.text.as_str(), row.region), ("A red circle, and a square.", None));
    let expected = [
        LocatedSpan { span: Some(0..13), bounds: BoundingBox::new(0.25, 0.125, 0.5, 0.75) },
        LocatedSpan { span: Some(14..27), bounds: BoundingBox::new(0.5, 0.75, 1.0, 0.75) },
    ];
    assert_eq!(row.locations, expected);
}

#[test]
fn utterances_are_found_from_left_to_right_between_words() {
    assert_eq!(find("grass and a man", "a", 0), Some(10..11));
    assert_eq!(find("a man, a dog", "a", 1), Some(7..8));
    assert_eq!(find("a man", "a dog", 0), None);
    assert_eq!(find("a man", "", 0), None);
    assert_eq!(find("Été à Paris", "à", 0), Some(6..8));
    assert_eq!(find("a man", "a", 9), None);
}

#[test]
fn each_damaged_line_is_skipped_for_its_reason_and_nothing_else_is() {
    type Damage = fn(&mut Value);
    let damages: [(Reason, Damage); 12] = [
        (Reason::BrokenRecord, |n| n["caption"] = json!(3)),
        (Reason::BrokenRecord, |n| {
            n.as_object_mut().unwrap().remove("traces");
        }),
        (Reason::UnsafePath, |n| n["image_id"] = json!("../../etc/passwd")),
        (Reason::UnsafePath, |n| n["image_id"] = json!("/etc/passwd")),
        (Reason::MissingImage, |n| n["image_id"] = json!("9")),
        (Reason::NoWords, |n| n["caption"] = json!(" … ")),
        (Reason::EmptyTrace, |n| n["traces"] = json!([])),
        (Reason::EmptyTrace, |n| n["traces"] = json!([[{"x": 0.1, "y": 0.1, "t": 0.5}]])),
        (Reason::BackwardTimes, |n| n["timed_caption"][0]["start_time"] = json!(1.5)),
        (Reason::NoUtterance, |n| n["timed_caption"] = json!([])),
        (Reason::NoUtterance, |n| {
            n["traces"] = json!([[{"x": -1, "y": 0, "t": 0}, {"x": -1, "y": 0, "t": 1}]]);
        }),
        (Reason::Duplicate, |n| *n = narrative("7", 1)),
    ];
    let mut lines = vec![narrative("7", 1).to_string(), String::new()];
    let mut expected = vec![(Reason::BrokenJson, 2)];
    for (index, (reason, damage)) in damages.into_iter().enumerate() {
        let mut damaged = narrative("7", 100 + index as u32);
        damage(&mut damaged);
        lines.push(damaged.to_string());
        match expected.iter_mut().find(|(of, _)| *of == reason) {
            Some((_, count)) => *count += 1,
            None => expected.push((reason, 1)),
        }
    }
    lines.push(narrative("7", 2).to_string()[..100].to_string());
    lines.push("NaN".to_string());
    lines.push(narrative("8", 1).to_string());
    let Loaded { samples, skipped } = load(&lines).unwrap();
    assert_skipped(&skipped, &expected);
    assert_eq!(samples.iter().map(|sample| sample.rows.len()).collect::<Vec<_>>(), [1, 1]);
    let duplicate = &skipped.examples(Reason::Duplicate)[0];
    assert_eq!((duplicate.place.as_str(), duplicate.line), ("annotations.json:14", Some(14)));
    assert!(skipped.to_string().contains("2 × empty trace (first: annotations.json:9: "));
}

#[test]
fn a_file_with_no_usable_line_is_an_error_with_the_reasons_and_the_first_line() {
    let mut missing = narrative("9", 1);
    let first = missing.to_string();
    missing["image_id"] = json!("10");
    let error = load(&["".to_string(), first, missing.to_string()]).unwrap_err();
    let Error::Format { line, problem, .. } = &error else { unreachable!("{error}") };
    assert_eq!(*line, Some(2));
    assert!(problem.contains("2 records skipped"), "{problem}");
    assert!(problem.contains("2 × missing image (first: annotations.json:2"), "{problem}");
}

#[test]
fn image_files_are_found_by_number_and_by_name() {
    assert_eq!(file_names("139")[0], "000000000139.jpg");
    let names = file_names("ADE_train_00000001");
    assert_eq!(names[0], "ADE_train_00000001.jpg");
    assert_eq!(file_names("1000092795")[3], "1000092795.jpg");
}

/// Vectors from the reference (`tests/golden/localized_narratives/README.md`).
#[derive(Deserialize)]
struct GoldenInputs {
    pad: i64,
    bos: i64,
    eos: i64,
    narratives: Vec<GoldenNarrative>,
}

#[derive(Deserialize)]
struct GoldenNarrative {
    caption: String,
    timed_caption: Vec<TimedUtterance>,
    traces: Vec<Vec<TracePoint>>,
    image_hw: [f32; 2],
}

#[derive(Deserialize)]
struct GoldenExpected {
    utterances: Vec<GoldenUtterance>,
    /// Per token, top-left and bottom-right `[x, y]` in pixels.
    corner_points: Vec<[[f32; 2]; 2]>,
    text_tokens: Vec<i64>,
}

#[derive(Deserialize)]
struct GoldenUtterance {
    integral_x: f64,
    integral_y: f64,
    min_x: f64,
    min_y: f64,
    max_x: f64,
    max_y: f64,
    sampled_x: Vec<f64>,
    sampled_y: Vec<f64>,
}

fn golden() -> (GoldenInputs, Vec<GoldenExpected>) {
    let inputs = include_str!("../../../../tests/golden/localized_narratives/inputs.json");
    let expected = include_str!("../../../../tests/golden/localized_narratives/expected.json");
    (serde_json::from_str(inputs).unwrap(), serde_json::from_str(expected).unwrap())
}

fn assert_all_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
    assert!(found.iter().zip(expected).all(near), "{found:?} is not {expected:?}");
}

#[test]
fn the_geometry_of_utterances_is_that_of_the_reference() {
    let (inputs, expected) = golden();
    let mut num_utterances = 0;
    for (narrative, expected) in inputs.narratives.iter().zip(expected) {
        let trace = Trace::new(&narrative.traces).unwrap();
        for (utterance, expected) in narrative.timed_caption.iter().zip(expected.utterances) {
            let during = trace.during(utterance.start_time, utterance.end_time);
            let axis = |axis: usize| during.samples.iter().map(|p| p[axis]).collect::<Vec<_>>();
            assert_all_near(&axis(0), &expected.sampled_x);
            assert_all_near(&axis(1), &expected.sampled_y);
            assert_all_near(&during.center, &[expected.integral_x, expected.integral_y]);
            let GoldenUtterance { min_x, min_y, max_x, max_y, .. } = expected;
            assert_all_near(&during.bounds, &[min_x, min_y, max_x, max_y]);
            num_utterances += 1;
        }
    }
    assert_eq!(num_utterances, 47);
}

#[test]
fn by_rank_the_box_of_every_token_is_that_of_the_reference() {
    let (inputs, expected) = golden();
    let special = [inputs.pad, inputs.bos, inputs.eos];
    for (narrative, expected) in inputs.narratives.iter().zip(expected) {
        let trace = Trace::new(&narrative.traces).unwrap();
        let locations = locate(&narrative.caption, &narrative.timed_caption, &trace).unwrap();
        let offset = |token: &i64| (!special.contains(token)).then_some(0..0);
        let offsets: Vec<_> = expected.text_tokens.iter().map(offset).collect();
        let boxes = Alignment::Rank.align(&locations, &offsets);
        let [height, width] = narrative.image_hw;
        let corners: Vec<_> = boxes
            .into_iter()
            .map(|bounds| {
                let BoundingBox { x0, y0, x1, y1 } = in_pixels(bounds, width, height);
                [[x0, y0], [x1, y1]]
            })
            .collect();
        assert_eq!(corners, expected.corner_points, "{}", narrative.caption);
    }
}

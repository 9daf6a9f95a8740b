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
    let Loaded { samples, skipped, .. } =
        load(&lines.map(|(image, annotator)| narrative(image, annotator).to_string())).unwrap();
    assert!(skipped.is_empty(), "{skipped}");
    let found: Vec<_> =
        samples.iter().map(|s| (s.image_id.as_str(), s.rows.len(), s.task)).collect();
    assert_eq!(found, [("7", 2, Task::Narrate), ("8", 1, Task::Narrate)]);
    let file_name = |sample: &Sample| sample.image.path.file_name().unwrap().to_owned();
    assert_eq!(samples.iter().map(file_name).collect::<Vec<_>>(), IMAGES);
}

#[test]
fn utterances_have_their_bytes_of_the_caption_and_the_trace_clipped_to_the_image() {
    let loaded = load(&[narrative("7", 1).to_string()]).unwrap();
    let row = &loaded.samples[0].rows[0];
    assert_eq!((row.text.as_str(), row.region), ("A red circle, and a square.", None));
    let expected = [
        (Some(0..13), BoundingBox::new(0.25, 0.125, 0.5, 0.75), Some([0.0, 1.0])),
        (Some(14..27), BoundingBox::new(0.5, 0.75, 1.0, 0.75), Some([1.0, 2.0])),
    ];
    let found = row.locations.iter().map(|l| (l.span.clone(), l.bounds, l.seconds));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(row.locations.iter().all(|location| location.points.is_empty()), "not asked for");
}

#[test]
fn to_describe_every_utterance_is_a_row_with_its_trace() {
    let folder = Folder::new(&IMAGES);
    let line = narrative("7", 1).to_string();
    let loaded = folder.load(Format::LocalizedNarratives, Task::Describe, &line).unwrap();
    let sample = &loaded.samples[0];
    assert_eq!(sample.task, Task::Describe);
    let texts: Vec<_> = sample.rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!(texts, ["A red circle", "and a square"]);
    for row in &sample.rows {
        let trace: Vec<Point> = row.trace().collect();
        assert_eq!(trace.len(), super::super::trace::NUM_SAMPLES);
        let bounds = crate::geometry::polyline::bounds(&trace).unwrap();
        assert_eq!(row.region, Some(bounds), "the box is that of the trace");
    }
    // From left to right, and on from there.
    let first: Vec<Point> = sample.rows[0].trace().collect();
    let second: Vec<Point> = sample.rows[1].trace().collect();
    assert!(first[0] != first[15] && first[15].x <= second[0].x);
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
    let Loaded { samples, skipped, .. } = load(&lines).unwrap();
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
    assert_eq!(file_names("139")[3..5], ["139.jpg", "139.png"]);
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
        let located = locate(&narrative.caption, &narrative.timed_caption, &trace, 0).unwrap();
        let locations = located.0;
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

fn read(folder: &Folder, trace_points: usize, text: &[u8]) -> Result<Loaded> {
    std::fs::write(folder.annotations(), text).unwrap();
    let (annotations, images) = (folder.annotations(), folder.images());
    let request = Request { trace_points, ..Request::new(&annotations, &images) };
    super::super::read(Format::LocalizedNarratives, Task::Narrate, &request)
}

#[test]
fn as_many_points_of_the_trace_are_kept_as_are_asked_for() {
    let text = narrative("7", 1).to_string();
    let loaded = read(&Folder::new(&IMAGES), 3, text.as_bytes()).unwrap();
    let points = |k: usize| -> Vec<[f32; 2]> {
        loaded.samples[0].rows[0].locations[k].points.iter().map(|p| [p.x, p.y]).collect()
    };
    assert_eq!(points(0), [[0.25, 0.125], [0.375, 0.4375], [0.5, 0.75]]);
    // The mouse leaves the image at the right.
    assert_eq!(points(1), [[0.5, 0.75], [1.0, 0.75], [1.0, 0.75]]);
}

#[test]
fn utterances_that_are_missing_or_go_back_in_time_are_noted_and_the_narrative_is_used() {
    let mut lines = Vec::new();
    for (annotator, utterance, begin) in
        [(1, "and a square.", 1.0), (2, "", 1.0), (3, "and a triangle.", 1.0), (4, "square.", -0.5)]
    {
        let mut said = narrative("7", annotator);
        said["timed_caption"][1]["utterance"] = json!(utterance);
        said["timed_caption"][1]["start_time"] = json!(begin);
        lines.push(said.to_string());
    }
    let loaded = load(&lines).unwrap();
    assert_eq!((loaded.samples[0].rows.len(), loaded.num_records), (4, 4));
    assert_eq!(loaded.skipped.count(), 0);
    let noted: Vec<_> = loaded.skipped.noted().collect();
    assert_eq!(noted, [(Reason::MissingUtterance, 2), (Reason::BackwardTimes, 1)]);
    let lines: Vec<_> = loaded.skipped.all_examples().map(|(_, e)| e.line.unwrap()).collect();
    assert_eq!(lines, [2, 3, 4]);
}

#[test]
fn windows_files_are_read_and_images_are_found_in_folders_below() {
    let folder = Folder::new(&[]);
    let below = folder.images().join("training/a/abbey");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("ADE_train_00000001.jpg"), "").unwrap();
    let line = narrative("ADE_train_00000001", 1).to_string();
    let text = format!("\u{feff}{line}\r\n\r\n");
    let loaded = read(&folder, 0, text.as_bytes()).unwrap();
    assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
    assert_eq!(loaded.samples[0].image, below.join("ADE_train_00000001.jpg").into());
}

#[test]
fn shards_are_read_one_after_the_other() {
    let folder = Folder::new(&IMAGES);
    for (shard, image) in [(0, "7"), (1, "8")] {
        let path = folder.root().join(format!("n-0000{shard}-of-00002.jsonl"));
        std::fs::write(path, format!("{}\nbroken\n", narrative(image, 1))).unwrap();
    }
    let (annotations, images) = (folder.root().join("n.jsonl"), folder.images());
    let loaded =
        super::super::load(Format::LocalizedNarratives, Task::Narrate, &annotations, &images)
            .unwrap();
    assert_eq!(loaded.samples.len(), 2);
    let places: Vec<_> =
        loaded.skipped.examples(Reason::BrokenJson).iter().map(|e| e.place.as_str()).collect();
    assert_eq!(places, ["n-00000-of-00002.jsonl:2", "n-00001-of-00002.jsonl:2"]);
}

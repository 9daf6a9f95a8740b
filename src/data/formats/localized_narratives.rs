//! Localized Narratives: captions spoken while a mouse pointed (`spec/data.md` §2).
//!
//! JSON Lines, one narrative a line. Every image becomes one [`Sample`] with a [`Row`] per narrative,
//! each utterance located by the trace during it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use super::Loaded;
use super::image_folder::ImageFolder;
use super::record::{self, Id};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::trace::{Trace, TracePoint};
use crate::data::sample::{LocatedSpan, Row, Sample, Task};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// Lines that are parsed at a time, on all cores. Memory stays bounded: a line has some 20 kB.
const LINES_AT_A_TIME: usize = 1024;

/// A line of the file; fields that are not used are left out.
#[derive(Debug, Deserialize)]
struct Line {
    image_id: Id,
    #[serde(default)]
    annotator_id: Option<Id>,
    caption: String,
    timed_caption: Vec<TimedUtterance>,
    traces: Vec<Vec<TracePoint>>,
}

#[derive(Debug, Deserialize)]
struct TimedUtterance {
    utterance: String,
    start_time: f64,
    end_time: f64,
}

/// A line that can be used, as far as the line alone can tell.
#[derive(Debug)]
struct Narrative {
    image_id: Id,
    annotator_id: Option<Id>,
    row: Row,
}

/// Reads the narratives of the images in the folder `images`.
pub(super) fn load(annotations: &Path, images: &Path) -> Result<Loaded> {
    let file = File::open(annotations).map_err(Error::io("open", annotations))?;
    let mut lines = NumberedLines { reader: BufReader::new(file), line: 0 };
    let mut gathered = Gathered::new(annotations, ImageFolder::open(images)?);
    loop {
        let chunk = lines.next_chunk().map_err(Error::io("read", annotations))?;
        if chunk.is_empty() {
            break;
        }
        let parsed: Vec<_> =
            chunk.into_par_iter().map(|(line, bytes)| (line, parse(&bytes))).collect();
        for (line, narrative) in parsed {
            gathered.add(line, narrative);
        }
    }
    let Gathered { samples, skipped, .. } = gathered;
    skipped.check_some_left(annotations, samples.len(), "narrative")?;
    Ok(Loaded { samples, skipped })
}

/// The lines of a file with their numbers from 1.
struct NumberedLines<R> {
    reader: R,
    line: usize,
}

impl<R: BufRead> NumberedLines<R> {
    /// The next lines that are not blank; none at the end of the file.
    fn next_chunk(&mut self) -> std::io::Result<Vec<(usize, Vec<u8>)>> {
        let mut chunk = Vec::new();
        while chunk.len() < LINES_AT_A_TIME {
            let mut bytes = Vec::new();
            if self.reader.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            self.line += 1;
            if !bytes.trim_ascii().is_empty() {
                chunk.push((self.line, bytes));
            }
        }
        Ok(chunk)
    }
}

/// Samples by image, in the order of the file.
struct Gathered<'a> {
    annotations: &'a Path,
    folder: ImageFolder,
    samples: Vec<Sample>,
    /// Where each image's sample is.
    sample_of: HashMap<Id, usize>,
    /// Image, annotator and caption of the narratives so far. (Several people narrate an image, and
    /// one may do so again; in the same words it is a copy of the line.)
    seen: HashSet<(Id, Option<Id>, String)>,
    skipped: Skipped,
}

impl<'a> Gathered<'a> {
    fn new(annotations: &'a Path, folder: ImageFolder) -> Self {
        Self {
            annotations,
            folder,
            samples: Vec::new(),
            sample_of: HashMap::new(),
            seen: HashSet::new(),
            skipped: Skipped::default(),
        }
    }

    fn add(&mut self, line: usize, narrative: Result<Narrative, Fault>) {
        if let Err(fault) = narrative.and_then(|narrative| self.add_narrative(narrative)) {
            self.skipped.add(Place::Line { path: self.annotations, line }, fault);
        }
    }

    fn add_narrative(&mut self, narrative: Narrative) -> Result<(), Fault> {
        let Narrative { image_id, annotator_id, row } = narrative;
        let identity = (image_id.clone(), annotator_id, row.text.clone());
        if self.seen.contains(&identity) {
            let message = format!("the narrative of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        let index = match self.sample_of.get(&image_id) {
            Some(&index) => index,
            None => {
                let image = self.folder.find(&file_names(&image_id))?;
                let (task, rows) = (Task::Narrate, Vec::new());
                self.samples.push(Sample { image, image_id: image_id.to_string(), task, rows });
                self.sample_of.insert(image_id, self.samples.len() - 1);
                self.samples.len() - 1
            }
        };
        self.samples[index].rows.push(row);
        self.seen.insert(identity);
        Ok(())
    }
}

/// What the file of an image may be called: COCO's twelve digits where the id is a number, else the
/// id as it is (Open Images, Flickr30k, ADE20K).
fn file_names(id: &Id) -> Vec<String> {
    let id = id.to_string();
    let mut stems = vec![id.clone()];
    if id.bytes().all(|byte| byte.is_ascii_digit()) {
        stems.insert(0, format!("{id:0>12}"));
    }
    let names =
        |stem: String| ["jpg", "png", "jpeg"].map(|extension| format!("{stem}.{extension}"));
    let mut names: Vec<_> = stems.into_iter().flat_map(names).collect();
    names.dedup();
    names
}

fn parse(bytes: &[u8]) -> Result<Narrative, Fault> {
    let line: Line = serde_json::from_slice(bytes.trim_ascii_end())
        .map_err(|error| record::json_fault(&error))?;
    record::check_has_words(&line.caption)?;
    let trace = Trace::new(&line.traces).ok_or_else(|| {
        let num_points: usize = line.traces.iter().map(Vec::len).sum();
        Fault::new(Reason::EmptyTrace, format!("the trace has {num_points} points"))
    })?;
    let locations = locate(&line.caption, &line.timed_caption, &trace)?;
    let row = Row { text: line.caption, locations, region: None };
    Ok(Narrative { image_id: line.image_id, annotator_id: line.annotator_id, row })
}

/// The valid utterances (`spec/data.md` §2.4, step 2), with their bytes of the caption and the box of
/// the trace during them.
fn locate(
    caption: &str,
    utterances: &[TimedUtterance],
    trace: &Trace,
) -> Result<Vec<LocatedSpan>, Fault> {
    let mut locations = Vec::new();
    let mut from = 0;
    for TimedUtterance { utterance, start_time, end_time } in utterances {
        if end_time < start_time {
            let message = format!("{utterance:?} ends at {end_time} s, begins at {start_time} s");
            return Err(Fault::new(Reason::BackwardTimes, message));
        }
        let text = utterance.trim();
        let span = find(caption, text, from);
        from = span.as_ref().map_or(from, |span| span.end);
        let during = trace.during(*start_time, *end_time);
        if !text.is_empty() && during.is_located() {
            let [x0, y0, x1, y1] = during.bounds.map(|v| v as f32);
            let bounds = BoundingBox::new(x0, y0, x1, y1).clip(1.0, 1.0);
            locations.push(LocatedSpan { span, bounds });
        }
    }
    if locations.is_empty() {
        let message = format!("none of {} utterances", utterances.len());
        return Err(Fault::new(Reason::NoUtterance, message));
    }
    Ok(locations)
}

/// The first place at or after byte `from` where the caption has `text`, not inside a word.
/// Transcripts may differ from captions in the case of ASCII letters.
fn find(caption: &str, text: &str, from: usize) -> Option<Range<usize>> {
    let first_word_break = |caption: &str, text: &str| {
        let rest = caption.get(from..)?;
        let mut matches = rest.match_indices(text).map(|(at, _)| from + at..from + at + text.len());
        matches.find(|span| !cuts_a_word(caption, span))
    };
    if text.is_empty() {
        return None;
    }
    first_word_break(caption, text)
        .or_else(|| first_word_break(&caption.to_ascii_lowercase(), &text.to_ascii_lowercase()))
}

/// Whether a word goes on across an end of the span.
fn cuts_a_word(text: &str, span: &Range<usize>) -> bool {
    let goes_on = |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at..].chars().next();
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
    };
    goes_on(span.start) || goes_on(span.end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Format;
    use super::super::testing::{Folder, assert_skipped};
    use super::*;
    use crate::data::alignment::Alignment;
    use crate::data::token_points::in_pixels;

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
        assert_eq!(file_names(&Id::Number(139))[0], "000000000139.jpg");
        let names = file_names(&Id::Text("ADE_train_00000001".to_string()));
        assert_eq!(names[0], "ADE_train_00000001.jpg");
        assert_eq!(file_names(&Id::Text("1000092795".to_string()))[3], "1000092795.jpg");
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
        let inputs = include_str!("../../../tests/golden/localized_narratives/inputs.json");
        let expected = include_str!("../../../tests/golden/localized_narratives/expected.json");
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
}

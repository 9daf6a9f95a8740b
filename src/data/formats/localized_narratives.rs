//! Localized Narratives: captions spoken while a mouse pointed (`spec/data.md` §2).
//!
//! JSON Lines, one narrative a line. Every image becomes one [`Sample`] with a [`Row`] per narrative,
//! each utterance located by the trace during it; or, for *describe*, with a row per utterance: the
//! trace is what is asked about, and the utterance what is to be said.

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
use crate::geometry::{BoundingBox, Point};

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
    caption: String,
    locations: Vec<LocatedSpan>,
}

impl Narrative {
    /// What it teaches.
    fn rows(self, task: Task) -> Vec<Row> {
        if task != Task::Describe {
            return vec![Row { text: self.caption, locations: self.locations, region: None }];
        }
        let of_utterance = |location: LocatedSpan| {
            let text = self.caption.get(location.span.clone()?)?.trim_matches(NOT_SAID);
            let region = Some(location.bounds);
            let has_words = text.chars().any(char::is_alphanumeric);
            has_words.then(|| Row { text: text.into(), locations: vec![location], region })
        };
        self.locations.into_iter().filter_map(of_utterance).collect()
    }
}

/// What may stand around the words of an utterance in a caption.
const NOT_SAID: [char; 5] = [' ', '.', ',', ';', ':'];

/// Reads the narratives of the images in the folder `images`.
pub(super) fn load(task: Task, annotations: &Path, images: &Path) -> Result<Loaded> {
    let file = File::open(annotations).map_err(Error::io("open", annotations))?;
    let mut lines = NumberedLines { reader: BufReader::new(file), line: 0 };
    let mut gathered = Gathered::new(task, annotations, ImageFolder::open(images)?);
    loop {
        let chunk = lines.next_chunk().map_err(Error::io("read", annotations))?;
        if chunk.is_empty() {
            break;
        }
        let parsed: Vec<_> =
            chunk.into_par_iter().map(|(line, bytes)| (line, parse(task, &bytes))).collect();
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
    task: Task,
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
    fn new(task: Task, annotations: &'a Path, folder: ImageFolder) -> Self {
        Self {
            task,
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
        let Narrative { image_id, annotator_id, caption, .. } = &narrative;
        let image_id = image_id.clone();
        let identity = (image_id.clone(), annotator_id.clone(), caption.clone());
        if self.seen.contains(&identity) {
            let message = format!("the narrative of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        let rows = narrative.rows(self.task);
        if rows.is_empty() {
            let message = "no utterance stands in the caption";
            return Err(Fault::new(Reason::NoUtterance, message));
        }
        let index = match self.sample_of.get(&image_id) {
            Some(&index) => index,
            None => {
                let image = self.folder.find(&file_names(&image_id))?;
                let (task, rows) = (self.task, Vec::new());
                self.samples.push(Sample { image, image_id: image_id.to_string(), task, rows });
                self.sample_of.insert(image_id, self.samples.len() - 1);
                self.samples.len() - 1
            }
        };
        self.samples[index].rows.extend(rows);
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

fn parse(task: Task, bytes: &[u8]) -> Result<Narrative, Fault> {
    let line: Line = serde_json::from_slice(bytes.trim_ascii_end())
        .map_err(|error| record::json_fault(&error))?;
    record::check_has_words(&line.caption)?;
    let trace = Trace::new(&line.traces).ok_or_else(|| {
        let num_points: usize = line.traces.iter().map(Vec::len).sum();
        Fault::new(Reason::EmptyTrace, format!("the trace has {num_points} points"))
    })?;
    let locations = locate(task, &line.caption, &line.timed_caption, &trace)?;
    let Line { image_id, annotator_id, caption, .. } = line;
    Ok(Narrative { image_id, annotator_id, caption, locations })
}

/// The valid utterances (`spec/data.md` §2.4, step 2), with their bytes of the caption and the box of
/// the trace during them; and with the trace itself, where it is to be described.
fn locate(
    task: Task,
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
            let samples = during.samples.iter().filter(|_| task == Task::Describe);
            let points = samples
                .map(|&[x, y]| Point { x: x.clamp(0.0, 1.0) as f32, y: y.clamp(0.0, 1.0) as f32 });
            locations.push(LocatedSpan { span, bounds, points: points.collect() });
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
mod tests;

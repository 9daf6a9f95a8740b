//! Localized Narratives: captions spoken while a mouse pointed (`spec/data.md` §2).
//!
//! JSON Lines, one narrative a line. Every image becomes one [`Sample`] with a [`Row`] per narrative,
//! each utterance located by the trace during it; or, for *describe*, with a row per utterance: the
//! trace is what is asked about, and the utterance what is to be said.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;

use super::image_folder::ImageFolder;
use super::phrase::find;
use super::record::{self, Id};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::trace::{NUM_SAMPLES, Trace, TracePoint};
use super::{Loaded, Request, shards};
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
    row: Row,
    /// What is wrong with it nonetheless.
    notes: Vec<Fault>,
}

/// What a line is about, and what there is of it.
type Parsed = (Option<Id>, Result<Narrative, Fault>);

/// What may stand around the words of an utterance in a caption.
const NOT_SAID: [char; 5] = [' ', '.', ',', ';', ':'];

/// Reads the narratives of the images in the folder `request.images`.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    // A trace that is to be described must be there.
    let trace_points = match task {
        Task::Describe => request.trace_points.max(NUM_SAMPLES),
        _ => request.trace_points,
    };
    let mut gathered = Gathered::new(task, request, ImageFolder::open(request.images)?);
    for path in shards::files(request.annotations)? {
        read_file(&path, trace_points, &mut gathered)?;
    }
    let Gathered { samples, skipped, num_records, .. } = gathered;
    Ok(Loaded { samples, skipped, num_records, ..Loaded::default() })
}

fn read_file(path: &Path, trace_points: usize, gathered: &mut Gathered) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut lines = NumberedLines { reader: BufReader::new(file), line: 0 };
    loop {
        let chunk = lines.next_chunk().map_err(Error::io("read", path))?;
        if chunk.is_empty() {
            return Ok(());
        }
        let parsed: Vec<_> = chunk
            .into_par_iter()
            .map(|(line, bytes)| (line, parse(&bytes, trace_points)))
            .collect();
        for (line, narrative) in parsed {
            gathered.add(path, line, narrative);
        }
    }
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
            if self.line == 1 {
                record::remove_byte_order_mark(&mut bytes);
            }
            if !bytes.trim_ascii().is_empty() {
                chunk.push((self.line, bytes));
            }
        }
        Ok(chunk)
    }
}

/// Samples by image, in the order of the files.
struct Gathered {
    task: Task,
    folder: ImageFolder,
    samples: Vec<Sample>,
    /// Where each image's sample is.
    sample_of: HashMap<Id, usize>,
    /// Image, annotator and caption of the narratives so far. (Several people narrate an image, and
    /// one may do so again; in the same words it is a copy of the line.)
    seen: HashSet<(Id, Option<Id>, String)>,
    skipped: Skipped,
    /// Lines, usable or not.
    num_records: usize,
}

impl Gathered {
    fn new(task: Task, request: &Request<'_>, folder: ImageFolder) -> Self {
        Self {
            task,
            folder,
            samples: Vec::new(),
            sample_of: HashMap::new(),
            seen: HashSet::new(),
            skipped: Skipped::keeping(request.examples),
            num_records: 0,
        }
    }

    fn add(&mut self, path: &Path, line: usize, (image_id, narrative): Parsed) {
        self.num_records += 1;
        let place = Place::Line { path, line, id: image_id.as_ref() };
        match narrative.and_then(|narrative| self.add_narrative(narrative)) {
            Ok(notes) => notes.into_iter().for_each(|note| self.skipped.note(place, note)),
            Err(fault) => self.skipped.add(place, fault),
        }
    }

    /// Adds a narrative, and gives back what is to be noted about it.
    fn add_narrative(&mut self, narrative: Narrative) -> Result<Vec<Fault>, Fault> {
        let Narrative { image_id, annotator_id, row, notes } = narrative;
        let identity = (image_id.clone(), annotator_id, row.text.clone());
        if self.seen.contains(&identity) {
            let message = format!("the narrative of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        let rows = rows(self.task, row);
        if rows.is_empty() {
            let message = "no utterance stands in the caption";
            return Err(Fault::new(Reason::NoUtterance, message));
        }
        let index = match self.sample_of.get(&image_id) {
            Some(&index) => index,
            None => {
                let image = self.folder.find_below(&file_names(&image_id))?.into();
                let (task, image_id_text) = (self.task, image_id.to_string());
                let rows = Vec::new();
                self.samples.push(Sample { image, image_id: image_id_text, task, rows });
                self.sample_of.insert(image_id, self.samples.len() - 1);
                self.samples.len() - 1
            }
        };
        self.samples[index].rows.extend(rows);
        self.seen.insert(identity);
        Ok(notes)
    }
}

/// What a narrative teaches.
fn rows(task: Task, narrative: Row) -> Vec<Row> {
    if task != Task::Describe {
        return vec![narrative];
    }
    let of_utterance = |location: LocatedSpan| {
        let text = narrative.text.get(location.span.clone()?)?.trim_matches(NOT_SAID);
        let has_words = text.chars().any(char::is_alphanumeric);
        let row = Row::of_region(text, location.bounds);
        has_words.then(|| Row { locations: vec![location], ..row })
    };
    narrative.locations.into_iter().filter_map(of_utterance).collect()
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

fn parse(bytes: &[u8], trace_points: usize) -> Parsed {
    let line: Line = match serde_json::from_slice(bytes.trim_ascii_end()) {
        Ok(line) => line,
        Err(error) => return (record::image_id(bytes), Err(record::json_fault(&error))),
    };
    let image_id = line.image_id.clone();
    (Some(image_id), narrative(line, trace_points))
}

fn narrative(line: Line, trace_points: usize) -> Result<Narrative, Fault> {
    record::check_has_words(&line.caption)?;
    let trace = Trace::new(&line.traces).ok_or_else(|| {
        let num_points: usize = line.traces.iter().map(Vec::len).sum();
        Fault::new(Reason::EmptyTrace, format!("the trace has {num_points} points"))
    })?;
    let (locations, notes) = locate(&line.caption, &line.timed_caption, &trace, trace_points)?;
    let row = Row { locations, ..Row::of_image(line.caption) };
    Ok(Narrative { image_id: line.image_id, annotator_id: line.annotator_id, row, notes })
}

/// The valid utterances (`spec/data.md` §2.4, step 2), with their bytes of the caption, the box of the
/// trace during them and `trace_points` points of it; and what is to be noted.
fn locate(
    caption: &str,
    utterances: &[TimedUtterance],
    trace: &Trace,
    trace_points: usize,
) -> Result<(Vec<LocatedSpan>, Vec<Fault>), Fault> {
    let (mut locations, mut notes) = (Vec::new(), Notes::default());
    let mut from = 0;
    for said in utterances {
        notes.check_order(said)?;
        let text = said.utterance.trim();
        let span = find(caption, text, from);
        from = span.as_ref().map_or(from, |span| span.end);
        notes.check_words(text, span.is_some());
        let during = trace.during(said.start_time, said.end_time);
        if !text.is_empty() && during.is_located() {
            let [x0, y0, x1, y1] = during.bounds.map(|v| v as f32);
            let bounds = BoundingBox::new(x0, y0, x1, y1).clip(1.0, 1.0);
            let seconds = Some([said.start_time as f32, said.end_time as f32]);
            let points = points(trace, said, trace_points);
            locations.push(LocatedSpan { span, bounds, seconds, points });
        }
    }
    if locations.is_empty() {
        let message = format!("none of {} utterances", utterances.len());
        return Err(Fault::new(Reason::NoUtterance, message));
    }
    Ok((locations, notes.faults))
}

/// Where the trace was at `count` equally spaced moments of an utterance, clipped to the image.
fn points(trace: &Trace, said: &TimedUtterance, count: usize) -> Vec<Point> {
    if count == 0 {
        return Vec::new();
    }
    let samples = trace.sample(said.start_time, said.end_time, count).samples;
    let inside = |v: f64| v.clamp(0.0, 1.0) as f32;
    samples.into_iter().map(|[x, y]| Point { x: inside(x), y: inside(y) }).collect()
}

/// What is amiss with the utterances of a narrative that can be used; each thing once.
#[derive(Default)]
struct Notes<'a> {
    faults: Vec<Fault>,
    before: Option<&'a TimedUtterance>,
}

impl<'a> Notes<'a> {
    /// An utterance that ends before it begins has no place. One that begins before the one before it
    /// has, but the order of the list is then not that of time.
    fn check_order(&mut self, said: &'a TimedUtterance) -> Result<(), Fault> {
        let TimedUtterance { utterance, start_time, end_time } = said;
        if end_time < start_time {
            let message = format!("{utterance:?} ends at {end_time} s, begins at {start_time} s");
            return Err(Fault::new(Reason::BackwardTimes, message));
        }
        if let Some(before) = self.before.replace(said).filter(|b| *start_time < b.start_time) {
            let message = format!(
                "{utterance:?} begins at {start_time} s, {:?} before it at {} s",
                before.utterance, before.start_time
            );
            self.add(Fault::new(Reason::BackwardTimes, message));
        }
        Ok(())
    }

    fn check_words(&mut self, text: &str, is_in_caption: bool) {
        if text.is_empty() {
            self.add(Fault::new(Reason::MissingUtterance, "an utterance is empty"));
        } else if !is_in_caption {
            let message = format!("{text:?} is not in the caption, or not in this order");
            self.add(Fault::new(Reason::MissingUtterance, message));
        }
    }

    fn add(&mut self, fault: Fault) {
        if self.faults.iter().all(|known| known.reason != fault.reason) {
            self.faults.push(fault);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

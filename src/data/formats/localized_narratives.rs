//! Localized Narratives: captions spoken while a mouse pointed (`spec/data.md` §2).
//!
//! JSON Lines, one narrative a line. Every image becomes one [`Sample`] with a [`Row`] per narrative,
//! each utterance located by the trace during it; or, for *describe*, with a row per utterance: the
//! trace is what is asked about, and the utterance what is to be said.

mod index;

use rayon::prelude::*;
use serde::Deserialize;

pub(super) use self::index::Indexed;
pub use self::index::NarrativeIndex;
use super::phrase::find;
use super::record::{self, Id};
use super::skipped::{Fault, Reason};
use super::trace::{NUM_SAMPLES, Trace, TracePoint};
use super::{Loaded, Request};
use crate::data::sample::{LocatedSpan, Row, Sample, Task};
use crate::error::Result;
use crate::geometry::{BoundingBox, Point};

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
    /// What is wrong with it nonetheless.
    notes: Vec<Fault>,
}

impl Narrative {
    /// What it teaches.
    fn rows(self, task: Task) -> Vec<Row> {
        if task != Task::Describe {
            return vec![self.row()];
        }
        let of_utterance = |location: LocatedSpan| {
            let text = self.caption.get(location.span.clone()?)?.trim_matches(NOT_SAID);
            let has_words = text.chars().any(char::is_alphanumeric);
            let row = Row::of_region(text, location.bounds);
            has_words.then(|| Row { locations: vec![location], ..row })
        };
        self.locations.into_iter().filter_map(of_utterance).collect()
    }

    /// The whole narrative.
    fn row(self) -> Row {
        Row { locations: self.locations, ..Row::of_image(self.caption) }
    }
}

/// What may stand around the words of an utterance in a caption.
const NOT_SAID: [char; 5] = [' ', '.', ',', ';', ':'];

/// A line that cannot be used.
#[derive(Debug)]
struct Refused {
    /// What the line is about, where it says so.
    image_id: Option<Id>,
    fault: Fault,
}

/// Reads the narratives of the images in the folder `request.images`, all of them into memory. To
/// describe, every utterance is a row with its trace.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let trace_points = if task == Task::Describe { NUM_SAMPLES } else { request.trace_points };
    let request = Request { trace_points, ..*request };
    let Indexed { index, skipped, num_records } = NarrativeIndex::open(task, &request)?;
    let images = (0..index.len()).into_par_iter();
    let samples: Vec<Result<Sample>> = images.map(|image| index.sample(image)).collect();
    let samples = samples.into_iter().collect::<Result<_>>()?;
    Ok(Loaded { samples, skipped, num_records, ..Loaded::default() })
}

/// What the file of an image may be called: COCO's twelve digits where the id is a number, else the
/// id as it is (Open Images, Flickr30k, ADE20K).
fn file_names(id: &str) -> Vec<String> {
    let mut stems = vec![id.to_string()];
    if id.bytes().all(|byte| byte.is_ascii_digit()) {
        stems.insert(0, format!("{id:0>12}"));
    }
    let names =
        |stem: String| ["jpg", "png", "jpeg"].map(|extension| format!("{stem}.{extension}"));
    let mut names: Vec<_> = stems.into_iter().flat_map(names).collect();
    names.dedup();
    names
}

fn parse(bytes: &[u8], trace_points: usize) -> Result<Narrative, Refused> {
    let line: Line = serde_json::from_slice(bytes.trim_ascii_end()).map_err(|error| Refused {
        image_id: record::image_id(bytes),
        fault: record::json_fault(&error),
    })?;
    match located(&line, trace_points) {
        Ok((locations, notes)) => {
            let Line { image_id, annotator_id, caption, .. } = line;
            Ok(Narrative { image_id, annotator_id, caption, locations, notes })
        }
        Err(fault) => Err(Refused { image_id: Some(line.image_id), fault }),
    }
}

/// What is where in a line, and what is to be noted.
type Located = (Vec<LocatedSpan>, Vec<Fault>);

fn located(line: &Line, trace_points: usize) -> Result<Located, Fault> {
    record::check_has_words(&line.caption)?;
    let trace = Trace::new(&line.traces).ok_or_else(|| {
        let num_points: usize = line.traces.iter().map(Vec::len).sum();
        Fault::new(Reason::EmptyTrace, format!("the trace has {num_points} points"))
    })?;
    locate(&line.caption, &line.timed_caption, &trace, trace_points)
}

/// The valid utterances (`spec/data.md` §2.4, step 2), with their bytes of the caption, the box of the
/// trace during them and `trace_points` points of it; and what is to be noted.
fn locate(
    caption: &str,
    utterances: &[TimedUtterance],
    trace: &Trace,
    trace_points: usize,
) -> Result<Located, Fault> {
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

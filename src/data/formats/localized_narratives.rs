//! Localized Narratives: captions spoken while a mouse pointed (`spec/data.md` §2).
//!
//! JSON Lines, one narrative a line. Every image becomes one [`Sample`] with a [`Row`] per narrative,
//! each utterance located by the trace during it.

mod index;

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

pub use self::index::NarrativeIndex;
use super::Loaded;
use super::record::{self, Id};
use super::skipped::{Fault, Reason};
use super::trace::{Trace, TracePoint};
use crate::data::sample::{LocatedSpan, Row};
use crate::error::Result;
use crate::geometry::BoundingBox;

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

/// Reads the narratives of the images in the folder `images`, all of them into memory.
pub(super) fn load(annotations: &Path, images: &Path) -> Result<Loaded> {
    let (index, skipped) = NarrativeIndex::open(annotations, images)?;
    let samples: Result<_> = (0..index.len()).map(|image| index.sample(image)).collect();
    Ok(Loaded { samples: samples?, skipped })
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
mod tests;

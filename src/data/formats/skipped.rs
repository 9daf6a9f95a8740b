//! [`Skipped`]: what a reader left out, so that nothing is left out in silence.

mod reason;

use std::fmt;
use std::path::{Path, PathBuf};

pub(super) use self::reason::Fault;
pub use self::reason::Reason;
use super::record::Id;
use crate::error::{Error, Result};

/// How many examples are kept of each reason, unless more are asked for.
pub(super) const FEW_EXAMPLES: usize = 3;

/// The first of the records that something befell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// `file:line`, or the file and the record's id.
    pub place: String,
    /// The file.
    pub file: PathBuf,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// Line in the file, counted from 1, where the format has lines.
    pub line: Option<usize>,
    /// The particulars.
    pub message: String,
}

/// A count with its first few examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    count: usize,
    examples: Vec<Example>,
}

/// Counts in the order in which their reasons came up.
type Tallies = Vec<(Reason, Tally)>;

fn add(tallies: &mut Tallies, reason: Reason, example: Example, max_examples: usize) {
    let index = tallies.iter().position(|(of, _)| *of == reason).unwrap_or_else(|| {
        tallies.push((reason, Tally::default()));
        tallies.len() - 1
    });
    let tally = &mut tallies[index].1;
    tally.count += 1;
    if tally.examples.len() < max_examples {
        tally.examples.push(example);
    }
}

/// What was left out, by reason, with the first few examples; and what was used although something
/// is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    reasons: Tallies,
    /// Of records that are used.
    noted: Tallies,
    max_examples: usize,
}

impl Default for Skipped {
    fn default() -> Self {
        Self::keeping(FEW_EXAMPLES)
    }
}

impl Skipped {
    /// Nothing yet; the first `max_examples` of each reason will be kept.
    pub(super) fn keeping(max_examples: usize) -> Self {
        Self { reasons: Vec::new(), noted: Vec::new(), max_examples }
    }

    /// Records that are not used.
    pub fn count(&self) -> usize {
        self.reasons.iter().map(|(_, tally)| tally.count).sum()
    }

    /// Records that are not used for this reason.
    pub fn count_of(&self, reason: Reason) -> usize {
        self.tally(reason).map_or(0, |tally| tally.count)
    }

    /// Boxes that reached more than a pixel out of their image, and of which the part inside is used.
    pub fn clipped(&self) -> usize {
        self.noted().find(|(of, _)| *of == Reason::ClippedBox).map_or(0, |(_, count)| count)
    }

    /// Whether there is nothing to report: no record skipped, no box clipped, nothing amiss.
    pub fn is_empty(&self) -> bool {
        self.reasons.is_empty() && self.noted.is_empty()
    }

    /// What is wrong with records that are used nonetheless, with how many it befell.
    pub fn noted(&self) -> impl Iterator<Item = (Reason, usize)> {
        self.noted.iter().map(|(reason, tally)| (*reason, tally.count))
    }

    /// Every example that was kept, of records that are not used and of those that are.
    pub fn all_examples(&self) -> impl Iterator<Item = (Reason, &Example)> {
        let tallies = self.reasons.iter().chain(&self.noted);
        tallies.flat_map(|(reason, tally)| tally.examples.iter().map(|e| (*reason, e)))
    }

    /// The reasons that came up, in that order, with how many records each befell.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, usize)> {
        self.reasons.iter().map(|(reason, tally)| (*reason, tally.count))
    }

    /// The first few records skipped for this reason.
    pub fn examples(&self, reason: Reason) -> &[Example] {
        self.tally(reason).map_or(&[], |tally| &tally.examples)
    }

    fn tally(&self, reason: Reason) -> Option<&Tally> {
        self.reasons.iter().find(|(of, _)| *of == reason).map(|(_, tally)| tally)
    }

    /// Notes a record that is not used.
    pub(super) fn add(&mut self, place: Place<'_>, fault: Fault) {
        let Fault { reason, message } = fault;
        add(&mut self.reasons, reason, place.example(message), self.max_examples);
    }

    /// Notes a record that is used although something is wrong with it.
    pub(super) fn note(&mut self, place: Place<'_>, fault: Fault) {
        let Fault { reason, message } = fault;
        add(&mut self.noted, reason, place.example(message), self.max_examples);
    }

    /// Fails where `num_used` is 0: a dataset of which nothing is left is a mistake.
    pub(super) fn check_some_left(&self, path: &Path, num_used: usize, what: &str) -> Result<()> {
        if num_used > 0 {
            return Ok(());
        }
        let problem = if self.count() == 0 {
            format!("there is no {what} in the file")
        } else {
            format!("no {what} can be used\n{self}")
        };
        let first = self.reasons.first().and_then(|(_, tally)| tally.examples.first());
        Err(Error::Format {
            path: path.to_path_buf(),
            line: first.and_then(|example| example.line),
            problem,
            help: "Check that the file is of the stated format and that the image folder belongs \
                   to it."
                .to_string(),
        })
    }
}

impl fmt::Display for Skipped {
    /// A few lines without a final newline; nothing where nothing was skipped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.count() > 0 {
            write!(f, "{} skipped:", counted(self.count(), "record"))?;
            for (reason, tally) in &self.reasons {
                write!(f, "\n  {} × {}", tally.count, reason.name())?;
                write_first(f, tally)?;
            }
            separator = "\n";
        }
        for (reason, tally) in &self.noted {
            match reason {
                Reason::ClippedBox => {
                    let boxes = counted(tally.count, "box");
                    write!(f, "{separator}{boxes} clipped to the image")?;
                }
                reason => write!(f, "{separator}{} × {}, used", tally.count, reason.name())?,
            }
            write_first(f, tally)?;
            separator = "\n";
        }
        Ok(())
    }
}

fn write_first(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    match tally.examples.first() {
        Some(Example { place, message, .. }) if message.is_empty() => {
            write!(f, " (first: {place})")
        }
        Some(Example { place, message, .. }) => write!(f, " (first: {place}: {message})"),
        None => Ok(()),
    }
}

fn counted(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, noun) => format!("1 {noun}"),
        (count, "box") => format!("{count} boxes"),
        (count, noun) => format!("{count} {noun}s"),
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// A line, from 1, of a file of lines.
    Line {
        path: &'a Path,
        line: usize,
        /// What the line is about, where it says so.
        id: Option<&'a Id>,
    },
    /// A record of a document.
    Record {
        path: &'a Path,
        /// "image", "annotation", …
        kind: &'static str,
        /// Its id where it has one.
        id: Option<&'a Id>,
        /// Its index among the records of its kind, from 0.
        index: usize,
    },
}

impl Place<'_> {
    fn example(self, message: String) -> Example {
        let (place, path, line, id) = match self {
            Self::Line { path, line, id } => {
                (format!("{}:{line}", file_name(path)), path, Some(line), id)
            }
            Self::Record { path, kind, id: Some(id), .. } => {
                (format!("{}: {kind} {id}", file_name(path)), path, None, Some(id))
            }
            Self::Record { path, kind, id: None, index } => {
                (format!("{}: {kind}s[{index}]", file_name(path)), path, None, None)
            }
        };
        let (file, id) = (path.to_path_buf(), id.map(Id::to_string));
        Example { place, file, id, line, message }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_report_counts_by_reason_and_shows_the_first_of_each() {
        let mut skipped = Skipped::default();
        assert_eq!((skipped.is_empty(), skipped.to_string().as_str()), (true, ""));
        let path = Path::new("annotations/narratives.jsonl");
        let line = |line| Place::Line { path, line, id: None };
        for at in [14, 20] {
            skipped.add(line(at), Fault::new(Reason::EmptyTrace, format!("{at} points")));
        }
        let index = 3;
        let record = Place::Record { path, kind: "image", id: None, index };
        skipped.add(record, Fault::new(Reason::Crowd, ""));
        skipped.note(line(30), Fault::new(Reason::ClippedBox, "by 2 pixels"));
        let expected = "3 records skipped:\
            \n  2 × empty trace (first: narratives.jsonl:14: 14 points)\
            \n  1 × crowd region (first: narratives.jsonl: images[3])\
            \n1 box clipped to the image (first: narratives.jsonl:30: by 2 pixels)";
        assert_eq!(skipped.to_string(), expected);
        assert_eq!((skipped.count(), skipped.clipped(), skipped.is_empty()), (3, 1, false));
        assert_eq!(skipped.count_of(Reason::EmptyTrace), 2);
    }

    #[test]
    fn only_the_first_few_examples_are_kept() {
        let mut skipped = Skipped::default();
        for line in 1..=100 {
            let place = Place::Line { path: Path::new("a"), line, id: None };
            skipped.add(place, Fault::new(Reason::BrokenJson, ""));
        }
        let lines: Vec<_> =
            skipped.examples(Reason::BrokenJson).iter().map(|e| e.line.unwrap()).collect();
        assert_eq!((skipped.count(), lines), (100, vec![1, 2, 3]));
        assert!(skipped.examples(Reason::Crowd).is_empty());
    }
}

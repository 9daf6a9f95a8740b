//! TFRecords that the reference's tools write (`spec/data.md` §2.3, §4.1, §5, §6). Which of the four
//! kinds a record is, its features tell; its image is in it.

mod example;
mod framing;

use std::collections::HashSet;
use std::path::Path;

use self::example::Example;
use self::framing::{Next, Records};
use super::gathered::Gathered;
use super::phrase::find;
use super::record::{self, Id};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, llava, shards};
use crate::data::sample::{FilePart, ImageFile, LocatedSpan, Row, Task};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// What a user can do about a file that is no TFRecord.
const HELP: &str = "Give TFRecords of the reference's tools, not compressed.";

/// Reads records for a task. A record of another kind is skipped.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let mut reader = Reader {
        task,
        gathered: Gathered::new(task),
        skipped: Skipped::keeping(request.examples),
        seen: HashSet::new(),
        num_records: 0,
    };
    for path in shards::files(request.annotations)? {
        reader.file(&path)?;
    }
    // A shard may be empty.
    if reader.num_records == 0 {
        return Err(Error::format(request.annotations, "the file is empty", HELP));
    }
    let Reader { gathered, skipped, num_records, .. } = reader;
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

/// What the first sound record is for.
pub(super) fn first_task(request: &Request<'_>) -> Result<Task> {
    for path in shards::files(request.annotations)? {
        let mut records = Records::open(&path)?;
        loop {
            match records.next().map_err(Error::io("read", &path))? {
                Next::Record(record, _) => {
                    let kind = Example::parse(&record).ok().as_ref().and_then(kind_of);
                    if let Some(kind) = kind {
                        return Ok(kind.tasks()[0]);
                    }
                }
                Next::WrongChecksum => {}
                Next::Broken(_) | Next::End => break,
            }
        }
    }
    // Whatever the task: reading then says what is wrong.
    Ok(Task::Narrate)
}

struct Reader {
    task: Task,
    gathered: Gathered,
    skipped: Skipped,
    /// Image and texts of the records so far.
    seen: HashSet<(String, Vec<String>)>,
    num_records: usize,
}

/// A record, ready to be gathered.
struct Found {
    image: ImageFile,
    image_id: String,
    rows: Vec<Row>,
}

impl Reader {
    fn file(&mut self, path: &Path) -> Result<()> {
        let mut records = Records::open(path)?;
        for index in 0.. {
            let place = Place::Record { path, kind: "record", id: None, index };
            let next = records.next().map_err(Error::io("read", path))?;
            match next {
                Next::End => break,
                Next::Broken(problem) if index == 0 => {
                    return Err(Error::format(path, problem, HELP));
                }
                Next::Broken(problem) => {
                    let message = format!("{problem}; the rest of the file is not read");
                    self.skipped.add(place, Fault::new(Reason::BrokenFile, message));
                    break;
                }
                Next::WrongChecksum => {
                    self.num_records += 1;
                    let message = "the record is damaged";
                    self.skipped.add(place, Fault::new(Reason::WrongChecksum, message));
                }
                Next::Record(record, offset) => {
                    self.num_records += 1;
                    self.add(path, index, &record, offset);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, index: usize, record: &[u8], offset: u64) {
        let example =
            Example::parse(record).map_err(|problem| Fault::new(Reason::BrokenRecord, problem));
        let kind = example.as_ref().ok().and_then(kind_of);
        let id = example.as_ref().ok().zip(kind).and_then(|(e, kind)| e.id(kind.id_feature()));
        let known = id.clone().map(Id::Text);
        let place = Place::Record { path, kind: "record", id: known.as_ref(), index };
        let found = example.and_then(|example| {
            let kind = kind.ok_or_else(|| {
                let message = "not a narrative, expressions, regions or a conversation";
                Fault::new(Reason::BrokenRecord, message)
            })?;
            self.rows(kind, &example, place).and_then(|rows| {
                let broken = |problem| Fault::new(Reason::BrokenRecord, problem);
                let part = example.image(kind.image_feature()).map_err(broken)?;
                let length = part.len() as u64;
                let part = FilePart { offset: offset + part.start as u64, length };
                let image = ImageFile { path: path.to_path_buf(), part: Some(part) };
                Ok(Found { image, image_id: id.clone().unwrap_or_else(|| index.to_string()), rows })
            })
        });
        if let Err(fault) = found.and_then(|found| self.gather(found)) {
            self.skipped.add(place, fault);
        }
    }

    fn gather(&mut self, found: Found) -> Result<(), Fault> {
        let Found { image, image_id, rows } = found;
        let texts = rows.iter().map(|row| row.text.clone()).collect();
        if !self.seen.insert((image_id.clone(), texts)) {
            let message = format!("the record of image {image_id} stands above already");
            return Err(Fault::new(Reason::Duplicate, message));
        }
        self.gathered.add(image, &image_id, rows);
        Ok(())
    }

    /// The rows of a record for the task.
    fn rows(
        &mut self,
        kind: Kind,
        example: &Example<'_>,
        place: Place<'_>,
    ) -> Result<Vec<Row>, Fault> {
        if !kind.tasks().contains(&self.task) {
            let message = format!("{} cannot serve {}", kind.name(), self.task.name());
            return Err(Fault::new(Reason::BrokenRecord, message));
        }
        let skipped = &mut self.skipped;
        let rows = match kind {
            Kind::Narratives => narratives(example, |fault| skipped.add(place, fault)),
            Kind::Expressions => expressions(example, |fault| skipped.add(place, fault)),
            Kind::Regions => regions(example, |fault| skipped.add(place, fault)),
            Kind::Conversation => conversation(example, |fault| skipped.add(place, fault)),
        };
        rows.map_err(|problem| Fault::new(Reason::BrokenRecord, problem))
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Narratives,
    Expressions,
    Regions,
    Conversation,
}

fn kind_of(example: &Example<'_>) -> Option<Kind> {
    let kinds = [
        ("caption/string", Kind::Narratives),
        ("objects/bbox", Kind::Expressions),
        ("regions/bbox", Kind::Regions),
        ("conversations/human", Kind::Conversation),
    ];
    kinds.into_iter().find(|(name, _)| example.has(name)).map(|(_, kind)| kind)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Narratives => "a record of narratives",
            Self::Expressions => "a record of expressions",
            Self::Regions => "a record of regions",
            Self::Conversation => "a record of a conversation",
        }
    }

    fn tasks(self) -> &'static [Task] {
        match self {
            Self::Narratives | Self::Conversation => &[Task::Narrate],
            Self::Expressions => &[Task::Locate, Task::Describe],
            Self::Regions => &[Task::Locate, Task::Describe, Task::Detect],
        }
    }

    fn image_feature(self) -> &'static str {
        match self {
            Self::Narratives | Self::Conversation => "image/encoded",
            Self::Expressions | Self::Regions => "image",
        }
    }

    fn id_feature(self) -> &'static str {
        match self {
            Self::Regions => "img_id",
            _ => "image/id",
        }
    }
}

/// A row per narrative; its utterances have the boxes that were made of the trace.
fn narratives(example: &Example<'_>, mut skip: impl FnMut(Fault)) -> Result<Vec<Row>, String> {
    let captions = example.texts("caption/string")?;
    let centers = example.float_lists("caption/center")?;
    let boxes = example.float_lists("caption/bbox")?;
    let utterances = example.text_lists("caption/utterance")?;
    let counts = [centers.len(), boxes.len(), utterances.len()];
    if counts != [captions.len(); 3] {
        return Err(format!(
            "{} captions have {counts:?} centres, boxes, utterances",
            captions.len()
        ));
    }
    let mut rows = Vec::new();
    for (k, caption) in captions.into_iter().enumerate() {
        let (centers, boxes) = (centers[k].as_chunks::<2>().0, boxes[k].as_chunks::<4>().0);
        let said = &utterances[k];
        if [centers.len(), boxes.len()] != [said.len(); 2] {
            let message = format!(
                "{} utterances have {} centres and {} boxes",
                said.len(),
                centers.len(),
                boxes.len()
            );
            return Err(message);
        }
        let mut locations = Vec::new();
        let mut from = 0;
        for ((text, center), bounds) in said.iter().zip(centers).zip(boxes) {
            let text = text.trim();
            let span = find(caption, text, from);
            from = span.as_ref().map_or(from, |span| span.end);
            // `spec/data.md` §2.4, step 2.
            if !text.is_empty() && center.iter().all(|v| *v > 1e-5) {
                let [x0, y0, x1, y1] = *bounds;
                let bounds = BoundingBox::new(x0, y0, x1, y1).clip(1.0, 1.0);
                locations.push(LocatedSpan::new(span, bounds));
            }
        }
        match record::check_has_words(caption) {
            Err(fault) => skip(fault),
            Ok(()) if locations.is_empty() => {
                skip(Fault::new(Reason::NoUtterance, format!("none of {} utterances", said.len())));
            }
            Ok(()) => rows.push(Row { locations, ..Row::of_image(caption) }),
        }
    }
    Ok(rows)
}

/// A row per expression; objects have several.
fn expressions(example: &Example<'_>, mut skip: impl FnMut(Fault)) -> Result<Vec<Row>, String> {
    let boxes = example.floats("objects/bbox")?.as_chunks::<4>().0;
    let counts = example.integers("objects/refexp/sent/ragged_row_lengths_0")?;
    let texts = example.texts("objects/refexp/sent/ragged_flat_values")?;
    if counts.len() != boxes.len() {
        return Err(format!("{} boxes have {} lists of expressions", boxes.len(), counts.len()));
    }
    let (mut rows, mut rest) = (Vec::new(), texts.as_slice());
    for (bounds, &count) in boxes.iter().zip(counts) {
        let split = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
        let (texts, after) = split.ok_or("there are fewer expressions than objects say")?;
        rest = after;
        texts.iter().for_each(|text| add_region(text, *bounds, &mut rows, &mut skip));
    }
    match rest {
        [] => Ok(rows),
        _ => Err("there are more expressions than objects say".to_string()),
    }
}

/// A row per region.
fn regions(example: &Example<'_>, mut skip: impl FnMut(Fault)) -> Result<Vec<Row>, String> {
    let boxes = example.floats("regions/bbox")?.as_chunks::<4>().0;
    let texts = example.texts("regions/phrase")?;
    if texts.len() != boxes.len() {
        return Err(format!("{} boxes have {} phrases", boxes.len(), texts.len()));
    }
    let mut rows = Vec::new();
    for (bounds, text) in boxes.iter().zip(texts) {
        add_region(text, *bounds, &mut rows, &mut skip);
    }
    Ok(rows)
}

/// `yxyx`: normalised, the top first.
fn add_region(text: &str, yxyx: [f32; 4], rows: &mut Vec<Row>, skip: &mut impl FnMut(Fault)) {
    let [y0, x0, y1, x1] = yxyx;
    let shown = || format!("bbox {yxyx:?}, top first, of the image");
    let clipped = BoundingBox::new(x0, y0, x1, y1).clip(1.0, 1.0);
    let checked = if yxyx.iter().any(|v| !v.is_finite()) {
        Err(Fault::new(Reason::BrokenBox, shown()))
    } else if x1 <= x0 || y1 <= y0 {
        Err(Fault::new(Reason::EmptyBox, shown()))
    } else if !clipped.is_valid() {
        Err(Fault::new(Reason::BoxOutside, shown()))
    } else {
        record::check_has_words(text)
    };
    match checked {
        Ok(()) => rows.push(Row::of_region(text.trim(), clipped)),
        Err(fault) => skip(fault),
    }
}

/// A row per question with its answer.
fn conversation(example: &Example<'_>, skip: impl FnMut(Fault)) -> Result<Vec<Row>, String> {
    let questions = example.texts("conversations/human")?;
    let answers = example.texts("conversations/agent")?;
    if questions.len() != answers.len() {
        return Err(format!("{} questions have {} answers", questions.len(), answers.len()));
    }
    Ok(llava::answered(questions.into_iter().zip(answers), skip))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

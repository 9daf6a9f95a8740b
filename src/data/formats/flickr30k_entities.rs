//! Flickr30k Entities: five sentences about each image with their phrases marked, and boxes of what the
//! phrases are about.
//!
//! `Sentences/<id>.txt` has a sentence a line, `[/EN#283585/people Two young guys] look up .`;
//! `Annotations/<id>.xml` has boxes per entity (283585). A folder of the set has lists of its splits,
//! `train.txt` and so on, with an id a line.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use roxmltree::{Document, Node};

use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request, boxes};
use crate::data::sample::{LocatedSpan, Row, Task};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// What a user can do about a folder that is not this set.
const HELP: &str = "Give the folder of Flickr30k Entities that has the folders Sentences and \
                    Annotations.";

/// Elements in elements; those of this set are 4.
const MAX_DEPTH: usize = 16;

/// Entities of an image: the boxes of each, normalised; none where nobody drew one.
type Entities = HashMap<String, Vec<BoundingBox>>;

/// A sentence without its marks.
#[derive(Debug, PartialEq)]
struct Sentence {
    text: String,
    phrases: Vec<Phrase>,
}

#[derive(Debug, PartialEq)]
struct Phrase {
    /// Bytes of the sentence.
    span: Range<usize>,
    entity: String,
}

/// Reads sentences with a place per phrase (narrate), or phrases with theirs (locate, describe).
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let root = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let mut reader = Reader {
        task,
        root,
        skipped: Skipped::keeping(request.examples),
        gathered: Gathered::new(task),
        num_records: 0,
    };
    for id in ids(root, request.split)? {
        let annotations = root.join("Annotations").join(format!("{id}.xml"));
        if let Err(fault) = reader.image(&id, &annotations, &mut folder)? {
            let known = Id::Text(id);
            let place =
                Place::Record { path: &annotations, kind: "image", id: Some(&known), index: 0 };
            reader.skipped.add(place, fault);
        }
    }
    let Reader { skipped, gathered, num_records, .. } = reader;
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

/// Ids of the images of a split, or of all; in order.
fn ids(root: &Path, split: Option<&str>) -> Result<Vec<String>> {
    let sentences = root.join("Sentences");
    let entries = match fs::read_dir(&sentences) {
        Ok(entries) => entries,
        Err(_) if root.is_file() => return Err(Error::format(root, "this is a file", HELP)),
        Err(error) => {
            return Err(Error::io("list", if root.exists() { &sentences } else { root })(error));
        }
    };
    if let Some(split) = split {
        let list = root.join(format!("{split}.txt"));
        let text = fs::read_to_string(&list).map_err(Error::io("read the list", &list))?;
        let lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim());
        return Ok(lines.filter(|line| !line.is_empty()).map(String::from).collect());
    }
    let mut ids = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", &sentences))?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            ids.extend(path.file_stem().and_then(|stem| stem.to_str()).map(String::from));
        }
    }
    // Numbers in the order of numbers.
    ids.sort_by_key(|id| (id.len(), id.clone()));
    Ok(ids)
}

struct Reader<'a> {
    task: Task,
    root: &'a Path,
    skipped: Skipped,
    gathered: Gathered,
    num_records: usize,
}

impl Reader<'_> {
    /// Reads what there is about an image; a fault is about all of it.
    fn image(
        &mut self,
        id: &str,
        annotations: &Path,
        folder: &mut ImageFolder,
    ) -> Result<Result<(), Fault>> {
        let file = match folder.find(&["jpg", "jpeg", "png"].map(|e| format!("{id}.{e}"))) {
            Ok(file) => file,
            Err(fault) => return Ok(Err(fault)),
        };
        let path = self.root.join("Sentences").join(format!("{id}.txt"));
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let xml = fs::read_to_string(annotations).map_err(Error::io("read", annotations))?;
        let entities = match self.entities(&xml, annotations, id) {
            Ok(entities) => entities,
            Err(fault) => return Ok(Err(fault)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut rows = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            self.num_records += 1;
            let known = Id::Text(id.to_string());
            let place = Place::Line { path: &path, line: index + 1, id: Some(&known) };
            match sentence(line.trim()) {
                Ok(sentence) => self.rows(sentence, &entities, place, &mut rows),
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        self.gathered.add(file.into(), id, rows);
        Ok(Ok(()))
    }

    /// The rows of a sentence, for the task.
    fn rows(
        &mut self,
        sentence: Sentence,
        entities: &Entities,
        place: Place<'_>,
        rows: &mut Vec<Row>,
    ) {
        let Sentence { text, phrases } = sentence;
        let boxes_of =
            |phrase: &Phrase| entities.get(&phrase.entity).map_or(&[][..], Vec::as_slice);
        if self.task == Task::Narrate {
            let located = phrases.iter().filter_map(|phrase| {
                let bounds = around(boxes_of(phrase))?;
                Some(LocatedSpan::new(Some(phrase.span.clone()), bounds))
            });
            let locations = located.collect();
            rows.push(Row { locations, ..Row::of_image(text) });
            return;
        }
        for phrase in phrases {
            let words = text[phrase.span.clone()].to_string();
            let region = match (self.task, boxes_of(&phrase)) {
                (_, []) => {
                    let message = format!("{words:?}, entity {}", phrase.entity);
                    self.skipped.add(place, Fault::new(Reason::UndrawnPhrase, message));
                    continue;
                }
                // Several boxes are found by the box around them, as is usual for this set, and
                // described one by one.
                (Task::Locate, all) => around(all).into_iter().collect(),
                (_, all) => all.to_vec(),
            };
            rows.extend(region.into_iter().map(|region| Row::of_region(words.clone(), region)));
        }
    }

    /// Boxes per entity of an annotation file.
    fn entities(&mut self, xml: &str, path: &Path, id: &str) -> Result<Entities, Fault> {
        let broken = |problem: String| Fault::new(Reason::BrokenFile, problem);
        check_depth(xml).map_err(broken)?;
        let document = Document::parse(xml.trim_start_matches('\u{feff}'))
            .map_err(|error| broken(format!("not XML: {error}")))?;
        let root = document.root_element();
        let size = child(root, "size").ok_or_else(|| broken("there is no <size>".to_string()))?;
        let side = |name| number(size, name).filter(|v| *v >= 0.0 && v.fract() == 0.0);
        let (Some(width), Some(height)) = (side("width"), side("height")) else {
            return Err(broken("<size> has no whole <width> and <height>".to_string()));
        };
        let size = (width as u32, height as u32);
        boxes::check_size(size.0, size.1)?;
        let mut entities = Entities::new();
        let mut drawn = HashSet::new();
        for (index, object) in root.children().filter(|n| n.has_tag_name("object")).enumerate() {
            let names: Vec<_> = children(object, "name").filter_map(|n| n.text()).collect();
            let entry = Id::Text(names.join(" "));
            let place = Place::Record { path, kind: "entity", id: Some(&entry), index };
            for name in &names {
                entities.entry((*name).to_string()).or_default();
            }
            let Some(bndbox) = child(object, "bndbox") else { continue };
            let [x0, y0, x1, y1] = ["xmin", "ymin", "xmax", "ymax"].map(|n| number(bndbox, n));
            // Counted from 1, both ends included.
            let side = |low: Option<f64>, high: Option<f64>| Some(high? - low? + 1.0);
            let xywh = [x0.map(|v| v - 1.0), y0.map(|v| v - 1.0), side(x0, x1), side(y0, y1)];
            let found = boxes::region(&xywh, size, place, &mut self.skipped).and_then(|bounds| {
                let key = (names.join(" "), format!("{xywh:?}"));
                match drawn.insert(key) {
                    true => Ok(bounds),
                    false => Err(Fault::new(
                        Reason::Duplicate,
                        format!("image {id}: a box stands above already"),
                    )),
                }
            });
            match found {
                Ok(bounds) => {
                    for name in &names {
                        entities.entry((*name).to_string()).or_default().push(bounds);
                    }
                }
                Err(fault) => self.skipped.add(place, fault),
            }
        }
        Ok(entities)
    }
}

/// Refuses elements that are nested deeper than those of this set ever are: the parser calls itself for
/// each, until the stack is full. Comments and declarations, which could hide some, are refused too.
fn check_depth(xml: &str) -> Result<(), String> {
    if xml.contains("<!") {
        return Err("there is a comment or a declaration in it".to_string());
    }
    let mut depth = 0_usize;
    for tag in xml.split('<').skip(1) {
        match tag.chars().next() {
            Some('/') => depth = depth.saturating_sub(1),
            Some('?') => {}
            _ if tag[..end_of_tag(tag)].ends_with('/') => {}
            _ => depth += 1,
        }
        if depth > MAX_DEPTH {
            return Err(format!("elements are nested deeper than {MAX_DEPTH}"));
        }
    }
    Ok(())
}

/// Where the `>` of a tag is; one between quotes is not it.
fn end_of_tag(tag: &str) -> usize {
    let mut quote = None;
    let end = tag.char_indices().find(|(_, c)| match (quote, c) {
        (Some(open), c) => {
            quote = (open != *c).then_some(open);
            false
        }
        (None, '"' | '\'') => {
            quote = Some(*c);
            false
        }
        (None, c) => *c == '>',
    });
    end.map_or(tag.len(), |(at, _)| at)
}

fn children<'a, 'b>(node: Node<'a, 'b>, name: &'static str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &'static str) -> Option<Node<'a, 'b>> {
    children(node, name).next()
}

fn number(node: Node<'_, '_>, name: &'static str) -> Option<f64> {
    let number: f64 = child(node, name)?.text()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// The box around boxes; `None` around none.
fn around(boxes: &[BoundingBox]) -> Option<BoundingBox> {
    boxes.iter().copied().reduce(|a, b| {
        BoundingBox::new(a.x0.min(b.x0), a.y0.min(b.y0), a.x1.max(b.x1), a.y1.max(b.y1))
    })
}

/// Reads a line: words with `[/EN#<entity>/<kinds> words]` in between.
fn sentence(line: &str) -> Result<Sentence, Fault> {
    let broken = |problem: &str| Fault::new(Reason::BrokenRecord, format!("{problem}: {line:?}"));
    let (mut text, mut phrases) = (String::new(), Vec::new());
    let mut rest = line;
    while let Some((before, marked)) = rest.split_once("[/EN#") {
        let (phrase, after) =
            marked.split_once(']').ok_or_else(|| broken("a phrase has no end"))?;
        let (mark, words) =
            phrase.split_once(' ').ok_or_else(|| broken("a phrase has no words"))?;
        let entity = mark.split('/').next().unwrap_or_default();
        if entity.is_empty() || !entity.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(broken("a phrase has no number"));
        }
        text.push_str(before);
        let start = text.len();
        text.push_str(words.trim());
        phrases.push(Phrase { span: start..text.len(), entity: entity.to_string() });
        rest = after;
    }
    text.push_str(rest);
    record::check_has_words(&text)?;
    Ok(Sentence { text, phrases })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! LLaVA's instruction data (`spec/data.md` §6): conversations about images. Every question with its
//! answer is a row of its own; what was said before it is not.

use std::collections::HashSet;

use serde::Deserialize;

use super::gathered::Gathered;
use super::image_folder::ImageFolder;
use super::record::{self, Id, Lenient};
use super::skipped::{Fault, Place, Reason, Skipped};
use super::{Loaded, Request};
use crate::data::sample::{Row, Task};
use crate::error::Result;

/// What a user can do about a file that is not in this layout.
const HELP: &str = "Give a JSON list of conversations, as in LLaVA's llava_instruct_150k.json.";

/// What stands for the image in a question.
const IMAGE_MARK: &str = "<image>";

#[derive(Debug, Deserialize)]
struct Conversation {
    /// Name of the file in the folder of images; texts alone have none.
    #[serde(default)]
    image: Option<String>,
    conversations: Vec<Turn>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    from: String,
    value: String,
}

/// Reads questions about whole images, with their answers as texts.
pub(super) fn read(request: &Request<'_>) -> Result<Loaded> {
    type Conversations = Vec<Lenient<Conversation>>;
    let path = request.annotations;
    let mut folder = ImageFolder::open(request.images)?;
    let conversations = record::read_document::<Conversations, Conversations>(path, HELP)?;
    let num_records = conversations.len();
    let mut skipped = Skipped::keeping(request.examples);
    let mut gathered = Gathered::new(Task::Narrate);
    let mut seen: HashSet<(Id, Vec<String>)> = HashSet::new();
    for (index, Lenient { id, record, .. }) in conversations.into_iter().enumerate() {
        let place = Place::Record { path, kind: "conversation", id: id.as_ref(), index };
        let mut add = |conversation: Conversation| {
            let no_image = || Fault::new(Reason::TextOnly, "");
            let image = conversation.image.as_ref().ok_or_else(no_image)?;
            // Ids are those of images in some files, and of several conversations then.
            let texts = conversation.conversations.iter().map(|turn| turn.value.clone()).collect();
            if let Some(id) = id.clone()
                && !seen.insert((id, texts))
            {
                return Err(Fault::new(Reason::Duplicate, "the conversation stands above already"));
            }
            let file = folder.find(std::slice::from_ref(image))?;
            let rows = rows(&conversation.conversations, |fault| skipped.add(place, fault))?;
            gathered.add(file.into(), image, rows);
            Ok(())
        };
        if let Err(fault) = record.and_then(&mut add) {
            skipped.add(place, fault);
        }
    }
    Ok(Loaded { samples: gathered.into_samples(), skipped, num_records, ..Loaded::default() })
}

/// A row per question with its answer; `skip` is told of answers that cannot be used.
fn rows(turns: &[Turn], skip: impl FnMut(Fault)) -> Result<Vec<Row>, Fault> {
    let is_pair = |pair: &[Turn]| matches!(pair, [q, a] if q.from == "human" && a.from == "gpt");
    if turns.is_empty() || !turns.chunks(2).all(is_pair) {
        let from: Vec<_> = turns.iter().map(|turn| turn.from.as_str()).collect();
        let message = format!("human and gpt do not take turns: {}", from.join(", "));
        return Err(Fault::new(Reason::BrokenRecord, message));
    }
    let pairs = turns.chunks_exact(2).map(|pair| (pair[0].value.as_str(), pair[1].value.as_str()));
    Ok(answered(pairs, skip))
}

/// A row per question and answer about the whole image; `skip` is told of those without words.
pub(super) fn answered<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    mut skip: impl FnMut(Fault),
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (question, answer) in pairs {
        let question = without_mark(question);
        match record::check_has_words(&question).and_then(|()| record::check_has_words(answer)) {
            Ok(()) => {
                rows.push(Row { question: Some(question), ..Row::of_image(answer.trim()) });
            }
            Err(fault) => skip(fault),
        }
    }
    rows
}

/// A question without the mark of the image, which stands before or behind it on a line of its own.
fn without_mark(question: &str) -> String {
    let lines = question.replace(IMAGE_MARK, "");
    lines.trim().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Format;
    use super::super::testing::{Folder, assert_skipped};
    use super::*;

    fn turn(from: &str, value: &str) -> Value {
        json!({"from": from, "value": value})
    }

    fn conversations() -> Value {
        json!([
            {"id": "1", "image": "a.jpg", "conversations": [
                turn("human", "<image>\nWhat is red?"), turn("gpt", "The circle."),
                turn("human", "And blue?"), turn("gpt", "Nothing.\n"),
            ]},
            {"id": "2", "image": "b.jpg", "conversations": [
                turn("human", "Describe it.\n<image>"), turn("gpt", "A square."),
            ]},
            {"id": "3", "conversations": [turn("human", "Hello."), turn("gpt", "Hello!")]},
        ])
    }

    fn load(document: &Value) -> Loaded {
        let folder = Folder::new(&["a.jpg", "b.jpg"]);
        folder.load(Format::Llava, Task::Narrate, &document.to_string()).unwrap()
    }

    #[test]
    fn every_question_is_a_row_with_its_answer_and_without_the_mark_of_the_image() {
        let loaded = load(&conversations());
        assert_skipped(&loaded.skipped, &[(Reason::TextOnly, 1)]);
        let found: Vec<_> = loaded
            .samples
            .iter()
            .flat_map(|sample| &sample.rows)
            .map(|row| (row.question.as_deref().unwrap(), row.text.as_str()))
            .collect();
        let expected = [
            ("What is red?", "The circle."),
            ("And blue?", "Nothing."),
            ("Describe it.", "A square."),
        ];
        assert_eq!((found.as_slice(), loaded.num_records), (expected.as_slice(), 3));
    }

    #[test]
    fn each_damaged_conversation_is_skipped_for_its_reason() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 8] = [
            (Reason::BrokenRecord, |c| c["conversations"] = json!([])),
            (Reason::BrokenRecord, |c| {
                c["conversations"].as_array_mut().unwrap().pop();
            }),
            (Reason::BrokenRecord, |c| c["conversations"][1]["from"] = json!("human")),
            (Reason::BrokenRecord, |c| c["conversations"][1]["value"] = json!(3)),
            (Reason::NoWords, |c| c["conversations"][1]["value"] = json!("")),
            (Reason::NoWords, |c| c["conversations"][0]["value"] = json!("<image>\n")),
            (Reason::MissingImage, |c| c["image"] = json!("c.jpg")),
            (Reason::UnsafePath, |c| c["image"] = json!("/etc/passwd")),
        ];
        for (reason, damage) in damages {
            let mut document = conversations();
            damage(&mut document[1]);
            let loaded = load(&document);
            assert_skipped(&loaded.skipped, &[(reason, 1), (Reason::TextOnly, 1)]);
            assert_eq!(loaded.samples.len(), 1);
        }
        let mut document = conversations();
        let first = document[0].clone();
        document.as_array_mut().unwrap().push(first);
        let reasons = [(Reason::Duplicate, 1), (Reason::TextOnly, 1)];
        assert_skipped(&load(&document).skipped, &reasons);
    }
}

//! What the readers share below the level of a format: ids, JSON faults, texts, and documents in which
//! one bad record does not spoil the rest.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::skipped::{Fault, Reason};
use crate::data::sample::Row;
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// An identity: datasets write numbers or strings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What is wrong with a line that JSON says cannot be read. Lines of the line, which serde_json counts,
/// would be taken for those of the file.
pub(super) fn json_fault(error: &serde_json::Error) -> Fault {
    let reason = if error.is_data() { Reason::BrokenRecord } else { Reason::BrokenJson };
    let (text, column) = (error.to_string(), error.column());
    let place = format!(" at line {} column {column}", error.line());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    Fault::new(reason, format!("{text} at column {column}"))
}

/// The `image_id` of a line that is JSON and cannot be read otherwise.
pub(super) fn image_id(line: &[u8]) -> Option<Id> {
    let value: Value = serde_json::from_slice(line.trim_ascii_end()).ok()?;
    Id::deserialize(value.get("image_id")?).ok()
}

/// What some editors on Windows put before UTF-8, and JSON does not know.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn remove_byte_order_mark(bytes: &mut Vec<u8>) {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
}

/// Refuses texts without a letter or digit.
pub(super) fn check_has_words(text: &str) -> Result<(), Fault> {
    if text.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    Err(Fault::new(Reason::NoWords, format!("the text is {text:?}")))
}

/// Refuses what has the same identity as something before it; `key` is what the file calls that.
pub(super) fn check_is_new(
    key: &str,
    id: Option<&Id>,
    seen: &mut HashSet<Id>,
) -> Result<(), Fault> {
    match id {
        Some(id) if !seen.insert(id.clone()) => {
            Err(Fault::new(Reason::Duplicate, format!("the {key} stands above already")))
        }
        _ => Ok(()),
    }
}

/// A row per text about a region, which is normalised to the image; `skip` is told of those without
/// words.
pub(super) fn rows_of_region<'a>(
    texts: impl Iterator<Item = &'a str>,
    region: BoundingBox,
    mut skip: impl FnMut(Fault),
) -> Vec<Row> {
    let row = |text: &str| Row::of_region(text.trim(), region);
    let checked = texts.map(|text| check_has_words(text).map(|()| row(text)));
    checked.filter_map(|row| row.map_err(&mut skip).ok()).collect()
}

/// A record of a document that may be broken by itself.
#[derive(Debug)]
pub(super) struct Lenient<T> {
    /// The record's `id`, where at least that could be read.
    pub(super) id: Option<Id>,
    /// Its `image_id`, likewise.
    pub(super) image_id: Option<Id>,
    /// The record.
    pub(super) record: Result<T, Fault>,
}

impl<T: Identified> From<T> for Lenient<T> {
    fn from(record: T) -> Self {
        Self { id: record.id(), image_id: record.image_id(), record: Ok(record) }
    }
}

/// A record that says which it is.
pub(super) trait Identified {
    /// Its own id.
    fn id(&self) -> Option<Id>;

    /// That of the image it is about.
    fn image_id(&self) -> Option<Id> {
        None
    }
}

/// What records call their own id.
const ID_KEYS: [&str; 4] = ["id", "region_id", "ref_id", "question_id"];

impl<T: DeserializeOwned> Lenient<T> {
    /// The record that a value is.
    pub(super) fn of(value: Value) -> Self {
        let id_at = |key: &str| value.get(key).and_then(|id| Id::deserialize(id).ok());
        let (id, image_id) = (ID_KEYS.into_iter().find_map(id_at), id_at("image_id"));
        let record = T::deserialize(value)
            .map_err(|error| Fault::new(Reason::BrokenRecord, error.to_string()));
        Self { id, image_id, record }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

/// An [`Error::Usage`] that a file with several splits does not have the one that was asked for.
pub(super) fn unknown_split(
    path: &Path,
    asked: &str,
    found: impl IntoIterator<Item = String>,
) -> Error {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort();
    let help = match found.as_slice() {
        [] => "There is no split in the file.".to_string(),
        names => {
            format!("It has {}; name one of them, or map to it by `splits`.", names.join(", "))
        }
    };
    Error::Usage { problem: format!("{} has no split {asked:?}", path.display()), help }
}

/// Reads a JSON document of the shape `T`; where one of its records is broken, of the shape `L`, which
/// is `T` with [`Lenient`] records and slower.
///
/// `NaN` and `Infinity`, which Python writes and JSON does not know, are read as `null`, so that they
/// spoil their record and not the file.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] with the line where it is not JSON or
/// not of the shape of `L`.
pub(super) fn read_document<T, L>(path: &Path, help: &str) -> Result<L>
where
    T: DeserializeOwned + Into<L>,
    L: DeserializeOwned,
{
    let mut bytes = fs::read(path).map_err(Error::io("read", path))?;
    remove_byte_order_mark(&mut bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(Error::format(path, "the file is empty", help));
    }
    let mut parsed = parse_document::<T, L>(&bytes);
    if parsed.as_ref().is_err_and(serde_json::Error::is_syntax) && null_non_numbers(&mut bytes) {
        parsed = parse_document::<T, L>(&bytes);
    }
    parsed.map_err(|error: serde_json::Error| {
        let problem = match error.is_data() {
            true => format!("not of the stated format: {error}"),
            false => format!("not a JSON document: {error}"),
        };
        Error::format_at(path, error.line(), problem, help)
    })
}

fn parse_document<T, L>(bytes: &[u8]) -> Result<L, serde_json::Error>
where
    T: DeserializeOwned + Into<L>,
    L: DeserializeOwned,
{
    match serde_json::from_slice::<T>(bytes) {
        Ok(document) => Ok(document.into()),
        Err(error) if error.is_data() => serde_json::from_slice(bytes),
        Err(error) => Err(error),
    }
}

/// Replaces `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not have, outside strings by
/// `null`; whether there were any.
pub(crate) fn null_non_numbers(json: &mut Vec<u8>) -> bool {
    const NON_NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut cleaned = Vec::with_capacity(json.len());
    let mut found = false;
    let mut in_string = false;
    let mut rest = json.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        let non_number = NON_NUMBERS.iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = non_number {
            found = true;
            cleaned.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        cleaned.push(byte);
        rest = after;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if let Some((&escaped, after)) = rest.split_first() {
                    cleaned.push(escaped);
                    rest = after;
                }
            }
            _ => {}
        }
    }
    *json = cleaned;
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn non_numbers_become_null_outside_strings_only() {
        let mut json = br#"{"a \" NaN": [NaN, -Infinity, Infinity, 1], "b": "NaN\\"}"#.to_vec();
        assert!(null_non_numbers(&mut json));
        let expected = br#"{"a \" NaN": [null, null, null, 1], "b": "NaN\\"}"#.to_vec();
        assert_eq!(json, expected);
        assert!(!null_non_numbers(&mut json));
        assert_eq!(json, expected);
    }

    #[test]
    fn a_bad_record_keeps_its_id_and_spoils_only_itself() {
        let json = r#"[1, "b", {"id": 7}, 3]"#;
        let records: Vec<Lenient<u8>> = serde_json::from_str(json).unwrap();
        let fine: Vec<_> = records.iter().map(|r| r.record.is_ok()).collect();
        assert_eq!(fine, [true, false, false, true]);
        assert_eq!(records[2].id, Some(Id::Number(7)));
    }

    #[test]
    fn a_broken_line_says_its_column_only() {
        let error = serde_json::from_str::<Value>("{\"a\": 1").unwrap_err();
        let Fault { reason, message } = json_fault(&error);
        assert_eq!(reason, Reason::BrokenJson);
        assert_eq!(message, "EOF while parsing an object at column 7");
    }

    #[test]
    fn texts_need_a_letter_or_digit() {
        assert!(check_has_words("3 ?").is_ok());
        assert!(check_has_words("日本").is_ok());
        assert!(check_has_words(" . , !").is_err());
        assert!(check_has_words("").is_err());
    }
}

//! `tf.train.Example` and `tf.train.SequenceExample`: named lists of bytes, floats or integers.

use std::collections::HashMap;
use std::ops::Range;

use crate::data::protobuf::{Fields, Value};

// Field numbers of tensorflow/core/example/{example,feature}.proto.
const EXAMPLE_FEATURES: u64 = 1;
const SEQUENCE_LISTS: u64 = 2;
/// Of a map: its entries; of an entry: key and value.
const MAP_ENTRY: u64 = 1;
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;
const FEATURE_BYTES: u64 = 1;
const FEATURE_FLOATS: u64 = 2;
const FEATURE_INTEGERS: u64 = 3;
const LIST_VALUE: u64 = 1;

/// One feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Feature<'a> {
    Bytes(Vec<&'a [u8]>),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

/// A record: features, and for a sequence lists of features, by name.
#[derive(Debug, Default)]
pub(super) struct Example<'a> {
    record: &'a [u8],
    features: HashMap<&'a str, Feature<'a>>,
    lists: HashMap<&'a str, Vec<Feature<'a>>>,
}

impl<'a> Example<'a> {
    pub(super) fn parse(record: &'a [u8]) -> Result<Self, String> {
        let mut example = Self { record, ..Self::default() };
        let mut fields = Fields::new(record);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                EXAMPLE_FEATURES => {
                    for (key, value) in map(value)? {
                        example.features.insert(key, feature(value)?);
                    }
                }
                SEQUENCE_LISTS => {
                    for (key, value) in map(value)? {
                        let list = values(value, |value| Ok(vec![feature(value)?]))?;
                        example.lists.insert(key, list);
                    }
                }
                _ => {}
            }
        }
        Ok(example)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.features.contains_key(name) || self.lists.contains_key(name)
    }

    /// The one value of a feature of bytes, and where in the record it is.
    pub(super) fn image(&self, name: &str) -> Result<Range<usize>, String> {
        let [bytes] = self.bytes(name)? else { return Err(format!("`{name}` is not one image")) };
        // Its bytes are a part of the record's.
        let start = bytes.as_ptr().addr().saturating_sub(self.record.as_ptr().addr());
        Ok(start..start + bytes.len())
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&[&'a [u8]], String> {
        match self.features.get(name) {
            Some(Feature::Bytes(values)) => Ok(values),
            // An empty list has no type.
            Some(Feature::Floats(values)) if values.is_empty() => Ok(&[]),
            found => Err(unlike(name, "bytes", found)),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, String> {
        self.bytes(name)?.iter().map(|bytes| text(name, bytes)).collect()
    }

    pub(super) fn floats(&self, name: &str) -> Result<&[f32], String> {
        match self.features.get(name) {
            Some(Feature::Floats(values)) => Ok(values),
            found => Err(unlike(name, "floats", found)),
        }
    }

    pub(super) fn integers(&self, name: &str) -> Result<&[i64], String> {
        match self.features.get(name) {
            Some(Feature::Integers(values)) => Ok(values),
            Some(Feature::Floats(values)) if values.is_empty() => Ok(&[]),
            found => Err(unlike(name, "integers", found)),
        }
    }

    /// The features of a list, which are floats.
    pub(super) fn float_lists(&self, name: &str) -> Result<Vec<&[f32]>, String> {
        let lists = self.lists.get(name).ok_or_else(|| format!("there is no `{name}`"))?;
        lists
            .iter()
            .map(|feature| match feature {
                Feature::Floats(values) => Ok(values.as_slice()),
                other => Err(unlike(name, "floats", Some(other))),
            })
            .collect()
    }

    /// The features of a list, which are texts.
    pub(super) fn text_lists(&self, name: &str) -> Result<Vec<Vec<&'a str>>, String> {
        let lists = self.lists.get(name).ok_or_else(|| format!("there is no `{name}`"))?;
        lists
            .iter()
            .map(|feature| match feature {
                Feature::Bytes(values) => values.iter().map(|bytes| text(name, bytes)).collect(),
                Feature::Floats(values) if values.is_empty() => Ok(Vec::new()),
                other => Err(unlike(name, "texts", Some(other))),
            })
            .collect()
    }

    /// The name of the image: bytes or an integer.
    pub(super) fn id(&self, name: &str) -> Option<String> {
        match self.features.get(name)? {
            Feature::Bytes(values) => Some(String::from_utf8_lossy(values.first()?).into_owned()),
            Feature::Integers(values) => Some(values.first()?.to_string()),
            Feature::Floats(_) => None,
        }
    }
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("`{name}` is not UTF-8"))
}

fn unlike(name: &str, expected: &str, found: Option<&Feature<'_>>) -> String {
    match found {
        None => format!("there is no `{name}`"),
        Some(_) => format!("`{name}` does not hold {expected}"),
    }
}

fn map(value: Value<'_>) -> Result<Vec<(&str, Value<'_>)>, String> {
    let mut entries = Vec::new();
    let mut fields = Fields::new(value.bytes()?);
    while let Some((number, entry)) = fields.next_field()? {
        if number != MAP_ENTRY {
            continue;
        }
        let (mut key, mut value) = ("", Value::Bytes(&[]));
        let mut fields = Fields::new(entry.bytes()?);
        while let Some((number, found)) = fields.next_field()? {
            match number {
                ENTRY_KEY => key = found.text()?,
                ENTRY_VALUE => value = found,
                _ => {}
            }
        }
        entries.push((key, value));
    }
    Ok(entries)
}

fn feature(value: Value<'_>) -> Result<Feature<'_>, String> {
    let mut found = Feature::Floats(Vec::new());
    let mut fields = Fields::new(value.bytes()?);
    while let Some((number, list)) = fields.next_field()? {
        found = match number {
            FEATURE_BYTES => Feature::Bytes(values(list, |value| Ok(vec![value.bytes()?]))?),
            FEATURE_FLOATS => Feature::Floats(values(list, floats)?),
            FEATURE_INTEGERS => Feature::Integers(values(list, integers)?),
            _ => continue,
        };
    }
    Ok(found)
}

/// What a list holds; `of` says what its entries are.
fn values<'a, T>(
    list: Value<'a>,
    of: impl Fn(Value<'a>) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    let mut fields = Fields::new(list.bytes()?);
    while let Some((number, value)) = fields.next_field()? {
        if number == LIST_VALUE {
            values.extend(of(value)?);
        }
    }
    Ok(values)
}

/// One float, or many behind each other.
fn floats(value: Value<'_>) -> Result<Vec<f32>, String> {
    let Value::Bytes(packed) = value else { return Ok(vec![value.float()?]) };
    let (floats, rest) = packed.as_chunks::<4>();
    match rest {
        [] => Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        _ => Err(format!("{} bytes are no list of floats", packed.len())),
    }
}

/// One integer, or many behind each other.
fn integers(value: Value<'_>) -> Result<Vec<i64>, String> {
    let Value::Bytes(packed) = value else { return Ok(vec![value.varint()?.cast_signed()]) };
    let mut fields = Fields::new(packed);
    let mut integers = Vec::new();
    while !fields.is_empty() {
        integers.push(fields.varint()?.cast_signed());
    }
    Ok(integers)
}

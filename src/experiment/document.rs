//! A TOML document in which every value knows where it was written.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

/// The key that chooses among layouts of a table: `model.language.kind`.
pub(super) const KIND: &str = "kind";

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// `file.toml:12`, or `--set`.
    pub(super) origin: String,
    /// What is written there.
    pub(super) value: Value,
}

/// What TOML can say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    String(String),
    /// From −2⁶³ to 2⁶⁴ − 1.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// A date, time or both, as written; no key takes one.
    Date(String),
}

impl Node {
    /// An empty table.
    pub(super) fn table(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), value: Value::Table(BTreeMap::new()) }
    }

    /// Parses `text`, the content of the file at `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        let mistake = |start: usize, problem: String, help: &str| Error::Document {
            path: path.into(),
            line: Some(line_of(text, start)),
            problem,
            help: help.into(),
        };
        let table = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let help = "This is not TOML: see https://toml.io, or compare with experiments/.";
            mistake(start, error.message().to_string(), help)
        })?;
        let origin = |start: usize| format!("{}:{}", path.display(), line_of(text, start));
        let value = table_value(table.get_ref(), &origin)
            .map_err(|(start, problem)| mistake(start, problem, "Choose a smaller number."))?;
        Ok(Self { origin: path.display().to_string(), value })
    }

    /// Parses one value, as on the right of `=`; `None` where it is not TOML.
    pub(super) fn parse_value(text: &str, origin: &str) -> Option<Self> {
        let value = DeValue::parse(text).ok()?;
        let value = to_value(value.get_ref(), 0, &|_| origin.to_string()).ok()?;
        Some(Self { origin: origin.to_string(), value })
    }

    /// Lays `later` over this: tables merge key by key, anything else is replaced. A table that names
    /// another `kind` is another layout and replaces the earlier one, too.
    pub(super) fn merge(&mut self, later: Self) {
        match (&mut self.value, later.value) {
            (Value::Table(mine), Value::Table(theirs)) if !other_kind(mine, &theirs) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(earlier) => earlier.merge(node),
                        None => {
                            mine.insert(key, node);
                        }
                    }
                }
            }
            (mine, theirs) => *mine = theirs,
        }
        self.origin = later.origin;
    }

    /// Where the value of a dotted key was written; for a default, the nearest table around it.
    pub(super) fn origin_of(&self, key: &str) -> &str {
        let mut node = self;
        for part in key.split('.') {
            match node.child(part) {
                Some(child) => node = child,
                None => break,
            }
        }
        &node.origin
    }

    /// Whether a dotted key is written anywhere.
    pub(super) fn contains(&self, key: &str) -> bool {
        key.split('.').try_fold(self, |node, part| node.child(part)).is_some()
    }

    fn child(&self, part: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(keys) => keys.get(part),
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

fn other_kind(mine: &BTreeMap<String, Node>, theirs: &BTreeMap<String, Node>) -> bool {
    match (mine.get(KIND), theirs.get(KIND)) {
        (Some(mine), Some(theirs)) => mine.value != theirs.value,
        _ => false,
    }
}

/// Line of a byte, from 1.
fn line_of(text: &str, start: usize) -> usize {
    text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1
}

/// A byte of the file, and what is wrong there.
type Unsayable = (usize, String);

fn table_value(table: &DeTable<'_>, origin: &dyn Fn(usize) -> String) -> Result<Value, Unsayable> {
    let mut keys = BTreeMap::new();
    for (key, value) in table {
        let start = key.span().start;
        let node = Node { origin: origin(start), value: to_value(value.get_ref(), start, origin)? };
        keys.insert(key.get_ref().to_string(), node);
    }
    Ok(Value::Table(keys))
}

fn to_value(
    value: &DeValue<'_>,
    start: usize,
    origin: &dyn Fn(usize) -> String,
) -> Result<Value, Unsayable> {
    let too_large = |text: &str| (start, format!("the number {text} is too large"));
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok();
            let fits = parsed.filter(|n| (i64::MIN.into()..=u64::MAX.into()).contains(n));
            Value::Integer(fits.ok_or_else(|| too_large(number.as_str()))?)
        }
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| too_large(number.as_str()))?)
        }
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            let node = |item: &toml::Spanned<DeValue<'_>>| {
                let start = item.span().start;
                let value = to_value(item.get_ref(), start, origin)?;
                Ok(Node { origin: origin(start), value })
            };
            Value::Array(items.iter().map(node).collect::<Result<_, Unsayable>>()?)
        }
        DeValue::Table(table) => table_value(table, origin)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse(Path::new("a.toml"), text).unwrap()
    }

    #[test]
    fn every_value_knows_its_line() {
        let node =
            parse("a = 1\n\n[x.y]\nz = [\n  1,\n  2]\nw.q = 2.5\n\n[[s]]\nk = 1\n[[s]]\nk = 2\n");
        let lines = [
            ("a", 1),
            ("x", 3),
            ("x.y", 3),
            ("x.y.z", 4),
            ("x.y.z.1", 6),
            ("x.y.w.q", 7),
            ("s.1", 11),
            ("s.1.k", 12),
            ("x.y.missing", 3),
        ];
        for (key, line) in lines {
            assert_eq!(node.origin_of(key), format!("a.toml:{line}"), "{key}");
        }
        assert!(node.contains("x.y.w.q") && !node.contains("x.y.missing"));
    }

    #[test]
    fn tables_merge_and_all_else_is_replaced() {
        let mut node = parse("a.b = 1\na.c = [1, 2]\nd.e = 1\n");
        node.merge(parse("a.c = [3]\nd = false\n"));
        let expected = parse("a.b = 1\na.c = [3]\nd = false\n");
        assert_eq!(plain(&node), plain(&expected));
    }

    #[test]
    fn another_kind_starts_afresh() {
        let mut node = parse("m.kind = \"git\"\nm.depth = 3\n");
        node.merge(parse("m.kind = \"git\"\nm.width = 1\n"));
        assert!(node.contains("m.depth"));
        node.merge(parse("m.kind = \"t5\"\n"));
        assert!(!node.contains("m.depth"));
    }

    #[test]
    fn numbers_are_read_in_every_notation_and_must_fit() {
        let node = parse("a = 1_000\nb = 0xff\nc = 1e-3\nd = -0.5\n");
        assert_eq!(
            plain(&node),
            "{a: Integer(1000), b: Integer(255), c: Float(0.001), d: Float(-0.5)}"
        );
        let error = Node::parse(Path::new("a.toml"), "\na = 99999999999999999999\n").unwrap_err();
        assert_eq!(error.to_string(), "a.toml:2: the number 99999999999999999999 is too large");
    }

    #[test]
    fn what_is_not_toml_has_a_line() {
        let error = Node::parse(Path::new("a.toml"), "a = 1\nb = yes\n").unwrap_err();
        assert!(error.to_string().starts_with("a.toml:2: "), "{error}");
    }

    /// Without origins.
    fn plain(node: &Node) -> String {
        let joined = |items: Vec<String>| items.join(", ");
        match &node.value {
            Value::Table(keys) => {
                let keys = keys.iter().map(|(key, node)| format!("{key}: {}", plain(node)));
                format!("{{{}}}", joined(keys.collect()))
            }
            Value::Array(items) => format!("[{}]", joined(items.iter().map(plain).collect())),
            value => format!("{value:?}"),
        }
    }
}

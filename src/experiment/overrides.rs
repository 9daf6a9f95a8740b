//! `--set path.to.key=value`.

use super::document::{Node, Value};
use super::extends::EXTENDS;
use super::renamed;
use super::shape::{Schema, Shape};
use crate::error::{Error, Result};

/// Where these values come from.
const ORIGIN: &str = "--set";

/// Sets each of `overrides` in the document, in order. Whether the keys exist is for the check that
/// follows.
pub(super) fn apply(document: &mut Node, overrides: &[String], schema: &Schema) -> Result<()> {
    for text in overrides {
        let Some((key, value)) = text.split_once('=') else {
            return Err(problem(text, "has no `=`".into(), "Write --set path.to.key=value"));
        };
        let (key, value) = (renamed::present(key.trim()), value.trim());
        if key.split('.').any(str::is_empty) {
            let help = "Write --set path.to.key=value, such as --set training.max_steps=100";
            return Err(problem(key, "is not the path of a key".into(), help));
        }
        if key == EXTENDS {
            let help = "Write it into a file, or set the keys one by one.";
            return Err(problem(key, "can only be said in a file".into(), help));
        }
        let value = parse(value, schema.at(key));
        set(document, key, key, value)?;
    }
    Ok(())
}

/// A TOML value; else, and wherever text is wanted, the text as it stands.
fn parse(text: &str, wanted: Option<(Shape<'_>, bool)>) -> Node {
    let bare = || Node { origin: ORIGIN.into(), value: Value::String(text.into()) };
    let Some(node) = Node::parse_value(text, ORIGIN) else { return bare() };
    match (wanted, &node.value) {
        // `false` takes an optional text away.
        (Some((_, true)), Value::Boolean(false)) => node,
        // A run may be named 7.
        (
            Some((Shape::Text | Shape::Choice(_), _)),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Date(_),
        ) => bare(),
        _ => node,
    }
}

fn set(node: &mut Node, key: &str, rest: &str, value: Node) -> Result<()> {
    let (part, rest) = match rest.split_once('.') {
        Some((part, rest)) => (part, Some(rest)),
        None => (rest, None),
    };
    if let (Value::Array(items), Ok(index)) = (&mut node.value, part.parse::<usize>()) {
        let count = items.len();
        let Some(item) = items.get_mut(index) else {
            let help = match count {
                0 => "There is none to set a key of.".into(),
                _ => format!("Allowed: 0 to {}.", count - 1),
            };
            return Err(problem(key, format!("there is no number {index}"), &help));
        };
        return set_child(item, key, rest, value);
    }
    // What stood here is no table, so it gives way: `false` to a table that was taken away.
    if !matches!(node.value, Value::Table(_)) {
        *node = Node::table(ORIGIN);
    }
    if let Value::Table(keys) = &mut node.value {
        let child = keys.entry(part.to_string()).or_insert_with(|| Node::table(ORIGIN));
        return set_child(child, key, rest, value);
    }
    Ok(())
}

fn set_child(child: &mut Node, key: &str, rest: Option<&str>, value: Node) -> Result<()> {
    match rest {
        Some(rest) => set(child, key, rest, value),
        None => {
            child.merge(value);
            Ok(())
        }
    }
}

fn problem(key: &str, problem: String, help: &str) -> Error {
    Error::Experiment { origin: ORIGIN.into(), key: key.into(), problem, help: help.into() }
}

//! Every key and value against the schema, before serde sees them: all problems at once, in our words.
//!
//! The result is JSON because TOML has no null: `false` at an optional key becomes one.

use serde_json::{Map, Value as Json};

use super::document::{Node, Value};
use super::extends::EXTENDS;
use super::problem::{Problem, did_you_mean};
use super::shape::{Schema, Shape, Table, join, quoted};

/// The document as serde wants it; what cannot be used goes to `problems`.
pub(super) fn to_json(document: &Node, schema: &Schema, problems: &mut Vec<Problem>) -> Json {
    Check { schema, problems }.value(document, schema.root(), "")
}

struct Check<'a> {
    schema: &'a Schema,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn value(&mut self, node: &Node, schema: &Json, key: &str) -> Json {
        let own = self.schema;
        let (shape, optional) = own.shape(schema);
        match (&shape, &node.value) {
            (Shape::Boolean, Value::Boolean(value)) => Json::Bool(*value),
            (_, Value::Boolean(false)) if optional => Json::Null,
            (Shape::Table(table), Value::Table(_)) => self.table(node, *table, key),
            (Shape::Variants { tag, variants }, Value::Table(_)) => {
                self.variant(node, tag, variants, &schema["default"], key)
            }
            (Shape::Map(values), Value::Table(keys)) => {
                let value = |(name, node): (&String, &Node)| {
                    (name.clone(), self.value(node, values, &join(key, name)))
                };
                Json::Object(keys.iter().map(value).collect())
            }
            (Shape::List(list), Value::Array(items))
                if list.length().is_none_or(|length| length == items.len() as u64) =>
            {
                let value = |(index, node): (usize, &Node)| {
                    self.value(node, list.item(index)?, &join(key, &index.to_string())).into()
                };
                Json::Array(items.iter().enumerate().filter_map(value).collect())
            }
            (Shape::Choice(texts), Value::String(text)) if texts.contains(&text.as_str()) => {
                Json::String(text.clone())
            }
            (Shape::Text, Value::String(text)) => Json::String(text.clone()),
            (Shape::Integer { least, most }, Value::Integer(number))
                if least.is_none_or(|least| i128::from(least) <= *number)
                    && most.is_none_or(|most| *number <= most.into()) =>
            {
                integer(*number)
            }
            (Shape::Number, Value::Integer(number)) => integer(*number),
            (Shape::Number, Value::Float(number)) if number.is_finite() => (*number).into(),
            (Shape::Anything, _) => plain(node),
            _ => {
                self.refuse(node, &shape, optional, key);
                Json::Null
            }
        }
    }

    fn table(&mut self, node: &Node, table: Table<'_>, key: &str) -> Json {
        let Value::Table(keys) = &node.value else { return Json::Null };
        let mut json = Map::new();
        for (name, child) in keys {
            match table.key(name) {
                Some(schema) => {
                    json.insert(name.clone(), self.value(child, schema, &join(key, name)));
                }
                None => self.unknown_key(child, table, key, name),
            }
        }
        for name in table.required().filter(|name| !keys.contains_key(*name)) {
            let wanted = table.key(name).map(|schema| self.schema.shape(schema).0.in_words());
            self.problems.push(Problem {
                origin: node.origin.clone(),
                key: join(key, name),
                problem: "is missing".into(),
                help: format!("Allowed: {}.", wanted.unwrap_or_default()),
            });
        }
        Json::Object(json)
    }

    /// A table whose `tag` says what its other keys are; left out, it is that of `default`.
    fn variant(
        &mut self,
        node: &Node,
        tag: &str,
        variants: &[(&str, Table<'_>)],
        default: &Json,
        key: &str,
    ) -> Json {
        let mut node = node.clone();
        if let (Value::Table(keys), Some(name)) = (&mut node.value, default[tag].as_str()) {
            let value = Value::String(name.into());
            let implied = Node { origin: node.origin.clone(), value };
            keys.entry(tag.to_string()).or_insert(implied);
        }
        let Value::Table(keys) = &node.value else { return Json::Null };
        let named = keys.get(tag);
        let is_named = |name: &str| {
            named.is_some_and(|named| matches!(&named.value, Value::String(text) if text == name))
        };
        match variants.iter().find(|(name, _)| is_named(name)) {
            Some((_, table)) => self.table(&node, *table, key),
            None => {
                let choice = Shape::Choice(variants.iter().map(|(name, _)| *name).collect());
                match named {
                    Some(named) => self.refuse(named, &choice, false, &join(key, tag)),
                    None => self.problems.push(Problem {
                        origin: node.origin.clone(),
                        key: join(key, tag),
                        problem: "is missing".into(),
                        help: format!("Allowed: {}.", choice.in_words()),
                    }),
                }
                Json::Null
            }
        }
    }

    fn unknown_key(&mut self, node: &Node, table: Table<'_>, key: &str, name: &str) {
        let extends = key.is_empty().then_some(EXTENDS);
        let allowed: Vec<&str> = table.keys().map(|(key, _)| key).chain(extends).collect();
        let meant = did_you_mean(name, allowed.iter().copied(), '`');
        let elsewhere = self.schema.keys_named(name);
        let elsewhere = match elsewhere.as_slice() {
            [] => String::new(),
            keys => {
                format!("There is {}. ", quoted(keys.iter().map(String::as_str), '`'))
            }
        };
        let hint = if meant.is_empty() { elsewhere } else { meant };
        self.problems.push(Problem {
            origin: node.origin.clone(),
            key: join(key, name),
            problem: "is not a key of an experiment".into(),
            help: format!("{hint}Allowed here: {}.", quoted(allowed.into_iter(), '`')),
        });
    }

    fn refuse(&mut self, node: &Node, shape: &Shape<'_>, optional: bool, key: &str) {
        let meant = match (shape, &node.value) {
            (Shape::Choice(texts), Value::String(text)) => {
                did_you_mean(text, texts.iter().copied(), '"')
            }
            _ => String::new(),
        };
        let none = if optional { "; or false for none" } else { "" };
        self.problems.push(Problem {
            origin: node.origin.clone(),
            key: key.into(),
            problem: format!("found {}", in_words(&node.value)),
            help: format!("{meant}Allowed: {}{none}.", shape.in_words()),
        });
    }
}

/// JSON has the integers of both 64-bit types; the document has no others.
fn integer(number: i128) -> Json {
    let signed = i64::try_from(number).map(Json::from);
    signed.or_else(|_| u64::try_from(number).map(Json::from)).unwrap_or_default()
}

/// What was found, in words.
fn in_words(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".into(),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::String(text) => format!("the text {text:?}"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number:?}"),
        Value::Boolean(value) => format!("{value}"),
        Value::Date(date) => format!("the date {date}"),
    }
}

/// The same in JSON, whatever it is.
fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Table(keys) => {
            Json::Object(keys.iter().map(|(key, node)| (key.clone(), plain(node))).collect())
        }
        Value::Array(items) => Json::Array(items.iter().map(plain).collect()),
        Value::String(text) | Value::Date(text) => text.clone().into(),
        Value::Integer(number) => integer(*number),
        Value::Float(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
    }
}

//! The experiment reference, from the docs of the schema's structs.

use std::fmt::Write;

use serde_json::Value as Json;

use super::schema::Experiment;
use super::shape::{List, Schema, Shape, Table, join, quoted};

/// What stands before the tables.
const INTRODUCTION: &str = include_str!("reference.md");

/// Every key of an experiment with its type, default and meaning, as Markdown.
pub fn markdown() -> String {
    let schema = Schema::of_experiment();
    // An experiment is made of numbers, texts, arrays and tables with text keys: always JSON.
    let defaults = serde_json::to_value(Experiment::default()).unwrap_or_default();
    let mut sections = Vec::new();
    collect(&schema, schema.root(), Heading::root(), Some(&defaults), &mut sections);
    let mut text = INTRODUCTION.to_string();
    for section in &sections {
        text.push('\n');
        text.push_str(section);
    }
    text
}

/// What a section is about.
struct Heading<'s> {
    /// Dotted path of the table; empty for the document.
    key: String,
    /// The path as TOML writes it in a header: `[model]`, `[[data.sources]]`.
    header: String,
    /// What the key means.
    meaning: &'s str,
}

impl Heading<'_> {
    fn root() -> Self {
        Self { key: String::new(), header: "Top of the file".into(), meaning: "" }
    }
}

/// Writes the section of a table, then those of the tables in it.
fn collect<'s>(
    schema: &'s Schema,
    of: &'s Json,
    heading: Heading<'s>,
    defaults: Option<&Json>,
    sections: &mut Vec<String>,
) {
    match schema.shape(of).0 {
        Shape::Table(table) => {
            table_sections(schema, table, heading, defaults, sections);
        }
        Shape::Variants { tag, variants } => {
            for (name, table) in variants {
                // Keys of one kind may have the names of another's, with other defaults.
                let defaults =
                    defaults.filter(|table| table.get(tag).and_then(Json::as_str) == Some(name));
                let header = format!("{} with {tag} = \"{name}\"", heading.header);
                let heading = Heading { key: heading.key.clone(), header, ..heading };
                table_sections(schema, table, heading, defaults, sections);
            }
        }
        Shape::List(list) => {
            if let Some(item) = table_item(schema, list) {
                let header = format!("[[{}]]", heading.key);
                collect(schema, item, Heading { header, ..heading }, None, sections);
            }
        }
        _ => {}
    }
}

/// The schema of the items of an array of tables.
fn table_item<'s>(schema: &'s Schema, list: List<'s>) -> Option<&'s Json> {
    let item = list.item(0)?;
    let shape = schema.shape(item).0;
    matches!(shape, Shape::Table(_) | Shape::Variants { .. }).then_some(item)
}

fn table_sections<'s>(
    schema: &'s Schema,
    table: Table<'s>,
    heading: Heading<'s>,
    defaults: Option<&Json>,
    sections: &mut Vec<String>,
) {
    let mut rows = String::new();
    let mut choices = String::new();
    let mut nested = Vec::new();
    for (name, key_schema) in table.keys() {
        let (shape, optional) = schema.shape(key_schema);
        let default = defaults.and_then(|table| table.get(name)).or(key_schema.get("default"));
        let required = default.is_none() && table.required().any(|required| required == name);
        // The key that tells layouts apart means what its table is.
        let is_tag = key_schema.get("const").is_some();
        let meaning = one_line(if is_tag { table.meaning() } else { description(key_schema) });
        let kind = type_of(schema, &shape, optional);
        let default_text = default_of(&shape, default, required);
        let _ = writeln!(rows, "| `{name}` | {kind} | {default_text} | {meaning} |");
        choices.push_str(&choices_of(schema, name, key_schema));
        let key = join(&heading.key, name);
        let header = format!("[{key}]");
        nested.push((
            key_schema,
            Heading { key, header, meaning: description(key_schema) },
            default,
        ));
    }
    let mut section = format!("## {}\n\n", code(&heading));
    if !heading.meaning.is_empty() {
        let _ = writeln!(section, "{}\n", one_line(heading.meaning));
    }
    section.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    section.push_str(&rows);
    if !choices.is_empty() {
        let _ = write!(section, "\n{choices}");
    }
    sections.push(section);
    for (key_schema, heading, default) in nested {
        collect(schema, key_schema, heading, default, sections);
    }
}

/// The heading's text; paths are code.
fn code(heading: &Heading<'_>) -> String {
    if heading.key.is_empty() { heading.header.clone() } else { format!("`{}`", heading.header) }
}

fn description(schema: &Json) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// A doc comment for a cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn type_of(schema: &Schema, shape: &Shape<'_>, optional: bool) -> String {
    let name = match shape {
        Shape::List(list) if table_item(schema, *list).is_some() => "array of tables".into(),
        Shape::List(list) => match list.item(0).map(|item| schema.shape(item).0) {
            Some(item) => format!("array of: {}", type_of(schema, &item, false)),
            None => "array".into(),
        },
        Shape::Choice(texts) => {
            let texts = quoted(texts.iter().copied(), '"');
            texts.split(", ").map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Text => "text".into(),
        Shape::Integer { least: Some(0), most: None } => "whole number".into(),
        Shape::Map(values) => {
            format!("table of: {}", type_of(schema, &schema.shape(values).0, false))
        }
        shape => shape.in_words().trim_start_matches("a ").to_string(),
    };
    if optional { format!("{name}, or `false`") } else { name }
}

fn default_of(shape: &Shape<'_>, default: Option<&Json>, required: bool) -> String {
    let is_table = matches!(shape, Shape::Table(_) | Shape::Variants { .. });
    match default {
        _ if required => "*required*".into(),
        None => String::new(),
        Some(Json::Null) => "`false`".into(),
        Some(_) if is_table => "below".into(),
        Some(Json::Object(keys)) if keys.is_empty() => "`{}`".into(),
        Some(value) => format!("`{value}`"),
    }
}

/// What each text of a choice means, as a list.
fn choices_of(schema: &Schema, name: &str, key_schema: &Json) -> String {
    let meanings = schema.meanings(key_schema);
    let line =
        |(text, meaning): (&str, &str)| format!("- `{name} = \"{text}\"`: {}\n", one_line(meaning));
    meanings.into_iter().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_the_schema_s() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/experiment-reference.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default().replace("\r\n", "\n");
        assert!(
            committed == markdown(),
            "the schema has changed; write its reference again:\n\
             cargo run -- experiment reference > docs/src/experiment-reference.md"
        );
    }

    #[test]
    fn every_key_has_a_meaning() {
        for line in markdown().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "{line}");
        }
    }
}

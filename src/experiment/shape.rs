//! The JSON schema of an experiment, read as what may stand at a key.

use schemars::schema_for;
use serde_json::Value as Json;

use super::schema::Experiment;

/// What may stand at any key; made from the structs and their docs.
pub(super) struct Schema {
    root: Json,
}

/// What may stand at a key.
pub(super) enum Shape<'s> {
    /// A table with these keys.
    Table(Table<'s>),
    /// A table whose keys depend on the value of the key `tag`.
    Variants { tag: &'s str, variants: Vec<(&'s str, Table<'s>)> },
    /// A table with keys of the user's choice.
    Map(&'s Json),
    /// An array.
    List(List<'s>),
    /// One of these texts.
    Choice(Vec<&'s str>),
    /// Any text.
    Text,
    /// A whole number within bounds.
    Integer { least: Option<i64>, most: Option<i64> },
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Something that only serde can judge.
    Anything,
}

/// The keys of a table.
#[derive(Clone, Copy)]
pub(super) struct Table<'s> {
    schema: &'s Json,
}

/// The items of an array.
#[derive(Clone, Copy)]
pub(super) struct List<'s> {
    schema: &'s Json,
}

impl Schema {
    /// The schema of [`Experiment`].
    pub(super) fn of_experiment() -> Self {
        Self { root: schema_for!(Experiment).to_value() }
    }

    /// The schema of the whole document.
    pub(super) fn root(&self) -> &Json {
        &self.root
    }

    /// What `schema` allows, and whether the key is optional: can be taken away with `false`.
    pub(super) fn shape<'s>(&'s self, schema: &'s Json) -> (Shape<'s>, bool) {
        let (schema, optional) = self.resolve(schema);
        (shape_of(schema), optional)
    }

    /// What may stand at a dotted key; `None` where there is no such key.
    pub(super) fn at(&self, key: &str) -> Option<(Shape<'_>, bool)> {
        let mut schema = &self.root;
        for part in key.split('.') {
            schema = match self.shape(schema).0 {
                Shape::Table(table) => table.key(part)?,
                Shape::Variants { variants, .. } => {
                    variants.iter().find_map(|(_, table)| table.key(part))?
                }
                Shape::Map(values) => values,
                Shape::List(list) => list.item(part.parse().ok()?)?,
                _ => return None,
            };
        }
        Some(self.shape(schema))
    }

    /// The texts of a choice and what they mean, where they have docs.
    pub(super) fn meanings<'s>(&'s self, schema: &'s Json) -> Vec<(&'s str, &'s str)> {
        let variants = self.resolve(schema).0["oneOf"].as_array();
        let documented = |v: &'s Json| Some((v["const"].as_str()?, v["description"].as_str()?));
        variants.into_iter().flatten().filter_map(documented).collect()
    }

    /// Every dotted key whose last part is `name`; the keys of an array's items are those of item 0.
    pub(super) fn keys_named(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_keys(&self.root, "", name, &mut found);
        found
    }

    fn collect_keys(&self, schema: &Json, at: &str, name: &str, found: &mut Vec<String>) {
        let tables = match self.shape(schema).0 {
            Shape::Table(table) => vec![table],
            Shape::Variants { variants, .. } => variants.into_iter().map(|(_, t)| t).collect(),
            Shape::List(list) => {
                if let Some(item) = list.item(0) {
                    self.collect_keys(item, &join(at, "0"), name, found);
                }
                return;
            }
            _ => return,
        };
        for (key, schema) in tables.into_iter().flat_map(Table::keys) {
            let path = join(at, key);
            self.collect_keys(schema, &path, name, found);
            if key == name && !found.contains(&path) {
                found.push(path);
            }
        }
    }

    /// Follows references, and takes the `null` out of what may be null.
    fn resolve<'s>(&'s self, mut schema: &'s Json) -> (&'s Json, bool) {
        let is_null = |schema: &Json| schema["type"] == "null";
        let mut optional = false;
        loop {
            if let Some(reference) = schema["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                schema = self.root.pointer(pointer).unwrap_or(&Json::Null);
            } else if let Some(options) = schema["anyOf"].as_array()
                && let [one, other] = options.as_slice()
                && is_null(one) != is_null(other)
            {
                optional = true;
                schema = if is_null(one) { other } else { one };
            } else {
                let types = schema["type"].as_array();
                let null = types.is_some_and(|types| types.iter().any(|name| name == "null"));
                return (schema, optional || null);
            }
        }
    }
}

fn shape_of(schema: &Json) -> Shape<'_> {
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants_of(variants);
    }
    if let Some(texts) = schema["enum"].as_array() {
        return Shape::Choice(texts.iter().filter_map(Json::as_str).collect());
    }
    if let Some(text) = schema["const"].as_str() {
        return Shape::Choice(vec![text]);
    }
    let bound = |key: &str| schema[key].as_i64();
    let name = match &schema["type"] {
        Json::Array(names) => names.iter().find(|name| *name != "null"),
        name => Some(name),
    };
    match name.and_then(Json::as_str) {
        Some("object") if schema["properties"].is_object() => Shape::Table(Table { schema }),
        Some("object") if schema["additionalProperties"].is_object() => {
            Shape::Map(&schema["additionalProperties"])
        }
        Some("object") if schema["additionalProperties"] == false => Shape::Table(Table { schema }),
        Some("array") => Shape::List(List { schema }),
        Some("string") => Shape::Text,
        Some("integer") => Shape::Integer { least: bound("minimum"), most: bound("maximum") },
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Boolean,
        _ => Shape::Anything,
    }
}

/// An enum: of texts, or of tables that a key tells apart.
fn variants_of(variants: &[Json]) -> Shape<'_> {
    if let Some(texts) = texts_of(variants) {
        return Shape::Choice(texts);
    }
    let tables = variants.iter().map(|schema| {
        let table = Table { schema };
        let (tag, name) =
            table.keys().find_map(|(key, schema)| Some((key, schema["const"].as_str()?)))?;
        Some((tag, (name, table)))
    });
    let Some(tables) = tables.collect::<Option<Vec<_>>>() else { return Shape::Anything };
    let Some(&(tag, _)) = tables.first() else { return Shape::Anything };
    Shape::Variants { tag, variants: tables.into_iter().map(|(_, variant)| variant).collect() }
}

fn texts_of(variants: &[Json]) -> Option<Vec<&str>> {
    let mut texts = Vec::new();
    for variant in variants {
        match (variant["const"].as_str(), variant["enum"].as_array()) {
            (Some(text), _) => texts.push(text),
            (None, Some(names)) => texts.extend(names.iter().filter_map(Json::as_str)),
            (None, None) => return None,
        }
    }
    Some(texts)
}

impl<'s> Table<'s> {
    /// Every key and its schema.
    pub(super) fn keys(self) -> impl Iterator<Item = (&'s str, &'s Json)> {
        let keys = self.schema["properties"].as_object();
        keys.into_iter().flatten().map(|(key, schema)| (key.as_str(), schema))
    }

    /// The schema of a key.
    pub(super) fn key(self, name: &str) -> Option<&'s Json> {
        self.schema["properties"].get(name)
    }

    /// What the table is.
    pub(super) fn meaning(self) -> &'s str {
        self.schema["description"].as_str().unwrap_or_default()
    }

    /// Keys that must be written.
    pub(super) fn required(self) -> impl Iterator<Item = &'s str> {
        self.schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str)
    }
}

impl<'s> List<'s> {
    /// The schema of item `index`; `None` where the array is shorter.
    pub(super) fn item(self, index: usize) -> Option<&'s Json> {
        match self.schema["prefixItems"].as_array() {
            Some(items) => items.get(index),
            None => self.schema.get("items"),
        }
    }

    /// The number of items that is wanted, where it is fixed.
    pub(super) fn length(self) -> Option<u64> {
        let (least, most) = (self.schema["minItems"].as_u64(), self.schema["maxItems"].as_u64());
        least.filter(|_| least == most)
    }
}

impl Shape<'_> {
    /// What is allowed, in words.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Table(_) | Self::Variants { .. } | Self::Map(_) => "a table".into(),
            Self::List(list) => match list.length() {
                Some(length) => format!("an array of {length}"),
                None => "an array".into(),
            },
            Self::Choice(texts) => quoted(texts.iter().copied(), '"'),
            Self::Text => "text in quotes".into(),
            Self::Integer { least: Some(least), most: Some(most) } => {
                format!("a whole number from {least} to {most}")
            }
            Self::Integer { least: Some(least), .. } => {
                format!("a whole number of at least {least}")
            }
            Self::Integer { .. } => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Boolean => "true or false".into(),
            Self::Anything => "see the experiment reference".into(),
        }
    }
}

/// `a.b` and `c` → `a.b.c`
pub(super) fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.into() } else { format!("{key}.{name}") }
}

/// Names in quotes, with commas.
pub(super) fn quoted<'a>(names: impl Iterator<Item = &'a str>, quote: char) -> String {
    names.map(|name| format!("{quote}{name}{quote}")).collect::<Vec<_>>().join(", ")
}

//! `extends`: the files that a file builds on.

use std::path::{Path, PathBuf};

use super::document::{Node, Value};
use super::renamed;
use crate::error::{Error, Result};

/// The key of a file that names the files it builds on.
pub(super) const EXTENDS: &str = "extends";

/// The file at `path` laid over all that it extends, without the key `extends`.
pub(super) fn read(path: &Path) -> Result<Node> {
    read_within(path, None, &mut Vec::new())
}

/// Reads `path`, named at `named_at` by the last file of `chain` (the first file has no such place).
fn read_within(path: &Path, named_at: Option<&str>, chain: &mut Vec<PathBuf>) -> Result<Node> {
    let text = std::fs::read_to_string(path).map_err(|error| match named_at {
        None => Error::io("read", path)(error),
        Some(origin) => problem(
            origin,
            format!("cannot read {}: {error}", path.display()),
            "Paths in `extends` are relative to the file that says it.",
        ),
    })?;
    let mut document = Node::parse(path, &text)?;
    renamed::apply(&mut document);
    let extended = take_extends(&mut document)?;
    chain.push(path.to_path_buf());
    let mut merged = Node::table(path.display().to_string());
    for (origin, other) in extended {
        let other = path.parent().unwrap_or(Path::new("")).join(other);
        refuse_cycle(&origin, &other, chain)?;
        merged.merge(read_within(&other, Some(&origin), chain)?);
    }
    chain.pop();
    merged.merge(document);
    Ok(merged)
}

fn refuse_cycle(origin: &str, next: &Path, chain: &[PathBuf]) -> Result<()> {
    // Compared as the system sees them: links and `..` give one file many names.
    let identity = |path: &Path| path.canonicalize().ok();
    let is_next = |path: &PathBuf| identity(path).is_some_and(|file| Some(file) == identity(next));
    let Some(start) = chain.iter().position(is_next) else { return Ok(()) };
    let mut names: Vec<_> = chain[start..].iter().map(|path| path.display().to_string()).collect();
    names.push(next.display().to_string());
    Err(problem(
        origin,
        format!("files extend each other in a circle: {}", names.join(" → ")),
        "Remove one `extends` of the circle.",
    ))
}

/// Takes the key out: the paths, and where each is written.
fn take_extends(document: &mut Node) -> Result<Vec<(String, String)>> {
    let Value::Table(keys) = &mut document.value else { return Ok(Vec::new()) };
    let Some(node) = keys.remove(EXTENDS) else { return Ok(Vec::new()) };
    let items = match node.value {
        Value::Array(items) => items,
        value => vec![Node { origin: node.origin, value }],
    };
    let path = |item: Node| match item.value {
        Value::String(path) => Ok((item.origin, path)),
        _ => Err(problem(
            &item.origin,
            "is not the path of a file".into(),
            "Allowed: \"other.toml\", or [\"one.toml\", \"two.toml\"].",
        )),
    };
    items.into_iter().map(path).collect()
}

fn problem(origin: &str, problem: String, help: &str) -> Error {
    Error::Experiment { origin: origin.into(), key: EXTENDS.into(), problem, help: help.into() }
}

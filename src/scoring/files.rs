//! Opening files of references and predictions, and which ids they share. What is in them says
//! [`crate::data::formats::results`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Options;
use crate::data::formats::{Id, null_non_numbers};
use crate::error::{Error, Result};

/// Reads a file. `NaN` and `Infinity`, which Python writes and JSON does not have, are read as `null`.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is not a `T`.
pub fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let mut bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let parse = |bytes: &[u8]| {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize::<_, T>(&mut json)
    };
    let mut parsed = parse(&bytes);
    let is_no_json =
        |error: &serde_path_to_error::Error<serde_json::Error>| error.inner().is_syntax();
    if parsed.as_ref().is_err_and(is_no_json) && null_non_numbers(&mut bytes) {
        parsed = parse(&bytes);
    }
    parsed.map_err(|error| Error::format(path, format!("these are no {what}: {error}"), HELP))
}

const HELP: &str = "The formats are described in docs/src/metrics.md.";

/// An error about a sample of a file.
pub(super) fn problem(path: &Path, problem: impl Into<String>) -> Error {
    Error::format(path, problem, HELP)
}

/// The ids that both files have; the others are an error, or a note.
///
/// # Errors
/// [`Error::Format`] that names the first id of one file only, unless missing samples are allowed.
pub(super) fn common_ids<R, P>(
    references: (&Path, &BTreeMap<Id, R>),
    predictions: (&Path, &BTreeMap<Id, P>),
    what: &str,
    options: Options,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<Id>> {
    let lacking = |of: Vec<&Id>, path: &Path, lack: &str, notes: &mut Vec<String>| {
        let Some(first) = of.first() else { return Ok(()) };
        let number = of.len();
        if options.allow_missing {
            notes.push(format!("{number} {what}s without {lack} are left out, such as {first}"));
            return Ok(());
        }
        let text = format!("{what} {first} has no {lack} ({number} of them)");
        let help = "Give the file that belongs to the other one, or --allow-missing.";
        Err(Error::format(path, text, help))
    };
    let (of_references, of_predictions) = (references.1, predictions.1);
    let unpredicted: Vec<&Id> =
        of_references.keys().filter(|id| !of_predictions.contains_key(id)).collect();
    lacking(unpredicted, predictions.0, "prediction", notes)?;
    let unknown: Vec<&Id> =
        of_predictions.keys().filter(|id| !of_references.contains_key(id)).collect();
    lacking(unknown, references.0, "reference", notes)?;
    Ok(of_references.keys().filter(|id| of_predictions.contains_key(id)).cloned().collect())
}

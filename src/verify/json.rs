//! Files of JSON in a folder of expected values.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The file `name` of `folder`.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is not a `T`.
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let help = "Is it a whole folder of expected values?";
        Error::format(&path, format!("it cannot be used: {error}"), help)
    })
}

//! Floor 3: the TOML schema of an experiment.

pub mod schema;

pub use schema::Experiment;

use crate::error::{Error, Result};
use std::path::Path;

/// Placeholder.
pub fn load(path: &Path, _overrides: &[String]) -> Result<Experiment> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    toml::from_str(&text).map_err(|e| Error::format(path, e.to_string(), ""))
}

/// Placeholder.
pub fn to_toml(experiment: &Experiment) -> Result<String> {
    toml::to_string(experiment).map_err(|e| Error::format("experiment", e.to_string(), ""))
}

//! Floor 3: what makes a run. A TOML file, the files it extends and `--set` become an [`Experiment`],
//! or an error that names file, line and key.
//!
//! The way of a file: [`extends`] reads it over the files it extends, [`overrides`] sets what the
//! command line says, [`check`] holds every key and value against the schema, serde makes the
//! [`Experiment`], [`published`] fills in what a published model says of itself, and [`validate`] looks at what no single value can show.

mod check;
pub mod checkpoints;
pub mod devices;
mod document;
mod extends;
pub mod logging;
mod overrides;
pub mod path_pattern;
mod problem;
mod published;
pub mod reference;
mod renamed;
pub mod schema;
mod shape;
mod validate;

use std::path::Path;

use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::model::ConfigProblem;
use crate::model::pixel_llm::PixelLlmConfig;
use document::Node;
use problem::Problem;
pub(crate) use problem::did_you_mean;
use shape::Schema;

pub use schema::Experiment;

/// Reads the experiment at `path`, with each of `overrides` (`path.to.key=value`) on top.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Document`] where it is not TOML, else
/// [`Error::Experiment`] about the first problem; its help lists all others.
pub fn load(path: &Path, overrides: &[String]) -> Result<Experiment> {
    load_checked(path, overrides, Experiment::validate)
}

/// Reads the model of the experiment at `path`, which may be a preset: what is not about the model may
/// be missing.
///
/// # Errors
/// As [`load`], for what is there.
pub fn load_model(path: &Path, overrides: &[String]) -> Result<PixelLlmConfig> {
    let check = |experiment: &Experiment| {
        let is_of_model = |problem: &ConfigProblem| problem.key.starts_with("model.");
        experiment.validate().into_iter().filter(is_of_model).collect()
    };
    Ok(load_checked(path, overrides, check)?.model)
}

fn load_checked(
    path: &Path,
    overrides: &[String],
    check: impl Fn(&Experiment) -> Vec<ConfigProblem>,
) -> Result<Experiment> {
    let schema = Schema::of_experiment();
    let mut document = extends::read(path)?;
    overrides::apply(&mut document, overrides, &schema)?;
    let mut problems = Vec::new();
    let json = check::to_json(&document, &schema, &mut problems);
    problem::report(problems)?;
    let mut experiment = deserialize(json, &document)?;
    published::apply(&mut experiment, &document)?;
    problem::report(
        check(&experiment).into_iter().map(|p| Problem::of_config(p, &document)).collect(),
    )?;
    Ok(experiment)
}

/// Serde's turn. The schema has been checked by now, so what fails here is a rule that the schema
/// cannot say.
fn deserialize(json: Json, document: &Node) -> Result<Experiment> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let key = error.path().to_string().replace('[', ".").replace(']', "");
        Error::Experiment {
            origin: document.origin_of(&key).to_string(),
            key,
            problem: error.inner().to_string(),
            help: "See the experiment reference: pixelllm experiment reference".into(),
        }
    })
}

/// The experiment with every key written out; reading it gives an equal one. Optional keys that are
/// left out read `false`.
///
/// # Errors
/// [`Error::Format`] where TOML cannot say a value; no valid experiment has one.
pub fn to_toml(experiment: &Experiment) -> Result<String> {
    let unsayable = |problem: String| {
        Error::format(format!("{}.toml", experiment.name), problem, "Use finite numbers and UTF-8.")
    };
    let mut json = serde_json::to_value(experiment).map_err(|e| unsayable(e.to_string()))?;
    nulls_to_false(&mut json);
    toml::to_string_pretty(&json).map_err(|error| unsayable(error.to_string()))
}

/// TOML has no null; `false` stands for it (see [`check`]).
fn nulls_to_false(json: &mut Json) {
    match json {
        Json::Null => *json = Json::Bool(false),
        Json::Array(items) => items.iter_mut().for_each(nulls_to_false),
        Json::Object(keys) => keys.values_mut().for_each(nulls_to_false),
        _ => {}
    }
}

//! `model.language.config`: the sizes of a language model from the `config.json` of a published one.

use std::path::Path;

use super::document::Node;
use super::problem::{Problem, report};
use super::schema::Experiment;
use crate::error::{Error, Result};
use crate::model::language::LanguageConfig;
use crate::weights::hub::{self, Wanted};
use crate::weights::t5_config::PublishedT5;

/// The keys of the language model.
const LANGUAGE: &str = "model.language";

/// Replaces `model.language.config` by what the file says; keys that are written in `document` must
/// agree with it.
pub(super) fn apply(experiment: &mut Experiment, document: &Node) -> Result<()> {
    let LanguageConfig::T5(language) = &mut experiment.model.language else { return Ok(()) };
    let Some(config) = language.config.take() else { return Ok(()) };
    let path = hub::locate(&config, Wanted::Config)?;
    let published = PublishedT5::read(&path)?.ok_or_else(|| not_t5(&path))?;
    let is_said = |key: &str| document.contains(&format!("{LANGUAGE}.{key}"));
    let problems = published.differences(language, is_said).into_iter().map(|difference| {
        // A number of `size` has no line of its own.
        let key = if is_said(difference.key) { difference.key } else { "size" };
        let name = if key == difference.key { "" } else { difference.key };
        let problem = format!("{name} {}", difference.problem);
        let key = format!("{LANGUAGE}.{key}");
        Problem {
            origin: document.origin_of(&key).into(),
            key,
            problem: problem.trim_start().into(),
            help: format!("Leave the key out, and {} says it; or correct it.", path.display()),
        }
    });
    report(problems.collect())?;
    let dropout = language.dropout;
    *language = published.fill(language);
    if is_said("dropout") {
        language.dropout = dropout;
    }
    Ok(())
}

fn not_t5(path: &Path) -> Error {
    let help = "Give the config.json of a T5 1.1 or Flan-T5.";
    Error::format(path, "it is not that of a T5", help)
}

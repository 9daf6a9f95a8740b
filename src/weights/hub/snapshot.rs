//! What Hugging Face's cache has: `models--owner--name/refs/<revision>` holds a commit, whose files are
//! in `snapshots/<commit>/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Wanted;
use super::environment::Environment;
use super::name::HubName;
use crate::error::{Error, Result};
use crate::weights::file::{self, TensorFile};

/// What the cache does not have.
#[derive(Debug)]
pub(super) struct Missing {
    /// What was looked for, and where.
    problem: String,
    /// What to hand to Hugging Face's tool.
    arguments: String,
}

impl Missing {
    /// The error about it: `why` it was not downloaded, and what else might help.
    pub(super) fn error(&self, name: &HubName, why: &str, help: &str) -> Error {
        let command = name.command(&self.arguments);
        Error::Hub {
            name: name.to_string(),
            problem: format!("{}; {why}", self.problem),
            help: format!(
                "Fetch it by hand, where there is a network, into the same cache: `{command}`. {help}"
            ),
        }
    }
}

/// The file that is wanted of `name`, where the cache has all of it.
pub(super) fn find(
    name: &HubName,
    wanted: Wanted,
    environment: &Environment<'_>,
) -> Result<Result<PathBuf, Missing>> {
    let root = environment.cache()?.join(name.repo().folder_name());
    let arguments = name.file.clone().unwrap_or_else(|| wanted.arguments().into());
    let missing = |problem: String| Ok(Err(Missing { problem, arguments }));
    let Some(folder) = folder(&root, &name.revision) else {
        let (revision, root) = (&name.revision, root.display());
        return missing(format!("there is no revision `{revision}` in the cache, {root}"));
    };
    let files = file::names_in(&folder)?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let file = match &name.file {
        Some(file) => Some(file.as_str()).filter(|file| folder.join(file).is_file()),
        None => wanted.choose(&files),
    };
    let Some(file) = file else {
        let looked_for = match &name.file {
            Some(file) => format!("`{file}`"),
            None => wanted.in_words().into(),
        };
        return missing(format!("there is no {looked_for} in the cache, {}", folder.display()));
    };
    let path = folder.join(file);
    let parts = TensorFile::parts(&path)?;
    let absent: Vec<_> = parts.iter().filter(|part| !part.is_file()).collect();
    if absent.is_empty() {
        return Ok(Ok(path));
    }
    let absent = absent.into_iter().filter_map(|part| part.strip_prefix(&folder).ok());
    let absent: Vec<_> = absent.map(|part| part.display().to_string()).collect();
    let problem =
        format!("the cache, {}, lacks the shards {}", folder.display(), absent.join(", "));
    Ok(Err(Missing { problem, arguments: absent.join(" ") }))
}

/// The folder of a revision, where there is one.
fn folder(root: &Path, revision: &str) -> Option<PathBuf> {
    let named = fs::read_to_string(root.join("refs").join(revision)).ok();
    let commit = named.as_deref().map_or(revision, str::trim);
    let folder = root.join("snapshots").join(commit);
    (!commit.is_empty() && folder.is_dir()).then_some(folder)
}

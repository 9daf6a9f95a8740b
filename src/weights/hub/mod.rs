//! `hf:owner/name[@revision][/file]`: files of Hugging Face, by name, to files of this machine.
//!
//! What is in Hugging Face's cache is taken from there, and asked for nowhere. What is not is
//! downloaded into it by builds with the feature `hub`; all others, and those that are told to stay
//! offline, say what to run instead.
//!
//! | file | subject |
//! |---|---|
//! | `name` | the names |
//! | `environment` | the variables that Hugging Face's own tools obey |
//! | `snapshot` | what the cache has |
//! | `download` | what it does not have |

#[cfg(feature = "hub")]
mod download;
mod environment;
mod name;
mod snapshot;

use std::path::{Path, PathBuf};

use super::file;
use crate::error::{Error, Result};
use environment::Environment;
use name::HubName;
use snapshot::Missing;

/// What a repository or a folder is opened for where no file of it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Weights: the index of shards, or one safetensors file.
    Weights,
    /// A tokenizer: `tokenizer.json`, SentencePiece's `spiece.model` or BERT's `vocab.txt`.
    Tokenizer,
    /// The sizes of a model: `config.json`.
    Config,
}

/// Files of a tokenizer, the one that says most first.
const TOKENIZERS: [&str; 3] = ["tokenizer.json", "spiece.model", "vocab.txt"];
/// Why nothing is downloaded on request.
const OFFLINE: &str = "HF_HUB_OFFLINE is set, so nothing is downloaded";
/// The file of a model's sizes.
const CONFIG: &str = "config.json";

impl Wanted {
    /// The one of `files` that is wanted.
    fn choose<'a>(self, files: &[&'a str]) -> Option<&'a str> {
        let first = |wanted: &[&str]| {
            wanted.iter().find_map(|name| files.iter().copied().find(|file| file == name))
        };
        match self {
            Self::Weights => file::chosen(files),
            Self::Tokenizer => first(&TOKENIZERS),
            Self::Config => first(&[CONFIG]),
        }
    }

    /// What is looked for, in words.
    fn in_words(self) -> &'static str {
        match self {
            Self::Weights => "`model.safetensors` or `model.safetensors.index.json`",
            Self::Tokenizer => "`tokenizer.json`, `spiece.model` or `vocab.txt`",
            Self::Config => "`config.json`",
        }
    }

    /// The arguments with which Hugging Face's tool fetches it.
    fn arguments(self) -> &'static str {
        match self {
            Self::Weights => "--include \"model*.safetensors*\"",
            Self::Tokenizer => {
                "--include \"tokenizer*.json\" --include spiece.model --include vocab.txt"
            }
            Self::Config => "config.json",
        }
    }
}

/// Whether `path` is the name of something on Hugging Face.
pub fn is_name(path: &Path) -> bool {
    HubName::is_meant(path)
}

/// The file that `path` names on this machine. A name of Hugging Face is looked up in its cache, and
/// downloaded where this build can and may; of a folder the file that is wanted is taken; any other
/// path is as it is. Of weights in shards it is the index, and all shards are there.
///
/// # Errors
/// [`Error::Usage`] where a name is malformed, [`Error::Hub`] where it cannot be had, [`Error::Io`]
/// or [`Error::Format`] where a folder or an index cannot be used.
pub fn locate(path: &Path, wanted: Wanted) -> Result<PathBuf> {
    let Some(name) = HubName::parse(path)? else { return in_folder(path, wanted) };
    locate_name(&name, wanted, &Environment::of_process())
}

fn in_folder(path: &Path, wanted: Wanted) -> Result<PathBuf> {
    // A folder of weights is opened by its reader, which says what it wants.
    if wanted == Wanted::Weights || !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let names = file::names_in(path)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match wanted.choose(&names) {
        Some(name) => Ok(path.join(name)),
        None => {
            let problem = format!("the folder has no {}", wanted.in_words());
            Err(Error::format(path, problem, "Name the file itself."))
        }
    }
}

fn locate_name(name: &HubName, wanted: Wanted, environment: &Environment<'_>) -> Result<PathBuf> {
    match snapshot::find(name, wanted, environment)? {
        Ok(path) => Ok(path),
        Err(missing) if environment.is_offline() => {
            Err(missing.error(name, OFFLINE, "Or unset HF_HUB_OFFLINE."))
        }
        Err(missing) => fetch(name, wanted, environment, &missing),
    }
}

/// Downloads what the cache does not have.
#[cfg(feature = "hub")]
fn fetch(
    name: &HubName,
    wanted: Wanted,
    environment: &Environment<'_>,
    missing: &Missing,
) -> Result<PathBuf> {
    download::download(name, wanted, environment).map_err(|why| match why {
        download::Failure::Error(error) => error,
        download::Failure::Remote(why) => {
            let help = "Check the name and the network; what is private or gated needs a token in \
                        HF_TOKEN.";
            missing.error(name, &why, help)
        }
    })
}

/// Says how to get what the cache does not have.
#[cfg(not(feature = "hub"))]
fn fetch(
    name: &HubName,
    _wanted: Wanted,
    _environment: &Environment<'_>,
    missing: &Missing,
) -> Result<PathBuf> {
    let help = "Or build with `--features hub`, which downloads.";
    Err(missing.error(name, "this build does not download", help))
}

#[cfg(test)]
mod tests;

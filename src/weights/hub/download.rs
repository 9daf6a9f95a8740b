//! Downloads into Hugging Face's cache.

use std::path::{Path, PathBuf};

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use indicatif::ProgressBar;

use super::Wanted;
use super::environment::Environment;
use super::name::HubName;
use crate::error::{Error, Result};
use crate::weights::file::TensorFile;

/// How often a download that breaks off goes on.
const MAX_RETRIES: usize = 3;
/// Most names of files in a message.
const MOST_NAMES: usize = 12;

/// Why a download failed.
pub(super) enum Failure {
    /// The hub did not give it.
    Remote(String),
    /// Something on this machine.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Downloads what is wanted of `name`, with the shards that an index names; its path in the cache. All
/// files are of the commit that the revision has when the download begins.
pub(super) fn download(
    name: &HubName,
    wanted: Wanted,
    environment: &Environment<'_>,
) -> Result<PathBuf, Failure> {
    let endpoint = environment.endpoint();
    let failed = |error: ApiError| Failure::Remote(format!("{endpoint} does not give it: {error}"));
    let cache = Cache::new(environment.cache()?);
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint.clone())
        .with_token(environment.token()?)
        .with_retries(MAX_RETRIES)
        .with_progress(false)
        .build()
        .map_err(failed)?;
    let info = api.repo(name.repo()).info().map_err(failed)?;
    let commit = info.sha;
    if commit.is_empty() || !commit.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Err(Failure::Remote(format!(
            "{endpoint} names the commit {commit:?}, which is none"
        )));
    }
    let files: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let file = match &name.file {
        Some(file) => files.iter().copied().find(|found| found == file),
        None => wanted.choose(&files),
    };
    let Some(file) = file else {
        let looked_for = name.file.as_deref().unwrap_or(wanted.in_words());
        let some = files.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        return Err(Failure::Remote(format!("{endpoint} has no {looked_for} there, but {some}")));
    };
    let cached = cache.repo(name.repo_at(commit.clone()));
    let folder = cached.pointer_path(&commit);
    let repo = api.repo(name.repo_at(commit.clone()));
    let path = get(&repo, &folder, file, name, &endpoint).map_err(failed)?;
    for part in TensorFile::parts(&path)?.iter().skip(1) {
        let shard = part.strip_prefix(&folder).unwrap_or(part).to_string_lossy();
        get(&repo, &folder, &shard, name, &endpoint).map_err(failed)?;
    }
    let recorded = cache.repo(name.repo()).create_ref(&commit);
    recorded.map_err(Error::io("write", folder))?;
    Ok(path)
}

/// One file, unless it is there already.
fn get(
    repo: &ApiRepo,
    folder: &Path,
    file: &str,
    name: &HubName,
    endpoint: &str,
) -> Result<PathBuf, ApiError> {
    let path = folder.join(file);
    if path.is_file() {
        return Ok(path);
    }
    tracing::info!("{}: downloading {file} from {endpoint}", name.repository);
    repo.download_with_progress(file, ProgressBar::new(0))
}

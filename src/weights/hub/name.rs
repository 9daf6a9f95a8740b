//! Names of repositories and files on Hugging Face.

use std::path::Path;

use hf_hub::{Repo, RepoType};

use crate::error::{Error, Result};

/// What names begin with.
const SCHEME: &str = "hf:";
/// What is read where no revision is named.
const MAIN: &str = "main";
/// A slash in a revision, such as `refs/pr/1`.
const SLASH: &str = "%2F";

/// A repository at a revision, and a file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubName {
    /// `owner/name`.
    pub(super) repository: String,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
    /// The path of a file in it; `None` for whatever is wanted.
    pub(super) file: Option<String>,
}

impl HubName {
    /// Whether `path` is meant as a name.
    pub(super) fn is_meant(path: &Path) -> bool {
        path.to_str().is_some_and(|text| text.starts_with(SCHEME))
    }

    /// The name that `path` is; `None` where it is a path.
    ///
    /// # Errors
    /// [`Error::Usage`] where a name lacks something.
    pub(super) fn parse(path: &Path) -> Result<Option<Self>> {
        let Some(rest) = path.to_str().and_then(|text| text.strip_prefix(SCHEME)) else {
            return Ok(None);
        };
        Self::of(rest).map(Some).ok_or_else(|| Error::Usage {
            problem: format!("{:?} is no name of Hugging Face", path.display().to_string()),
            help:
                "Names are `hf:owner/name[@revision][/file]`, such as \"hf:google/flan-t5-small\" \
                   or \"hf:google-bert/bert-base-uncased@main/vocab.txt\"; a slash in a revision \
                   is written %2F."
                    .into(),
        })
    }

    fn of(rest: &str) -> Option<Self> {
        let (owner, rest) = rest.split_once('/')?;
        let (name, file) = match rest.split_once('/') {
            Some((name, file)) => (name, Some(file)),
            None => (rest, None),
        };
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, revision.replace(SLASH, "/")),
            None => (name, MAIN.to_string()),
        };
        // Each part becomes part of a path: no part may leave the cache.
        let is_plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0'])
        };
        let parts = [owner, name].into_iter().chain(revision.split('/'));
        let mut parts = parts.chain(file.into_iter().flat_map(|file| file.split('/')));
        if !parts.all(is_plain) {
            return None;
        }
        let repository = format!("{owner}/{name}");
        Some(Self { repository, revision: revision.clone(), file: file.map(String::from) })
    }

    /// As the crate of Hugging Face has it.
    pub(super) fn repo(&self) -> Repo {
        self.repo_at(self.revision.clone())
    }

    /// The same repository at another revision.
    pub(super) fn repo_at(&self, revision: String) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, revision)
    }

    /// The command that fetches `arguments` of it.
    pub(super) fn command(&self, arguments: &str) -> String {
        let Self { repository, revision, .. } = self;
        let revision = match revision.as_str() {
            MAIN => String::new(),
            revision => format!(" --revision {revision}"),
        };
        format!("hf download {repository} {arguments}{revision}")
    }
}

impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision.replace('/', SLASH))?;
        }
        self.file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_repository_and_may_have_a_revision_and_a_file() {
        let parsed = |text: &str| HubName::parse(Path::new(text)).unwrap().unwrap();
        let expected = |revision: &str, file: Option<&str>| HubName {
            repository: "google/flan-t5-xl".into(),
            revision: revision.into(),
            file: file.map(String::from),
        };
        for (text, revision, file) in [
            ("hf:google/flan-t5-xl", "main", None),
            ("hf:google/flan-t5-xl@v1.0", "v1.0", None),
            ("hf:google/flan-t5-xl/sub/x.safetensors", "main", Some("sub/x.safetensors")),
            ("hf:google/flan-t5-xl@refs%2Fpr%2F1/config.json", "refs/pr/1", Some("config.json")),
        ] {
            assert_eq!(parsed(text), expected(revision, file), "{text}");
            assert_eq!(parsed(text).to_string(), text);
        }
        assert_eq!(HubName::parse(Path::new("weights/hf/model.safetensors")).unwrap(), None);
    }

    #[test]
    fn a_name_that_lacks_a_part_or_leaves_the_cache_is_refused() {
        for text in [
            "hf:",
            "hf:flan-t5-xl",
            "hf:google/",
            "hf:/flan",
            "hf:google/flan@",
            "hf:google/flan/",
            "hf:google/flan/../../secret",
            "hf:../flan",
            "hf:google/flan@..%2F..%2Fx",
            "hf:google/flan//x",
        ] {
            let error = HubName::parse(Path::new(text)).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{text}: {error:?}");
        }
    }
}

//! The variables of the environment that Hugging Face's own tools obey.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// The public hub.
#[cfg(feature = "hub")]
const ENDPOINT: &str = "https://huggingface.co";

/// The value of a variable; `None` where it is not set.
type Variable<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads variables.
pub(super) struct Environment<'a> {
    variable: Box<Variable<'a>>,
}

impl Environment<'_> {
    /// That of this process.
    pub(super) fn of_process() -> Self {
        Self { variable: Box::new(|name| std::env::var(name).ok()) }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
            .map(|value| value.trim().to_string())
            .filter(|value| !value.is_empty())
    }

    /// The folder of downloaded repositories: `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub(super) fn cache(&self) -> Result<PathBuf> {
        match self.get("HF_HUB_CACHE") {
            Some(cache) => Ok(cache.into()),
            None => Ok(self.home()?.join("hub")),
        }
    }

    /// `HF_HOME`, or where it is by default.
    fn home(&self) -> Result<PathBuf> {
        if let Some(home) = self.get("HF_HOME") {
            return Ok(home.into());
        }
        let caches = self.get("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| Some(std::env::home_dir()?.join(".cache")));
        caches.map(|caches| caches.join("huggingface")).ok_or_else(|| Error::Usage {
            problem: "there is no home directory, so Hugging Face's cache cannot be found".into(),
            help: "Say where it is with HF_HOME.".into(),
        })
    }

    /// Whether `HF_HUB_OFFLINE` forbids downloads.
    pub(super) fn is_offline(&self) -> bool {
        let value = self.get("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
        ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
    }

    /// Where to download from: `HF_ENDPOINT`, or the public hub.
    #[cfg(feature = "hub")]
    pub(super) fn endpoint(&self) -> String {
        let endpoint = self.get("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        endpoint.trim_end_matches('/').to_string()
    }

    /// Who asks: `HF_TOKEN`, or what `hf auth login` left.
    #[cfg(feature = "hub")]
    pub(super) fn token(&self) -> Result<Option<String>> {
        if let Some(token) = self.get("HF_TOKEN") {
            return Ok(Some(token));
        }
        let path = match self.get("HF_TOKEN_PATH") {
            Some(path) => path.into(),
            None => self.home()?.join("token"),
        };
        let token = std::fs::read_to_string(path).ok();
        Ok(token.map(|token| token.trim().to_string()).filter(|token| !token.is_empty()))
    }
}

#[cfg(test)]
impl<'a> Environment<'a> {
    /// One with `variables` alone.
    pub(super) fn with(variables: &'a [(&'a str, &'a str)]) -> Self {
        let value = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        };
        Self { variable: Box::new(value) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_cache_is_where_the_nearest_variable_says() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")], "/a"),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c")], "/b/hub"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
            (&[("HF_HOME", "/b")], "/b/hub"),
        ];
        for (variables, expected) in cases {
            assert_eq!(Environment::with(variables).cache().unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn offline_is_said_as_python_says_it() {
        for (value, offline) in [("1", true), ("true", true), ("ON", true), ("0", false)] {
            let variables = [("HF_HUB_OFFLINE", value)];
            assert_eq!(Environment::with(&variables).is_offline(), offline, "{value}");
        }
        assert!(!Environment::with(&[]).is_offline());
    }

    #[cfg(feature = "hub")]
    #[test]
    fn a_token_is_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_string_lossy().into_owned();
        let both = [("HF_HOME", home.as_str()), ("HF_TOKEN", "said")];
        assert_eq!(Environment::with(&both).token().unwrap().as_deref(), Some("said"));
        let file = [("HF_HOME", home.as_str())];
        assert_eq!(Environment::with(&file).token().unwrap().as_deref(), Some("from-file"));
        let none = [("HF_HOME", "/nowhere")];
        assert_eq!(Environment::with(&none).token().unwrap(), None);
    }
}

//! The one error type of the library: what went wrong, where, and what to do about it.
//!
//! `Display` gives *what* and *where*; the `help` of [`miette::Diagnostic`] gives the remedy. The
//! command line renders both and exits with [`Error::exit_code`].

use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// Result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a user or a file can cause.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write something.
    #[error("cannot {action} {}: {source}", path.display())]
    #[diagnostic(help("{}", help_for_io(source)))]
    Io {
        /// What was tried: "read", "create", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file whose content is not what its format says.
    #[error("{}: {problem}", place(path, *line))]
    Format {
        /// The file.
        path: PathBuf,
        /// Line in the file, counted from 1, where the format has lines.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// An experiment or a sweep that cannot be read as one: it is not TOML, or not what a sweep says.
    #[error("{}: {problem}", place(path, *line))]
    Document {
        /// The file.
        path: PathBuf,
        /// Line in the file, counted from 1, where one is to blame.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// A key or value of an experiment that cannot be used.
    #[error("{origin}: `{key}`: {problem}")]
    Experiment {
        /// The file, or `--set`.
        origin: String,
        /// Dotted path of the key.
        key: String,
        /// What was found.
        problem: String,
        /// What is allowed; a did-you-mean where one is near.
        #[help]
        help: String,
    },

    /// A device that this build or this machine does not have.
    #[error("{problem}")]
    Device {
        /// One clear sentence.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// A run directory that lacks something, or does not fit what is asked of it.
    #[error("run {}: {problem}", path.display())]
    Run {
        /// The run directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// Something on Hugging Face that is neither in its cache nor to be downloaded.
    #[error("{name}: {problem}")]
    Hub {
        /// Its name, `hf:owner/name[@revision][/file]`.
        name: String,
        /// What was looked for and where, and why it was not downloaded.
        problem: String,
        /// What to do about it: the command that fetches it by hand.
        #[help]
        help: String,
    },

    /// A command-line argument that cannot be used.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },

    /// Training or inference stopped.
    #[error("{problem}")]
    Compute {
        /// What happened.
        problem: String,
        /// What to do about it.
        #[help]
        help: String,
    },
}

impl Error {
    /// An [`Error::Io`] about `path`; for `map_err`.
    pub fn io<P: AsRef<Path>>(
        action: &'static str,
        path: P,
    ) -> impl FnOnce(std::io::Error) -> Self + use<P> {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::Format`] about a whole file.
    pub fn format(
        path: impl AsRef<Path>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.as_ref().to_path_buf(),
            line: None,
            problem: problem.into(),
            help: help.into(),
        }
    }

    /// An [`Error::Format`] about line `line` (from 1) of a file.
    pub fn format_at(
        path: impl AsRef<Path>,
        line: usize,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.as_ref().to_path_buf(),
            line: Some(line),
            problem: problem.into(),
            help: help.into(),
        }
    }

    /// Exit code of the command line: 2 for what the user asked and cannot be had (arguments,
    /// experiments, sweeps, devices, names of Hugging Face), 1 for what failed on the way.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Usage { .. }
            | Self::Document { .. }
            | Self::Experiment { .. }
            | Self::Device { .. }
            | Self::Hub { .. } => 2,
            _ => 1,
        }
    }
}

/// `file` or `file:line`.
fn place(path: &Path, line: Option<usize>) -> String {
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}", path.display())
}

fn help_for_io(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "Check the path; it is relative to the current directory.",
        std::io::ErrorKind::PermissionDenied => "Check the permissions, or choose another place.",
        std::io::ErrorKind::NotADirectory => {
            "A part of the path is a file where a folder must be; choose another place."
        }
        std::io::ErrorKind::StorageFull => "Free some space, or choose another place.",
        _ => "See the message of the operating system above.",
    }
}

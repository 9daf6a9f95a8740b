//! Where a run keeps its files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::durable::write_atomically;
use crate::error::{Error, Result};

/// The file of the scores of an evaluation.
pub const EVALUATION: &str = "evaluation.json";

/// The folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes the folder and checks that it can be written.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let run = Self { path: path.into() };
        fs::create_dir_all(run.checkpoints()).map_err(Error::io("create", &run.path))?;
        let probe = run.path.join(".writable");
        fs::write(&probe, b"").map_err(Error::io("write in", &run.path))?;
        fs::remove_file(&probe).map_err(Error::io("write in", &run.path))?;
        Ok(run)
    }

    /// A folder that should hold a run already.
    ///
    /// # Errors
    /// [`Error::Run`] where it does not.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let run = Self { path: path.into() };
        if run.has_run() {
            return Ok(run);
        }
        let problem = if run.path.is_dir() { "holds no run" } else { "does not exist" };
        Err(Error::Run {
            path: run.path,
            problem: problem.into(),
            help: "Give the folder that `pixelllm train` printed, such as runs/quickstart.".into(),
        })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a run was begun here.
    pub fn has_run(&self) -> bool {
        self.experiment().is_file()
    }

    /// The resolved experiment.
    pub fn experiment(&self) -> PathBuf {
        self.path.join("experiment.toml")
    }

    /// The tokenizer of the run.
    pub fn tokenizer(&self) -> PathBuf {
        self.path.join("tokenizer.json")
    }

    /// The weights at the end of training.
    pub fn weights(&self) -> PathBuf {
        self.path.join("weights.safetensors")
    }

    /// Where what is never trained comes from; only of a run that leaves it out of checkpoints.
    pub fn frozen_record(&self) -> PathBuf {
        self.path.join("frozen.json")
    }

    /// What is never trained and comes from no file.
    pub fn frozen_weights(&self) -> PathBuf {
        self.path.join("frozen.safetensors")
    }

    /// What every step measured, one object a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Scores of the evaluation.
    pub fn evaluation(&self) -> PathBuf {
        self.path.join(EVALUATION)
    }

    /// Model, optimizer and schedule at every checkpoint.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// Checksums of the weights, written after them.
    pub fn checksums(&self) -> PathBuf {
        self.path.join("checksums.json")
    }

    /// The same as `metrics.jsonl`, as a flat table; only where it is asked for.
    pub fn metrics_table(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// Event files of TensorBoard; only where they are asked for.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// What steps were given that came out not finite: a folder for each.
    pub fn failures(&self) -> PathBuf {
        self.path.join("failures")
    }

    /// How long the parts of a step took; only of a run that was profiled.
    pub fn profile(&self) -> PathBuf {
        self.path.join("profile.json")
    }

    /// Locked by the process that trains the run.
    pub fn lock(&self) -> PathBuf {
        self.path.join(".lock")
    }

    /// What burn-train logs for its dashboard.
    pub fn dashboard(&self) -> PathBuf {
        self.path.join("dashboard")
    }
}

/// Writes `value` as JSON, as [`write_atomically`] does.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|error| {
        Error::format(path, format!("cannot be written as JSON: {error}"), "Report this as a bug.")
    })?;
    write_atomically(path, json.as_bytes())
}

/// Reads a JSON file.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::format_at(path, error.line(), error.to_string(), "Restore the file, or train anew.")
    })
}

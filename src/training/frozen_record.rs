//! Where the parameters of a run come from that its checkpoints leave out.
//!
//! A frozen parameter that a file of `[[weights]]` gave its value is read from there again; what came
//! from no file is written once, when the run begins. `frozen.json` says which is which.

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::store::{ModuleSnapshot, SafetensorsStore};
use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::run_directory::{RunDirectory, read_json, write_json};
use super::weights;
use crate::error::{Error, Result};
use crate::model::pixel_llm::{PixelLlm, PixelLlmConfig};
use crate::weights::file::TensorFile;
use crate::weights::import::{self, ImportOptions, Imported};

/// Where frozen parameters come from: `frozen.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenRecord {
    /// The files that some come from.
    files: Vec<FrozenFile>,
    /// Those in `frozen.safetensors`.
    saved: BTreeSet<String>,
}

/// A file that frozen parameters come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrozenFile {
    /// What is opened: a file, or the index of shards.
    file: PathBuf,
    /// Whose layout it has.
    layout: String,
    /// It and its shards, as they were.
    parts: Vec<Fingerprint>,
    /// The parameters that come from it.
    parameters: BTreeSet<String>,
}

impl FrozenRecord {
    /// Begins a run: `left_out` are the parameters that its checkpoints leave out, `imported` the files
    /// that `model` was started from, in their order. Nothing is written where nothing is left out.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Run`] where something cannot be read or written.
    pub fn begin(
        run: &RunDirectory,
        model: &PixelLlm,
        mut left_out: BTreeSet<String>,
        imported: &[Imported],
    ) -> Result<Self> {
        if left_out.is_empty() {
            return Ok(Self::default());
        }
        let mut files = Vec::new();
        // The last file that has a parameter is the one it comes from.
        for Imported { layout, report } in imported.iter().rev() {
            let parameters: BTreeSet<String> =
                report.loaded.iter().filter_map(|path| left_out.take(path)).collect();
            if parameters.is_empty() {
                continue;
            }
            let parts = TensorFile::parts(&report.path)?;
            let parts =
                parts.iter().map(|part| Fingerprint::of(part)).collect::<Result<Vec<_>>>()?;
            // The index stands before its shards.
            let file = parts.first().map_or(report.path.clone(), |part| part.file.clone());
            files.push(FrozenFile { file, layout: (*layout).into(), parts, parameters });
        }
        let record = Self { files, saved: left_out };
        if !record.saved.is_empty() {
            weights::write(&run.frozen_weights(), model, Some(&record.saved))?;
        }
        write_json(&run.frozen_record(), &record)?;
        Ok(record)
    }

    /// The record of `run`; an empty one where its checkpoints hold everything.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where it cannot be read.
    pub fn read(run: &RunDirectory) -> Result<Self> {
        let path = run.frozen_record();
        if path.is_file() { read_json(&path) } else { Ok(Self::default()) }
    }

    /// All parameters that checkpoints leave out.
    pub fn left_out(&self) -> BTreeSet<String> {
        self.from_files().chain(&self.saved).cloned().collect()
    }

    /// Those in `frozen.safetensors`.
    pub fn saved(&self) -> &BTreeSet<String> {
        &self.saved
    }

    /// Those that come from a file outside of the run.
    pub fn from_files(&self) -> impl Iterator<Item = &String> {
        self.files.iter().flat_map(|file| &file.parameters)
    }

    /// Gives `model` what comes from files outside of the run.
    ///
    /// # Errors
    /// [`Error::Run`] where a file has gone or changed.
    pub fn load_files(
        &self,
        run: &RunDirectory,
        config: &PixelLlmConfig,
        model: &mut PixelLlm,
    ) -> Result<()> {
        for file in &self.files {
            file.check(run)?;
            let only = Some(&file.parameters);
            let options = ImportOptions { layout: Some(&file.layout), strict: false, only };
            let imported = import::into_model(&file.file, config, model, &options)?;
            let loaded: BTreeSet<_> = imported.report.loaded.into_iter().collect();
            if let Some(missing) = file.parameters.difference(&loaded).next() {
                return Err(file.error(run, format!("no longer gives `{missing}` its value")));
            }
        }
        Ok(())
    }

    /// Gives `model` all that checkpoints leave out.
    ///
    /// # Errors
    /// [`Error::Run`] where a file has gone or changed, or does not hold what it should.
    pub fn load_all(
        &self,
        run: &RunDirectory,
        config: &PixelLlmConfig,
        model: &mut PixelLlm,
    ) -> Result<()> {
        self.load_files(run, config, model)?;
        if self.saved.is_empty() {
            return Ok(());
        }
        let path = run.frozen_weights();
        let unfit = |problem: String| Error::Run {
            path: path.clone(),
            problem,
            help: "Restore the file as the run wrote it, or train anew with --out.".into(),
        };
        let mut store = SafetensorsStore::from_file(&path).allow_partial(true);
        let applied = model.load_from(&mut store).map_err(|error| unfit(error.to_string()))?;
        let applied: BTreeSet<_> = applied.applied.into_iter().collect();
        match self.saved.difference(&applied).next() {
            Some(missing) => Err(unfit(format!("has no `{missing}` that fits"))),
            None => Ok(()),
        }
    }
}

impl FrozenFile {
    /// Whether the file is the one that the run began with.
    fn check(&self, run: &RunDirectory) -> Result<()> {
        for part in &self.parts {
            if !part.file.is_file() {
                return Err(self.error(run, format!("is not there: {}", part.file.display())));
            }
            if !part.is_unchanged()? {
                let changed = part.file.display();
                return Err(self.error(run, format!("has changed since then: {changed}")));
            }
        }
        Ok(())
    }

    fn error(&self, run: &RunDirectory, problem: String) -> Error {
        let count = self.parameters.len();
        Error::Run {
            path: run.path().into(),
            problem: format!("a file that {count} of its frozen parameters come from {problem}"),
            help: format!(
                "Put the file back as it was; where it has moved, correct its paths in {}.",
                run.frozen_record().display()
            ),
        }
    }
}

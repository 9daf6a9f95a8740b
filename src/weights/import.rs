//! Public checkpoints into the whole model, and into our own format.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn::store::{ModuleSnapshot, PathFilter, SafetensorsStore};
use burn::tensor::Device;

use super::file::TensorFile;
use super::layout::{self, Fitted, LAYOUTS};
use super::load::{self, LoadReport};
use super::name_map::Target;
use super::t5_config::{Difference, PublishedT5};
use crate::error::{Error, Result};
use crate::model::language::{LanguageConfig, LanguageModel, Vocabulary};
use crate::model::pixel_llm::{PixelLlm, PixelLlmConfig};
use crate::model::vision::Resampling;

/// The tables of words in our whole model, by the kind of its language model.
const WORDS: [&str; 2] = [GIT_WORDS, T5_WORDS];
const GIT_WORDS: &str = "language.Git.words.weight";
const T5_WORDS: &str = "language.T5.t5.words.weight";

/// The layout that a `config.json` beside a file speaks about.
const T5_LAYOUT: &str = "hf-t5";

/// How a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions<'a> {
    /// Whose layout it has; `None` takes the one that knows most of its tensors.
    pub layout: Option<&'a str>,
    /// Whether anything left out, left over or changed is an error.
    pub strict: bool,
    /// The only parameters of the model that are loaded; `None` for all that the file has.
    pub only: Option<&'a BTreeSet<String>>,
}

/// What was read.
#[derive(Debug)]
pub struct Imported {
    /// Name of the layout.
    pub layout: &'static str,
    /// What was used and what was not.
    pub report: LoadReport,
}

/// Loads `path` into those modules of `model` that it has something of.
///
/// # Errors
/// [`Error::Usage`] where there is no such layout, [`Error::Io`] or [`Error::Format`] where the file
/// cannot be read, has nothing for this model, or does not fit exactly and is to.
pub fn into_model(
    path: &Path,
    config: &PixelLlmConfig,
    model: &mut PixelLlm,
    options: &ImportOptions<'_>,
) -> Result<Imported> {
    let file = TensorFile::open(path)?;
    let fitted = fit(&file, options)?;
    read(&file, &fitted, config, model, options)
}

/// The layout that a file has, or is said to have.
fn fit(file: &TensorFile, options: &ImportOptions<'_>) -> Result<Fitted> {
    let fitted = match options.layout {
        Some(name) => Some(layout::named(name).ok_or_else(|| unknown(name))?.fit(file)),
        None => layout::guess(file),
    };
    fitted.filter(|fitted| fitted.known > 0).ok_or_else(|| {
        let problem =
            format!("none of its {} tensors has a name that is known", file.tensors.len());
        let help = "`pixelllm weights inspect FILE` lists them.";
        Error::format(&file.path, problem, help)
    })
}

/// Loads what a file of a known layout has.
fn read(
    file: &TensorFile,
    fitted: &Fitted,
    config: &PixelLlmConfig,
    model: &mut PixelLlm,
    options: &ImportOptions<'_>,
) -> Result<Imported> {
    check_words(file, fitted, model)?;
    check_config(file, fitted, config)?;
    let scope: Vec<&str> = fitted.components.iter().map(|component| component.ours).collect();
    let resampling = |parameter: &str| resampling(config, parameter);
    let wanted = |target: &Target| options.only.is_none_or(|only| only.contains(&target.path));
    let targets = |name: &str| fitted.targets(name).into_iter().filter(wanted).collect();
    let report = load::load(model, file, targets, &scope, resampling)?;
    if report.loaded.is_empty() {
        let problem = format!("nothing in it fits the model\n{report}");
        return Err(Error::format(
            &file.path,
            problem,
            "Does the model have such an encoder, of this size?",
        ));
    }
    let report = if options.strict { report.strict()? } else { report };
    Ok(Imported { layout: fitted.layout.name, report })
}

/// Writes what `path` has for a model of `config` to `out`, in our own format.
///
/// # Errors
/// As [`into_model`], and [`Error::Io`] where `out` cannot be written.
pub fn to_file(
    path: &Path,
    config: &PixelLlmConfig,
    out: &Path,
    options: &ImportOptions<'_>,
    device: &Device,
) -> Result<Imported> {
    let file = TensorFile::open(path)?;
    let fitted = fit(&file, options)?;
    // Parameters are made when they are first needed: those that are not loaded never are.
    let size = num_words(&file, &fitted, &WORDS).unwrap_or(1);
    let vocabulary = Vocabulary { size, pad: 0, begin: 0, end: 0 };
    let mut model = config.init(vocabulary, device);
    let imported = read(&file, &fitted, config, &mut model, options)?;
    let beside = out.with_extension("partial.safetensors");
    let mut store = SafetensorsStore::from_file(&beside)
        .filter(PathFilter::new().with_full_paths(imported.report.loaded.clone()))
        .overwrite(true)
        .metadata("format", "pixelllm")
        .metadata("version", env!("CARGO_PKG_VERSION"))
        .metadata("imported_as", imported.layout);
    model.save_into(&mut store).map_err(|error| {
        let io = std::io::Error::other(error.to_string());
        Error::io("write", out)(io)
    })?;
    fs::rename(&beside, out).map_err(Error::io("write", out))?;
    Ok(imported)
}

/// Refuses a file for another tokenizer: a language model cannot start from the words of another.
fn check_words(file: &TensorFile, fitted: &Fitted, model: &PixelLlm) -> Result<()> {
    let (table, is_t5) = match model.language() {
        LanguageModel::Git(_) => (GIT_WORDS, false),
        LanguageModel::T5(_) => (T5_WORDS, true),
    };
    let size = model.language().vocabulary().size;
    let Some(rows) = num_words(file, fitted, &[table]).filter(|&rows| rows != size) else {
        return Ok(());
    };
    let problem = format!("its table of words has {rows} rows, but that of the model has {size}");
    let mut help = "Give the tokenizer of these weights as data.tokenizer.file".to_string();
    if is_t5 {
        help += &format!(", and set model.language.num_words to {rows}");
    }
    Err(Error::format(&file.path, problem, help + "."))
}

/// Refuses a T5 whose `config.json`, beside it, says that it computes something else than the model
/// does, where no shape would show it.
fn check_config(file: &TensorFile, fitted: &Fitted, config: &PixelLlmConfig) -> Result<()> {
    let path = file.path.with_file_name("config.json");
    let LanguageConfig::T5(language) = &config.language else { return Ok(()) };
    if fitted.layout.name != T5_LAYOUT || !path.is_file() {
        return Ok(());
    }
    let Some(published) = PublishedT5::read(&path)? else { return Ok(()) };
    let differences = published.silent_differences(language);
    if differences.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = differences
        .iter()
        .map(|Difference { key, problem }| format!("\n  model.language.{key} {problem}"))
        .collect();
    let problem = format!("the model is another than the one it describes:{}", lines.concat());
    let help = "Set model.language.config to this file, and leave these keys out.";
    Err(Error::format(path, problem, help))
}

/// Rows of the table of words, where the file has one of `tables`.
fn num_words(file: &TensorFile, fitted: &Fitted, tables: &[&str]) -> Option<usize> {
    file.tensors.iter().find_map(|(name, tensor)| {
        let targets = fitted.targets(name);
        let words = targets.iter().find(|target| tables.contains(&target.path.as_str()))?;
        words.shape(&tensor.shape).ok()?.first().copied()
    })
}

/// By which convention the tables of an encoder are resized.
fn resampling(config: &PixelLlmConfig, parameter: &str) -> Resampling {
    let sam = config.vision.sam.as_ref().filter(|_| parameter.starts_with("vision.sam."));
    let eva = config.vision.eva.as_ref().filter(|_| parameter.starts_with("vision.eva."));
    let chosen = sam.map(|sam| sam.resampling).or_else(|| eva.map(|eva| eva.resampling));
    chosen.unwrap_or(Resampling::Jax)
}

fn unknown(name: &str) -> Error {
    let names: Vec<_> = LAYOUTS.iter().map(|layout| layout.name).collect();
    Error::Usage {
        problem: format!("there is no layout `{name}`"),
        help: format!("The layouts: {}.", names.join(", ")),
    }
}

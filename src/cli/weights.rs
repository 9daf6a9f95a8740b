//! `pixelllm weights`: look into files of weights, bring public ones into our format, and adapters
//! out of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::DType;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use super::output::say;
use crate::backend;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::report::table::align_right;
use crate::training::export;
use crate::training::peft;
use crate::training::run_directory::RunDirectory;
use crate::training::weights as run_weights;
use crate::weights::file::TensorFile;
use crate::weights::hub::{self, Wanted};
use crate::weights::import::{self, ImportOptions};
use crate::weights::layout::{self, Fitted, LAYOUTS};

/// Look into files of weights, bring public ones into our format, and adapters out of it
#[derive(Debug, Subcommand)]
pub(super) enum Weights {
    /// List the tensors of a file and say whose layout it has
    Inspect(Inspect),
    /// Read a public checkpoint into the model of an experiment, and write it in our format
    Import(Import),
    /// Write what a run answers with as a small folder to give away, or the adapters of its T5 for
    /// Hugging Face's PEFT
    Export(Export),
}

impl Weights {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Inspect(inspect) => inspect.run(),
            Self::Import(import) => import.run(),
            Self::Export(export) => export.run(),
        }
    }
}

/// List the tensors of a file and say whose layout it has
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A .safetensors file, the index of a sharded one, a folder with either, a PyTorch file, or
    /// hf:owner/name[@revision][/file] of Hugging Face
    file: PathBuf,
}

impl Inspect {
    fn run(self) -> Result<ExitCode> {
        let file = TensorFile::open(&hub::locate(&self.file, Wanted::Weights)?)?;
        let guess = layout::guess(&file);
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["tensor", "shape", "type", "parameter here"]);
        for (name, tensor) in &file.tensors {
            let targets = guess.iter().flat_map(|fitted| fitted.targets(name));
            let paths: Vec<String> = targets.map(|target| target.path).collect();
            table.add_row([
                name.clone(),
                format!("{:?}", tensor.shape.to_vec()),
                type_name(tensor.dtype),
                paths.join("\n"),
            ]);
        }
        align_right(&mut table, [1]);
        say(table);
        for (key, value) in &file.metadata {
            let short: String = value.chars().take(120).collect();
            let more = if short.len() < value.len() { "…" } else { "" };
            say(format_args!("{key}: {short}{more}"));
        }
        let numbers: usize = file.tensors.values().map(|tensor| tensor.shape.num_elements()).sum();
        let mib = file.byte_len() as f64 / f64::from(1 << 20);
        let (count, format) = (file.tensors.len(), file.format.name());
        say(format_args!("{format}: {count} tensors, {numbers} numbers, {mib:.1} MiB"));
        match guess {
            Some(Fitted { layout, known, .. }) => say(format_args!(
                "layout: {} ({}), which knows {known} of them",
                layout.name, layout.about
            )),
            None => say(format_args!("layout: none that is known ({})", layout_names())),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A type as checkpoints name it: `f32`, `bf16`, `i64`.
fn type_name(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}

fn layout_names() -> String {
    LAYOUTS.iter().map(|layout| layout.name).collect::<Vec<_>>().join(", ")
}

/// Read a public checkpoint into the model of an experiment, and write it in our format
#[derive(Debug, Args)]
pub(super) struct Import {
    /// A .safetensors file, the index of a sharded one, a folder with either, a PyTorch file, or
    /// hf:owner/name[@revision][/file] of Hugging Face
    file: PathBuf,
    /// The experiment, or preset, whose model it is for
    #[arg(long, value_name = "EXPERIMENT.toml")]
    experiment: PathBuf,
    /// Where to write
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Whose layout it has [default: the one that knows most of its tensors]
    #[arg(long)]
    layout: Option<String>,
    /// Fail where a tensor is missing, not used, of another shape, or had to be resized
    #[arg(long)]
    strict: bool,
    /// Change a key of the experiment; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
}

impl Import {
    fn run(self) -> Result<ExitCode> {
        if self.out.extension().is_none_or(|extension| extension != "safetensors") {
            return Err(Error::Usage {
                problem: format!("{} does not end in .safetensors", self.out.display()),
                help: "Our format is safetensors; name the file so.".into(),
            });
        }
        let model = experiment::load_model(&self.experiment, &self.changes)?;
        let device = backend::device("cpu")?;
        let options =
            ImportOptions { layout: self.layout.as_deref(), strict: self.strict, only: None };
        let file = hub::locate(&self.file, Wanted::Weights)?;
        let imported = import::to_file(&file, &model, &self.out, &options, &device)?;
        say(format_args!("{} ({}): {}", imported.layout, self.file.display(), imported.report));
        say(format_args!("\nWrote {}", self.out.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// Write what a run answers with as a small folder to give away, or the adapters of its T5 for Hugging
/// Face's PEFT
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    form: ExportForm,
    /// Also write inputs of T5, and what it answers with its adapters, to compare PEFT with
    #[arg(long, value_name = "FILE.safetensors", requires = "peft", conflicts_with = "model")]
    probe: Option<PathBuf>,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ExportForm {
    /// The folder to write the whole model to: weights, tokenizer and experiment, with the records of
    /// training and evaluation where the run has them; it can be used as a RUN
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The folder to write `adapter_model.safetensors` and `adapter_config.json` to
    #[arg(long, value_name = "DIR")]
    peft: Option<PathBuf>,
}

impl Export {
    fn run(self) -> Result<ExitCode> {
        let run = RunDirectory::open(&self.run)?;
        let experiment = experiment::load(&run.experiment(), &[])?;
        match (&self.form.model, &self.form.peft) {
            (Some(folder), _) => export_model(&run, &experiment, folder),
            (None, Some(folder)) => self.export_adapters(&run, &experiment, folder),
            // One of them is required.
            (None, None) => Ok(ExitCode::SUCCESS),
        }
    }

    fn export_adapters(
        &self,
        run: &RunDirectory,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<ExitCode> {
        let count = peft::export(run, experiment, folder)?;
        if let Some(path) = &self.probe {
            let device = backend::device("cpu")?;
            let tokenizer = Tokenizer::from_file(run.tokenizer())?;
            let model = run_weights::load(run, experiment, &tokenizer, &device)?;
            peft::probe(&model, path)?;
        }
        say(format_args!("Wrote {count} matrices of adapters to {}", folder.display()));
        say("They are those of T5 alone: what else was trained stays in the run.");
        Ok(ExitCode::SUCCESS)
    }
}

fn export_model(run: &RunDirectory, experiment: &Experiment, folder: &Path) -> Result<ExitCode> {
    let exported = export::export(run, experiment, folder)?;
    let mib = exported.bytes as f64 / f64::from(1 << 20);
    say(format_args!("Wrote {mib:.1} MiB to {}", folder.display()));
    for path in &exported.shortened {
        say(format_args!("note: experiment.toml has only the name of {path}"));
    }
    Ok(ExitCode::SUCCESS)
}

//! What a run answers with, as a small folder to give away: no checkpoints, nothing of the machine that
//! it was trained on.

use std::fs;
use std::path::{Path, PathBuf};

use super::run_directory::{RunDirectory, write_atomically};
use super::weights;
use crate::backend;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of the files together.
    pub bytes: u64,
    /// Paths of which the experiment has only the name now.
    pub shortened: Vec<String>,
}

/// Writes `experiment.toml`, `tokenizer.json` and `weights.safetensors` with every parameter, frozen ones
/// included, to `folder`, and `evaluation.json` and `metrics.jsonl` where the run has them. Other files of
/// the folder stay as they are. The experiment computes on the CPU, and absolute paths in it become the
/// names at their ends.
///
/// # Errors
/// What [`weights::load`] finds; [`Error::Usage`] where `folder` is the run, [`Error::Io`] where it cannot
/// be written.
pub fn export(run: &RunDirectory, experiment: &Experiment, folder: &Path) -> Result<Exported> {
    let tokenizer = Tokenizer::from_file(run.tokenizer())?;
    let model = weights::load(run, experiment, &tokenizer, &backend::device("cpu")?)?;
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let same = |path: &Path| fs::canonicalize(path).ok();
    if same(folder) == same(run.path()) {
        return Err(Error::Usage {
            problem: format!("{} is the run itself", folder.display()),
            help: "Give another folder.".into(),
        });
    }
    let (experiment, shortened) = without_machine(experiment.clone());
    let to = |path: PathBuf| folder.join(path.file_name().unwrap_or_default());
    let mut files = vec![to(run.experiment()), to(run.tokenizer()), to(run.weights())];
    write_atomically(&files[0], experiment::to_toml(&experiment)?.as_bytes())?;
    tokenizer.save(&files[1])?;
    weights::write(&files[2], &model, None)?;
    for record in [run.evaluation(), run.metrics()].into_iter().filter(|path| path.is_file()) {
        let copy = to(record.clone());
        fs::copy(&record, &copy).map_err(Error::io("copy", &record))?;
        files.push(copy);
    }
    let length = |path: &PathBuf| fs::metadata(path).map(|data| data.len());
    let lengths = files.iter().map(|path| length(path).map_err(Error::io("read", path)));
    Ok(Exported { bytes: lengths.sum::<Result<u64>>()?, shortened })
}

/// The experiment without absolute paths, and those that it had.
fn without_machine(mut experiment: Experiment) -> (Experiment, Vec<String>) {
    let mut shortened = Vec::new();
    let mut shorten = |path: &mut PathBuf| {
        // `~` is somebody's home.
        if path.is_absolute() || path.starts_with("~") {
            shortened.push(path.display().to_string());
            *path = path.file_name().unwrap_or_default().into();
        }
    };
    experiment.device = "cpu".into();
    let data = &mut experiment.data;
    shorten(&mut experiment.output);
    data.shapes.iter_mut().for_each(|shapes| shorten(&mut shapes.directory));
    data.tokenizer.file.iter_mut().for_each(&mut shorten);
    data.cache_features.iter_mut().for_each(&mut shorten);
    experiment.weights.iter_mut().for_each(|weights| shorten(&mut weights.file));
    experiment.evaluation.meteor_data.iter_mut().for_each(&mut shorten);
    for source in &mut data.sources {
        for text in [&mut source.annotations, &mut source.images] {
            let mut path = PathBuf::from(&*text);
            shorten(&mut path);
            *text = path.display().to_string();
        }
    }
    (experiment, shortened)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::source::SourceConfig;
    use crate::experiment::schema::WeightsConfig;

    #[test]
    fn an_exported_experiment_names_no_folder_of_the_machine() {
        let source: SourceConfig = toml::from_str(
            "task = \"narrate\"\nformat = \"localized_narratives\"\n\
             annotations = \"data/a_{split}.jsonl\"\nimages = \"/home/somebody/{split}\"\n",
        )
        .unwrap();
        let mut experiment = Experiment { device: "cuda:1".into(), ..Experiment::default() };
        experiment.data.sources = vec![source];
        experiment.weights =
            vec![WeightsConfig { file: "/mnt/t5.safetensors".into(), layout: None, strict: false }];
        let (experiment, shortened) = without_machine(experiment);
        assert_eq!(experiment.device, "cpu");
        assert_eq!(experiment.output, Path::new("runs"));
        assert_eq!(experiment.data.sources[0].annotations, "data/a_{split}.jsonl");
        assert_eq!(experiment.data.sources[0].images, "{split}");
        assert_eq!(experiment.weights[0].file, Path::new("t5.safetensors"));
        assert_eq!(shortened, ["/mnt/t5.safetensors", "/home/somebody/{split}"]);
    }
}

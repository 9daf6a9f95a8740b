//! From a sweep to the runs that it asks for.

use std::path::{Path, PathBuf};

use toml::Value;

use super::sweep::{Sweep, Variant, settings, slug};
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment};
use crate::training::run_directory::RunDirectory;
use crate::training::{frozen, resume};

/// A variant with a seed: one run.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The variant's number in [`Plan::variants`].
    pub variant: usize,
    /// The run's seed.
    pub seed: u64,
    /// The run directory.
    pub directory: PathBuf,
    /// The experiment's file.
    pub file: PathBuf,
    /// `key=value`, for `--set`.
    pub overrides: Vec<String>,
    /// The experiment with all of them.
    pub experiment: Experiment,
    /// Numbers of the trials that must be finished before it.
    pub needs: Vec<usize>,
}

/// What a sweep asks for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is compared, and what is trained aside.
    pub variants: Vec<Variant>,
    /// Every run, the variants of one seed before the next.
    pub trials: Vec<Trial>,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Not begun.
    Fresh,
    /// Begun, and to be resumed.
    Begun,
    /// Trained and evaluated.
    Finished,
}

/// The trials of `sweep`, their run directories under `out`. Every experiment is checked.
///
/// # Errors
/// Whatever [`experiment::load`] and [`frozen::check`] find in any of them; [`Error::Usage`] for a `{run:…}` that names no
/// variant or goes in a circle, and for names that would share a folder.
pub fn plan(sweep: &Sweep, out: &Path) -> Result<Plan> {
    let variants = sweep.combinations();
    let folders = folders(&variants)?;
    let mut trials = Vec::new();
    for (s, &seed) in sweep.seeds.iter().enumerate() {
        let directory = |variant: usize| out.join(&folders[variant]).join(format!("seed-{seed}"));
        for (v, variant) in variants.iter().enumerate() {
            let mut needs = Vec::new();
            let mut overrides = vec![format!("seed={seed}")];
            for (key, value) in settings(&sweep.set).into_iter().chain(settings(&variant.set)) {
                let value = map_texts(value, &mut |text| {
                    fill_in(text, seed, &variants, &directory, &mut needs)
                })?;
                overrides.push(format!("{key}={value}"));
            }
            let file = variant.experiment.as_ref().unwrap_or(&sweep.experiment).clone();
            let experiment = experiment::load(&file, &overrides)?;
            frozen::check(&experiment)?;
            trials.push(Trial {
                variant: v,
                seed,
                directory: directory(v),
                experiment,
                file,
                overrides,
                needs: needs.into_iter().map(|needed| s * variants.len() + needed).collect(),
            });
        }
    }
    let plan = Plan { variants, trials };
    plan.refuse_circles()?;
    Ok(plan)
}

/// The folder of each variant.
fn folders(variants: &[Variant]) -> Result<Vec<String>> {
    let folders: Vec<_> = variants.iter().map(|variant| slug(&variant.name)).collect();
    for (i, folder) in folders.iter().enumerate() {
        if folder.is_empty() {
            let text = format!("the variant {:?} has no letter or digit", variants[i].name);
            return Err(usage(text, "Name it in a word."));
        }
        if let Some(other) = folders[..i].iter().position(|earlier| earlier == folder) {
            let names = format!("{:?} and {:?}", variants[other].name, variants[i].name);
            let text = format!("the variants {names} would share the folder {folder}");
            return Err(usage(text, "Give them names that differ in more than punctuation."));
        }
    }
    Ok(folders)
}

/// Replaces `{seed}` and `{run:NAME}`; the variants that are named go to `needs`.
fn fill_in(
    text: &str,
    seed: u64,
    variants: &[Variant],
    directory: &dyn Fn(usize) -> PathBuf,
    needs: &mut Vec<usize>,
) -> Result<String> {
    let mut filled = text.replace("{seed}", &seed.to_string());
    while let Some((before, rest)) = filled.split_once("{run:") {
        let Some((name, after)) = rest.split_once('}') else {
            return Err(usage(format!("{text:?} has a {{run:… without its }}"), "Close it."));
        };
        let Some(needed) = variants.iter().position(|variant| variant.name == name) else {
            let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let near = experiment::did_you_mean(name, names.iter().copied(), '"');
            let help = format!("{near}There are: {}.", names.join(", "));
            return Err(usage(format!("{text:?} names no variant of the sweep"), help));
        };
        needs.push(needed);
        filled = format!("{before}{}{after}", directory(needed).display());
    }
    Ok(filled)
}

fn map_texts(value: Value, change: &mut dyn FnMut(&str) -> Result<String>) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(change(&text)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|v| map_texts(v, change)).collect::<Result<_>>()?)
        }
        Value::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, v)| Ok((key, map_texts(v, change)?)))
                .collect::<Result<_>>()?,
        ),
        other => other,
    })
}

fn usage(problem: String, help: impl Into<String>) -> Error {
    Error::Usage { problem, help: help.into() }
}

impl Plan {
    fn refuse_circles(&self) -> Result<()> {
        let mut done = vec![false; self.trials.len()];
        // Each round finishes at least one trial, or there is a circle.
        for _ in 0..self.trials.len() {
            for (i, trial) in self.trials.iter().enumerate() {
                done[i] |= trial.needs.iter().all(|needed| done[*needed]);
            }
        }
        match done.iter().position(|done| !done) {
            None => Ok(()),
            Some(stuck) => {
                let name = &self.variants[self.trials[stuck].variant].name;
                let text = format!("the variant {name:?} waits for itself through {{run:…}}");
                Err(usage(text, "Let one of the variants start from something else."))
            }
        }
    }

    /// `variant, seed n`
    pub fn name(&self, trial: &Trial) -> String {
        format!("{}, seed {}", self.variants[trial.variant].name, trial.seed)
    }
}

impl Trial {
    /// How far it is.
    ///
    /// # Errors
    /// [`Error::Run`] where its folder holds the run of another experiment.
    pub fn progress(&self) -> Result<Progress> {
        let Ok(run) = RunDirectory::open(&self.directory) else { return Ok(Progress::Fresh) };
        resume::check_same(&run, &self.experiment)?;
        let finished = run.evaluation().is_file();
        Ok(if finished { Progress::Finished } else { Progress::Begun })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SWEEP: &str = "name = 's'\nexperiment = 'experiments/quickstart.toml'\nseeds = [3, 5]\n\
        set.training.max_steps = 20\nset.schedule.warmup_steps = 2\n\
        [[variants]]\nname = 'whole'\n\
        [[variants]]\nname = 'from whole'\n\
        set.weights = [{ file = '{run:whole}/weights.safetensors' }]\n";

    #[test]
    fn a_trial_is_the_experiment_with_its_seed_and_what_is_set() {
        let plan = plan(&toml::from_str(SWEEP).unwrap(), Path::new("out")).unwrap();
        assert_eq!(plan.trials.len(), 4);
        let last = &plan.trials[3];
        assert_eq!((last.variant, last.seed), (1, 5));
        assert_eq!(last.directory, Path::new("out/from-whole/seed-5"));
        assert_eq!(last.experiment.seed, 5);
        assert_eq!(last.experiment.training.max_steps, 20);
        assert_eq!(
            last.experiment.weights[0].file,
            Path::new("out/whole/seed-5/weights.safetensors")
        );
        assert_eq!(last.needs, [2]);
        assert!(plan.trials[2].needs.is_empty());
    }

    #[test]
    fn mistakes_of_any_variant_are_found_before_anything_is_trained() {
        let problem = |from: &str, to: &str| {
            let sweep = toml::from_str(&SWEEP.replace(from, to)).unwrap();
            plan(&sweep, Path::new("out")).unwrap_err().to_string()
        };
        assert!(problem("max_steps", "max_stepz").contains("training.max_stepz"));
        // A pattern of the experiment that names nothing in the model of a variant.
        let without_sam = "set.model.vision.sam = false\nset.training.frozen = ['vision.sam']\n";
        assert!(
            problem("set.weights", &format!("{without_sam}set.weights")).contains("vision.sam")
        );
        assert!(problem("{run:whole}", "{run:hole}").contains("names no variant"));
        assert!(problem("{run:whole}", "{run:from whole}").contains("waits for itself"));
        assert!(problem("'from whole'", "'Whole!'").contains("share the folder whole"));
    }
}

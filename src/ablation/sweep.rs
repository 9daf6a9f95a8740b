//! The file of a sweep.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::error::{Error, Result};

/// What a sweep's file says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Its name, also that of its folder.
    pub name: String,
    /// What it is to find out; the report begins with it.
    #[serde(default)]
    pub question: String,
    /// The experiment that is changed, relative to the sweep's file.
    pub experiment: PathBuf,
    /// Each variant is trained once with each of these.
    #[serde(default = "seed_zero")]
    pub seeds: Vec<u64>,
    /// What is changed in every variant: keys of the experiment, nested or dotted.
    #[serde(default)]
    pub set: Table,
    /// What is compared. The first that is not `aside` is what the others are held against.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// Key → values: every combination, each with every variant.
    #[serde(default)]
    pub grid: Table,
    /// What the report shows, as `split.task.metric`; everything where this is empty.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// One way to change the experiment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name in the report.
    pub name: String,
    /// Another experiment than the sweep's, relative to the sweep's file.
    #[serde(default)]
    pub experiment: Option<PathBuf>,
    /// What is changed: keys of the experiment, nested or dotted. In texts `{seed}` stands for the seed
    /// and `{run:NAME}` for the run directory of the variant NAME with the same seed, which is then
    /// trained first.
    #[serde(default)]
    pub set: Table,
    /// Trained because others start from it, and not compared.
    #[serde(default)]
    pub aside: bool,
}

fn seed_zero() -> Vec<u64> {
    vec![0]
}

/// A key of an experiment and what it is set to.
pub type Setting = (String, Value);

impl Sweep {
    /// Reads the sweep at `path`; its experiments are then relative to the current directory.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Document`] where it is no sweep.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut sweep: Self = toml::from_str(&text).map_err(|error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            mistake(path, Some(line), error.message().to_string())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        sweep.experiment = folder.join(&sweep.experiment);
        for variant in &mut sweep.variants {
            variant.experiment = variant.experiment.take().map(|file| folder.join(file));
        }
        sweep.check(path)?;
        Ok(sweep)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let problem = |problem: String| Err(mistake(path, None, problem));
        if slug(&self.name).is_empty() {
            return problem(format!("the name {:?} has no letter or digit", self.name));
        }
        if self.seeds.is_empty() {
            return problem("`seeds` is empty".into());
        }
        for (i, seed) in self.seeds.iter().enumerate() {
            if self.seeds[..i].contains(seed) {
                return problem(format!("seed {seed} is there twice"));
            }
        }
        for (key, values) in &self.grid {
            match values.as_array() {
                Some(values) if !values.is_empty() => {}
                _ => return problem(format!("`grid.{key}` is not an array of values")),
            }
        }
        for metric in &self.metrics {
            if metric.splitn(3, '.').count() < 3 {
                let text = format!("`{metric}` in `metrics` is not split.task.metric");
                return problem(text);
            }
        }
        Ok(())
    }

    /// Every combination of a variant and the grid, in order.
    pub fn combinations(&self) -> Vec<Variant> {
        let whole =
            || Variant { name: String::new(), experiment: None, set: Table::new(), aside: false };
        let variants = match self.variants.as_slice() {
            [] => vec![whole()],
            some => some.to_vec(),
        };
        let mut combinations = Vec::new();
        for variant in variants {
            // What is trained first only is needed once.
            let grid = if variant.aside { Vec::new() } else { self.grid_points() };
            if grid.is_empty() {
                combinations.push(variant);
                continue;
            }
            for point in grid {
                let mut combined = variant.clone();
                for (key, value) in point {
                    let shown = match &value {
                        Value::String(text) => text.clone(),
                        value => value.to_string(),
                    };
                    let separator = if combined.name.is_empty() { "" } else { ", " };
                    combined.name += &format!("{separator}{key} = {shown}");
                    combined.set.insert(key, value);
                }
                combinations.push(combined);
            }
        }
        for variant in &mut combinations {
            if variant.name.is_empty() {
                variant.name = "as it is".into();
            }
        }
        combinations
    }

    /// The combinations of the grid's values, the last key fastest; empty without a grid.
    fn grid_points(&self) -> Vec<Vec<Setting>> {
        let mut points: Vec<Vec<Setting>> = Vec::new();
        for (key, values) in &self.grid {
            let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
            let before = if points.is_empty() { vec![Vec::new()] } else { points };
            points = before
                .iter()
                .flat_map(|point| {
                    values.iter().map(|value| {
                        let mut longer = point.clone();
                        longer.push((key.clone(), value.clone()));
                        longer
                    })
                })
                .collect();
        }
        points
    }
}

fn mistake(path: &Path, line: Option<usize>, problem: String) -> Error {
    let help = "See docs/src/ablations.md, or compare with experiments/sweeps/.";
    Error::Document { path: path.into(), line, problem, help: help.into() }
}

/// The keys of a table with their values, nested tables as dotted keys.
pub fn settings(table: &Table) -> Vec<Setting> {
    let mut found = Vec::new();
    collect(table, "", &mut found);
    found
}

fn collect(table: &Table, prefix: &str, found: &mut Vec<Setting>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => collect(inner, &path, found),
            value => found.push((path, value.clone())),
        }
    }
}

/// A name as that of a folder: lower case letters and digits, words joined by `-`.
pub fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'));
    let words = words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sweep(text: &str) -> Sweep {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_grid_is_every_combination_with_every_variant() {
        let sweep = sweep(
            "name = 's'\nexperiment = 'e.toml'\n\
             [grid]\ndevice = ['cpu', 'wgpu']\n'training.batch_size' = [8, 16]\n\
             [[variants]]\nname = 'first'\naside = true\n\
             [[variants]]\nname = 'points'\n",
        );
        let names: Vec<_> = sweep.combinations().into_iter().map(|v| v.name).collect();
        assert_eq!(
            names,
            [
                "first",
                "points, device = cpu, training.batch_size = 8",
                "points, device = cpu, training.batch_size = 16",
                "points, device = wgpu, training.batch_size = 8",
                "points, device = wgpu, training.batch_size = 16",
            ]
        );
    }

    #[test]
    fn without_variants_and_grid_there_is_the_experiment_itself() {
        let sweep = sweep("name = 's'\nexperiment = 'e.toml'\nseeds = [1, 2]\n");
        let variants = sweep.combinations();
        assert_eq!(variants.len(), 1);
        assert_eq!(variants[0].name, "as it is");
    }

    #[test]
    fn nested_tables_are_dotted_keys_and_arrays_are_values() {
        let table: Table = toml::from_str("a.b = 1\n'c.d' = [{ e = 'f' }]\n").unwrap();
        let settings: Vec<_> =
            settings(&table).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(settings, ["a.b=1", "c.d=[{ e = \"f\" }]"]);
    }

    #[test]
    fn a_name_becomes_a_folder_that_stays_where_it_is() {
        assert_eq!(slug("No points, λ = 0.5"), "no-points-λ-0.5");
        assert_eq!(slug("../../etc"), "etc");
        assert_eq!(slug("…"), "");
    }

    #[test]
    fn a_sweep_with_a_mistake_has_its_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Sweep::read(&path).unwrap_err().to_string()
        };
        let start = "name = 's'\nexperiment = 'e.toml'\n";
        assert!(read(&format!("{start}sedes = [1]\n")).contains("s.toml:3: unknown field `sedes`"));
        assert!(read(&format!("{start}seeds = [1, 1]\n")).contains("seed 1 is there twice"));
        assert!(read(&format!("{start}grid.device = 'cpu'\n")).contains("`grid.device`"));
        assert!(read(&format!("{start}metrics = ['a.b']\n")).contains("split.task.metric"));
    }
}

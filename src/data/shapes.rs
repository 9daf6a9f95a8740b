//! **shapes**: a world of simple things that is made on the spot and needs no download.
//!
//! Images of one to six objects over textured backgrounds, with everything a pixel-aligned language
//! model learns from: spoken narratives with mouse traces, masks, referring expressions, regions. It
//! is written in the public formats (Localized Narratives, COCO instances, MDETR's RefCOCO, GRiT's
//! Visual Genome), so that it is read by the readers of the real data.
//!
//! Every image is a function of the seed, its split and its number: the same pixels and annotations on
//! any machine, by any number of threads. In the `held_out` split every region and expression is about pairs of
//! colour and shape that the other splits never show.

pub mod attributes;
mod background;
mod directory;
mod expressions;
mod making;
mod narrative;
mod outline;
mod picture;
mod raster;
mod records;
mod scene;
mod split;
mod trace;
mod view;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::ConfigProblem;

/// Which world: the same settings give the same pixels and annotations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Images of the `train` split.
    pub train_images: usize,
    /// Images of the `val` split.
    pub val_images: usize,
    /// Images of the `test` split.
    pub test_images: usize,
    /// Images of the `held_out` split: pairs of colour and shape that the others never have.
    pub held_out_images: usize,
    /// Long side of an image, in pixels; the short side is the same or up to a quarter less.
    pub image_px: usize,
    /// Fewest objects in an image.
    pub min_objects: usize,
    /// Most objects in an image.
    pub max_objects: usize,
    /// Share of the referring expressions that relate their object to another, where one can.
    pub relations: f64,
    /// JPEG images instead of PNG.
    pub jpeg: bool,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            train_images: 8000,
            val_images: 200,
            test_images: 500,
            held_out_images: 300,
            image_px: 128,
            min_objects: 1,
            max_objects: 6,
            relations: 0.3,
            jpeg: false,
        }
    }
}

impl ShapesConfig {
    /// The same world with so many images to train on and the other splits in the default's
    /// proportion, at least one image each: `pixelllm data shapes --images`.
    pub fn with_images(self, train_images: usize) -> Self {
        let default = Self::default();
        let part = |of: usize| (train_images.saturating_mul(of) / default.train_images).max(1);
        Self {
            train_images,
            val_images: part(default.val_images),
            test_images: part(default.test_images),
            held_out_images: part(default.held_out_images),
            ..self
        }
    }

    /// What cannot be made, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, key: &str, problem: String, allowed: String| {
            if !holds {
                problems.push(ConfigProblem { key: key.into(), problem, allowed });
            }
        };
        for (key, images) in [
            ("train_images", self.train_images),
            ("val_images", self.val_images),
            ("test_images", self.test_images),
            ("held_out_images", self.held_out_images),
        ] {
            let fits = images < split::IDS_PER_SPLIT;
            check(fits, key, format!("{images}"), format!("below {}", split::IDS_PER_SPLIT));
        }
        // Below 32 pixels a small object has 4; patterns and shapes are gone.
        let px = self.image_px;
        check((32..=4096).contains(&px), "image_px", format!("{px}"), "32 to 4096".into());
        let (min, max) = (self.min_objects, self.max_objects);
        check(min >= 1, "min_objects", format!("{min}"), "at least 1".into());
        // More do not fit in an image.
        let allowed = format!("{} to 12", min.max(1));
        check((min.max(1)..=12).contains(&max), "max_objects", format!("{max}"), allowed);
        let relations = self.relations;
        let is_share = (0.0..=1.0).contains(&relations);
        check(is_share, "relations", format!("{relations}"), "0 to 1".into());
        problems
    }
}

/// Whether a world had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made by this call.
    Now,
    /// The same world was there.
    AlreadyThere,
}

/// Makes the world in `directory` unless it is there already.
///
/// What a cut-off call left is removed first. A different world and files of others are errors, and
/// nothing of them is touched.
pub fn ensure(directory: &Path, config: &ShapesConfig) -> Result<Made> {
    if let Some(problem) = config.validate().into_iter().next() {
        return Err(Error::Usage {
            problem: format!("shapes world: `{}`: {}", problem.key, problem.problem),
            help: format!("Allowed: {}.", problem.allowed),
        });
    }
    let Some(workplace) = directory::Workplace::open(directory, config)? else {
        return Ok(Made::AlreadyThere);
    };
    making::make(&workplace, directory, config)?;
    workplace.finish()?;
    Ok(Made::Now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn tiny(seed: u64) -> ShapesConfig {
        let small = ShapesConfig { image_px: 48, max_objects: 4, seed, ..Default::default() };
        ShapesConfig { train_images: 5, val_images: 0, held_out_images: 3, ..small.with_images(5) }
    }

    /// Every file under a folder with its bytes.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        found
    }

    /// The files of a new world, by their paths in it.
    fn made(config: &ShapesConfig) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ensure(folder.path(), config).unwrap(), Made::Now);
        let inside = |(path, bytes): (PathBuf, _)| {
            (path.strip_prefix(folder.path()).unwrap().to_path_buf(), bytes)
        };
        files(folder.path()).into_iter().map(inside).collect()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_by_any_number_of_threads() {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| made(&tiny(1)))
        };
        let alone = with_threads(1);
        assert!(alone == with_threads(4));
        assert_eq!(alone.keys().filter(|path| path.starts_with("images/train")).count(), 5);
        assert!(!alone.keys().any(|path| path.to_string_lossy().contains("val")));
    }

    #[test]
    fn another_seed_gives_other_images_and_other_texts() {
        let (one, two) = (made(&tiny(1)), made(&tiny(2)));
        for path in ["images/train/000000000001.png", "annotations/narratives_train.jsonl"] {
            assert!(one[Path::new(path)] != two[Path::new(path)], "{path}");
        }
    }

    #[test]
    fn more_images_leave_the_first_ones_as_they_were() {
        let (few, more) = (made(&tiny(1)), made(&ShapesConfig { train_images: 7, ..tiny(1) }));
        for (path, bytes) in few.iter().filter(|(path, _)| path.starts_with("images")) {
            assert!(*bytes == more[path], "{}", path.display());
        }
    }

    #[test]
    fn jpeg_images_are_named_and_written_as_jpeg() {
        let files = made(&ShapesConfig { jpeg: true, ..tiny(1) });
        let image = &files[Path::new("images/train/000000000001.jpg")];
        assert_eq!(image::guess_format(image).unwrap(), image::ImageFormat::Jpeg);
    }

    #[test]
    fn a_world_that_is_there_is_not_made_again_and_another_one_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &tiny(1)).unwrap();
        let before = files(folder.path());
        assert_eq!(ensure(folder.path(), &tiny(1)).unwrap(), Made::AlreadyThere);
        let error = ensure(folder.path(), &tiny(2)).unwrap_err().to_string();
        assert!(error.contains("world.json: another world is here: `seed` is 1, not 2"), "{error}");
        assert!(before == files(folder.path()));
    }

    #[test]
    fn a_cut_off_run_is_redone_from_scratch() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images/test");
        fs::create_dir_all(&images).unwrap();
        fs::write(folder.path().join("world.json.partial"), "made").unwrap();
        fs::write(images.join("000200000099.png"), "half an im").unwrap();
        assert_eq!(ensure(folder.path(), &tiny(1)).unwrap(), Made::Now);
        let inside = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_path_buf();
        let redone: BTreeMap<_, _> =
            files(folder.path()).into_iter().map(|(path, bytes)| (inside(path), bytes)).collect();
        assert!(redone == made(&tiny(1)));
    }

    #[test]
    fn files_of_others_are_an_error_and_stay() {
        for (marker, name) in [
            (false, "images/train/000000000001.png"),
            (false, "notes.txt"),
            (true, "images/train/cat.png"),
            (true, "annotations/captions.json"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "mine").unwrap();
            if marker {
                fs::write(folder.path().join("world.json.partial"), "made").unwrap();
            }
            let error = ensure(folder.path(), &tiny(1)).unwrap_err();
            assert!(error.to_string().contains("is in the way"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
            assert_eq!(files(folder.path()).len(), if marker { 2 } else { 1 });
        }
    }

    #[test]
    fn of_two_that_make_the_same_world_at_once_one_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<_> = std::thread::scope(|scope| {
            let makers =
                [1, 2, 3].map(|_| scope.spawn(|| ensure(folder.path(), &tiny(1)).unwrap()));
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(all.iter().filter(|made| **made == Made::Now).count(), 1);
        assert!(!folder.path().join("world.json.partial").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ensure(&file.join("world"), &tiny(1)).unwrap_err();
        let Error::Io { path, .. } = error else { panic!("{error:?}") };
        assert!(path.starts_with(&file));
    }

    #[test]
    fn settings_that_cannot_be_made_are_named() {
        assert_eq!(ShapesConfig::default().validate(), []);
        let config = ShapesConfig {
            image_px: 8,
            min_objects: 5,
            max_objects: 4,
            relations: f64::NAN,
            ..Default::default()
        };
        let keys: Vec<_> = config.validate().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["image_px", "max_objects", "relations"]);
        let folder = tempfile::tempdir().unwrap();
        let error = ensure(folder.path(), &config).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn the_number_of_images_keeps_the_proportions_of_the_splits() {
        let config = ShapesConfig::default();
        assert_eq!(config.clone().with_images(8000), config);
        let few = config.with_images(6);
        assert_eq!([few.val_images, few.test_images, few.held_out_images], [1, 1, 1]);
    }

    #[test]
    fn the_committed_sample_is_what_its_readme_says() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples/shapes");
        let config = ShapesConfig { seed: 7, ..Default::default() }.with_images(6);
        let again = made(&config);
        let committed = files(&sample);
        assert_eq!(committed.len(), again.len());
        for (path, bytes) in again {
            let committed = &committed[&sample.join(&path)];
            // How a PNG is compressed depends on what else is built in; its pixels do not.
            let same = if path.extension().is_some_and(|extension| extension == "png") {
                let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap();
                pixels(committed) == pixels(&bytes)
            } else {
                *committed == bytes
            };
            assert!(same, "{} differs", path.display());
        }
    }
}

//! Floor 5: pages and pictures of what a run learned.
//!
//! [`Report::write`] makes `report.html`, one file that needs no network and no other file, and
//! `overlays/*.png`, the same pictures for use elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::geometry::BoundingBox;
use crate::metrics::score::Evaluation;
use crate::tasks::{Description, Detection, Location, Narration};
use crate::training::record::Record;

pub mod answers;
mod axis;
mod canvas;
mod chart;
pub mod comparison;
mod curves;
pub mod data_statistics;
mod data_uri;
#[cfg(test)]
mod example;
mod frame;
mod gallery;
mod mask_overlay;
pub mod overlay;
mod page;
pub mod palette;
mod plot;
pub mod run_plot;
pub mod run_tables;
pub mod table;
mod text;

pub use table::evaluation_table;

/// The page, in the run directory.
pub const PAGE_FILE: &str = "report.html";
/// The folder of pictures, in the run directory.
pub const OVERLAY_FOLDER: &str = "overlays";

/// A held-out image with what the model said about it.
#[derive(Debug, Clone)]
pub struct GalleryItem {
    /// The image's name in its data set.
    pub name: String,
    /// The split that it is from.
    pub split: String,
    /// The image itself.
    pub image: RgbImage,
    /// What the model narrated.
    pub narration: Option<Narration>,
    /// What a person narrated.
    pub reference_narration: Option<String>,
    /// Regions that the model described.
    pub descriptions: Vec<Described>,
    /// Expressions that the model located.
    pub locations: Vec<Located>,
    /// What the model found in it.
    pub detections: Option<Detected>,
}

/// A description beside the annotation.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The model's.
    pub description: Description,
    /// The annotated caption of the region.
    pub reference: Option<String>,
}

/// A location beside the annotation.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The model's.
    pub location: Location,
    /// The annotated box, normalised to the image.
    pub reference: Option<BoundingBox>,
}

/// Detections beside the annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// The model's, by falling score.
    pub found: Vec<Detection>,
    /// The annotated boxes, normalised to the image, with their captions.
    pub annotated: Vec<(BoundingBox, String)>,
}

/// Everything that the page of a run shows.
#[derive(Debug, Clone)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// The command that made the run.
    pub command: String,
    /// The resolved experiment.
    pub experiment_toml: String,
    /// The content of `metrics.jsonl`.
    pub records: Vec<Record>,
    /// The content of `evaluation.json`.
    pub evaluation: Evaluation,
    /// Held-out images.
    pub gallery: Vec<GalleryItem>,
    /// Name and value of what else is worth knowing: device, steps, duration, parameters, versions…
    pub facts: Vec<(String, String)>,
}

impl Report {
    /// Writes the page and the pictures into the run directory; the path of the page.
    pub fn write(&self, run_directory: &Path) -> Result<PathBuf> {
        let overlays = run_directory.join(OVERLAY_FOLDER);
        fs::create_dir_all(&overlays).map_err(Error::io("create", &overlays))?;
        self.gallery
            .par_iter()
            .enumerate()
            .try_for_each(|(index, item)| write_overlays(index, item, &overlays))?;

        let page = run_directory.join(PAGE_FILE);
        let unfinished = page.with_extension("html.part");
        let html = page::page(self)?.into_string();
        fs::write(&unfinished, html).map_err(Error::io("write", &unfinished))?;
        fs::rename(&unfinished, &page).map_err(Error::io("write", &page))?;
        Ok(page)
    }
}

/// `overlays/03-test-000017-narrate.png` and so on.
fn write_overlays(index: usize, item: &GalleryItem, folder: &Path) -> Result<()> {
    let stem = format!("{:02}-{}-{}", index + 1, file_name(&item.split), file_name(&item.name));
    let save = |what: String, picture: RgbImage| {
        let path = folder.join(format!("{stem}-{what}.png"));
        let bytes = data_uri::png(&picture).map_err(|e| {
            Error::format(&path, e.to_string(), "Look at the image that it was made from.")
        })?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))
    };
    if let Some(narration) = &item.narration {
        save("narrate".into(), overlay::narration(&item.image, narration)?)?;
    }
    for (i, described) in item.descriptions.iter().enumerate() {
        let picture = overlay::description(&item.image, &described.description)?;
        save(format!("describe-{}", i + 1), picture)?;
    }
    for (i, located) in item.locations.iter().enumerate() {
        let picture = overlay::location(&item.image, &located.location, located.reference)?;
        save(format!("locate-{}", i + 1), picture)?;
    }
    if let Some(detected) = &item.detections {
        save("detect".into(), overlay::detections(&item.image, &detected.found)?)?;
    }
    Ok(())
}

/// A name without what a file system or a shell could mistake; the number before it keeps names
/// apart.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    // File names end at 255 bytes on most systems; 40 characters are at most 160.
    name.chars().map(safe).take(40).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_page_and_a_picture_per_answer() {
        let folder = tempfile::tempdir().unwrap();
        let report = example::report();
        let page = report.write(folder.path()).unwrap();
        assert_eq!(page, folder.path().join("report.html"));
        assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
        let pictures = fs::read_dir(folder.path().join("overlays")).unwrap().count();
        let answers = |item: &GalleryItem| {
            let asked = [item.narration.is_some(), item.detections.is_some()];
            asked.into_iter().filter(|asked| *asked).count()
                + item.descriptions.len()
                + item.locations.len()
        };
        assert_eq!(pictures, report.gallery.iter().map(answers).sum::<usize>());
        assert!(folder.path().join("overlays/01-test-000001-narrate.png").exists());
        assert!(!folder.path().join("report.html.part").exists());
    }

    #[test]
    fn a_name_with_slashes_stays_in_its_folder() {
        assert_eq!(file_name("../etc/pass wd.png"), "---etc-pass-wd-png");
        let folder = tempfile::tempdir().unwrap();
        let mut report = example::report();
        report.gallery.truncate(1);
        for item in &mut report.gallery {
            item.name = "../../up".into();
        }
        report.write(folder.path()).unwrap();
        assert!(folder.path().join("overlays/01-test-------up-narrate.png").exists());
    }

    #[test]
    fn a_run_directory_that_is_a_file_is_an_error_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = example::report().write(file.path()).unwrap_err();
        assert!(error.to_string().contains("overlays"), "{error}");
    }

    /// `cargo test --lib report -- --ignored --nocapture`, then open the page.
    #[test]
    #[ignore = "writes a page to look at into the temporary folder"]
    fn an_example_to_look_at() {
        let folder = std::env::temp_dir().join("pixelllm-example-report");
        fs::create_dir_all(&folder).unwrap();
        println!("{}", example::report().write(&folder).unwrap().display());
    }
}

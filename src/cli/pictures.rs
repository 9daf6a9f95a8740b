//! The images that a command is about.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;

use crate::data::image_file::{DecodeConfig, open_rgb};
use crate::data::transform::{Canvas, from_image};
use crate::error::{Error, Result};
use crate::tasks::Place;

/// Endings of files that are images.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Which images.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which images")]
pub(super) struct ImageArguments {
    /// PNG or JPEG images, or folders of them; RUN comes before
    #[arg(
        long = "image",
        value_name = "FILE|DIR",
        num_args = 1..,
        required_unless_present = "list"
    )]
    images: Vec<PathBuf>,
    /// A text file with the path of an image on each line; `-` for standard input
    #[arg(long = "images-from", value_name = "LIST.txt")]
    list: Option<PathBuf>,
    /// Images that the model looks at together, where there are many
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = parse_count)]
    pub(super) batch: usize,
}

/// What was asked for.
pub(super) enum Images {
    /// A single image by its name: an error of it is the command's.
    One(PathBuf),
    /// Any number: what is wrong with one is told, and the others go on.
    Many(Vec<PathBuf>),
}

impl ImageArguments {
    /// The files, those of a folder by their names.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder or the list cannot be read, [`Error::Usage`] where there is no image.
    pub(super) fn find(&self) -> Result<Images> {
        if let ([image], None) = (&self.images[..], &self.list)
            && !image.is_dir()
        {
            return Ok(Images::One(image.clone()));
        }
        let mut files = Vec::new();
        for path in &self.images {
            match path.is_dir() {
                true => files.extend(images_of(path)?),
                false => files.push(path.clone()),
            }
        }
        if let Some(list) = &self.list {
            files.extend(read_list(list)?);
        }
        match files.is_empty() {
            true => Err(Error::Usage {
                problem: "there is no image to look at".into(),
                help: "Give --image files, or folders with .png, .jpg or .jpeg files.".into(),
            }),
            false => Ok(Images::Many(files)),
        }
    }
}

/// The images of a folder, not of those in it, by their names.
fn images_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_image = extension.is_some_and(|extension| {
            EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
        });
        if is_image && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::Usage {
            problem: format!("{} has no .png, .jpg or .jpeg file", folder.display()),
            help: "Name the images, or the folder that they are in; folders inside it are not \
                   searched. RUN comes before --image."
                .into(),
        });
    }
    Ok(files)
}

/// The paths of a list, relative to the working directory; blank lines are left out.
fn read_list(list: &Path) -> Result<Vec<PathBuf>> {
    let text = if list == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(Error::io("read", list))?;
        text
    } else {
        fs::read_to_string(list).map_err(Error::io("read", list))?
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(PathBuf::from).collect())
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a whole number from 1".into()),
    }
}

/// An image as it is and on the model's canvas, and what is asked about it.
pub(super) struct Picture {
    pub(super) path: PathBuf,
    pub(super) image: RgbImage,
    pub(super) canvas: Canvas,
    /// Of *describe*: the places, normalised to the image.
    pub(super) places: Vec<Place>,
}

impl Picture {
    /// Reads an image; nothing is asked about it yet.
    pub(super) fn read(path: &Path, canvas_px: usize) -> Result<Self> {
        let image = open_rgb(path, &DecodeConfig::default())?;
        let image = image::DynamicImage::from(image);
        let canvas = from_image(&image, canvas_px)?;
        let (path, image) = (path.to_path_buf(), image.into_rgb8());
        Ok(Self { path, image, canvas, places: Vec::new() })
    }
}

/// Names of drawings in a folder: by image and task, with a number where two images have the same.
#[derive(Debug, Default)]
pub(super) struct DrawingNames(HashSet<String>);

impl DrawingNames {
    /// The name for an image, without an ending.
    pub(super) fn next(&mut self, image: &Path, task: &str) -> String {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        let plain = format!("{stem}-{task}");
        let numbered = (2..).map(|number| format!("{stem}-{number}-{task}"));
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        let name = names.find(|name| !self.0.contains(name)).unwrap_or(plain);
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn images_with_the_same_name_have_drawings_of_their_own() {
        let mut names = DrawingNames::default();
        let mut next = |path: &str| names.next(Path::new(path), "narrate");
        assert_eq!(next("a/one.png"), "one-narrate");
        assert_eq!(next("b/one.jpg"), "one-2-narrate");
        assert_eq!(next("one.png"), "one-3-narrate");
        assert_eq!(next("two.png"), "two-narrate");
    }

    #[test]
    fn a_folder_gives_its_images_by_name_and_a_list_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.PNG", "a.jpeg", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("c.png")).unwrap();
        let found = images_of(folder.path()).unwrap();
        assert_eq!(found, ["a.jpeg", "b.PNG"].map(|name| folder.path().join(name)));
        let list = folder.path().join("notes.txt");
        fs::write(&list, "x/a.png\n\n  b c.png\r\n").unwrap();
        assert_eq!(read_list(&list).unwrap(), ["x/a.png", "b c.png"].map(PathBuf::from));
    }
}

//! A page of answers about images, made image by image: one file that loads nothing.

use std::path::Path;

use image::RgbImage;
use maud::{Markup, html};

use super::frame::frame;
use super::gallery::{hint, item};
use super::mask_overlay::masked;
use super::{Described, Detected, GalleryItem, Located};
use crate::error::Result;
use crate::tasks::Answer;
use crate::training::run_directory::write_atomically;

/// A page in the making. Its images are kept in memory, packed.
#[derive(Debug)]
pub struct AnswerPage {
    title: String,
    items: Vec<Markup>,
}

impl AnswerPage {
    /// Without any image yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), items: Vec::new() }
    }

    /// Adds an image, called `name`, with what was said about it. Masks are tinted in the picture.
    ///
    /// # Errors
    /// [`Error::Compute`](crate::Error::Compute) where the image cannot be encoded,
    /// [`Error::Usage`](crate::Error::Usage) where a mask does not decode.
    pub fn add(&mut self, name: &str, image: &RgbImage, answer: &Answer) -> Result<()> {
        let mut shown = GalleryItem {
            name: name.into(),
            split: String::new(),
            image: image.clone(),
            narration: None,
            reference_narration: None,
            descriptions: Vec::new(),
            locations: Vec::new(),
            detections: None,
        };
        match answer.clone() {
            Answer::Narrate { narration } => shown.narration = Some(narration),
            Answer::Describe { descriptions } => {
                let described = |description| Described { description, reference: None };
                shown.descriptions = descriptions.into_iter().map(described).collect();
            }
            Answer::Locate { locations } => {
                for mask in locations.iter().filter_map(|location| location.mask.as_ref()) {
                    shown.image = masked(&shown.image, mask)?;
                }
                let located = |location| Located { location, reference: None };
                shown.locations = locations.into_iter().map(located).collect();
            }
            Answer::Detect { detections: found } => {
                shown.detections = Some(Detected { found, annotated: Vec::new() });
            }
        }
        self.items.push(item(&shown)?);
        Ok(())
    }

    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let content = html! {
            h1 { (self.title) }
            (hint())
            @for item in &self.items { (item) }
        };
        let page = frame(&self.title, content, Some(include_str!("page.js")));
        write_atomically(path, page.into_string().as_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::geometry::BoundingBox;
    use crate::tasks::{LocatedWord, Narration};

    #[test]
    fn every_word_on_the_page_lights_up_its_place_and_nothing_is_loaded() {
        let at = |x: f32| BoundingBox::new(x, 0.2, x + 0.2, 0.6);
        let words = vec![
            LocatedWord::new("<red>".into(), at(0.1), -0.1),
            LocatedWord::new("star".into(), at(0.5), -0.2),
        ];
        let narration = Narration {
            caption: "<red> star".into(),
            words,
            tokens: vec![],
            token_log_probs: vec![],
            score: -0.1,
        };
        let image = RgbImage::from_pixel(32, 24, Rgb([90; 3]));
        let mut page = AnswerPage::new("two & two");
        for name in ["a.png", "b.png"] {
            page.add(name, &image, &Answer::Narrate { narration: narration.clone() }).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        page.write(&path).unwrap();
        let html = std::fs::read_to_string(&path).unwrap();
        assert!(html.contains("two &amp; two") && html.contains("&lt;red&gt;"));
        // In the text, a box and a centre, of each of two images.
        assert_eq!(html.matches("data-key=\"w1\"").count(), 6);
        assert!(!html.contains("src=\"http") && !html.contains("href=\"http"));
        assert!(html.contains("default-src 'none'"));
    }
}

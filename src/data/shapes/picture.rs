//! One image of the world with everything that is said about it: a function of the world's seed,
//! the split and the image's number, and of nothing else.

use hotcoco::mask;
use image::RgbImage;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ShapesConfig;
use super::attributes::Attributes;
use super::background::Texture;
use super::expressions::{Expression, expression};
use super::narrative::{Utterance, narrative};
use super::raster;
use super::records::Segmentation;
use super::scene::{Scene, Wish};
use super::split::Split;
use super::trace::{Interval, TracePoint, speak, trace};
use super::view::{Subject, View};
use crate::error::{Error, Result};
use crate::geometry::BoundingBox;

/// An image and its texts, before they are written.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) image: RgbImage,
    pub(super) objects: Vec<PicturedObject>,
    pub(super) narrative: SpokenNarrative,
}

/// An object as it is seen.
#[derive(Debug)]
pub(super) struct PicturedObject {
    pub(super) attributes: Attributes,
    /// x, y, width, height in pixels, around the visible pixels.
    pub(super) bbox: [u32; 4],
    /// Visible pixels.
    pub(super) area: u64,
    pub(super) segmentation: Segmentation,
    /// Whether regions and expressions of this split are about it.
    pub(super) described: bool,
    /// `None` where it is not described, or no phrase fits it alone.
    pub(super) expression: Option<Expression>,
}

/// A narrative with its times and the mouse.
#[derive(Debug)]
pub(super) struct SpokenNarrative {
    pub(super) annotator_id: u32,
    pub(super) utterances: Vec<Utterance>,
    pub(super) intervals: Vec<Interval>,
    pub(super) strokes: Vec<Vec<TracePoint>>,
}

/// What random numbers are for. Each use has its own, so that a change to one leaves the others.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Scene,
    Background,
    Expressions,
    Narrative,
    Trace,
}

fn random(config: &ShapesConfig, split: Split, index: usize, purpose: Purpose) -> ChaCha8Rng {
    let mut seed = [0; 32];
    let parts = [config.seed, split as u64, index as u64, purpose as u64];
    for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(seed)
}

impl Picture {
    /// Makes image `index` of a split.
    pub(super) fn make(config: &ShapesConfig, split: Split, index: usize) -> Result<Self> {
        let random = |purpose| random(config, split, index, purpose);
        let wish = Wish {
            long_side: config.image_px as u32,
            min_objects: config.min_objects,
            max_objects: config.max_objects,
            held_out: split == Split::HeldOut,
        };
        let scene = Scene::random(&wish, &mut random(Purpose::Scene));
        let mut rng = random(Purpose::Background);
        let texture = Texture::ALL[rng.random_range(0..Texture::ALL.len())];
        let background = texture.paint(scene.width, scene.height, &mut rng);
        let (image, masks) = raster::draw(&scene, background);

        let attributes = scene.objects.iter().map(|object| object.attributes);
        let mut objects: Vec<_> = attributes
            .zip(&masks)
            .map(|(a, mask)| PicturedObject::new(a, mask, &scene, split))
            .collect::<Result<_>>()?;
        let view = View {
            width: scene.width as f32,
            height: scene.height as f32,
            subjects: objects.iter().map(PicturedObject::subject).collect(),
        };
        let mut rng = random(Purpose::Expressions);
        for (index, object) in objects.iter_mut().enumerate() {
            if object.described {
                object.expression = expression(&view, index, config.relations, &mut rng);
            }
        }
        let utterances = narrative(&view, texture, &mut random(Purpose::Narrative));
        let narrative = SpokenNarrative::new(&view, utterances, &mut random(Purpose::Trace));
        Ok(Self { image, objects, narrative })
    }
}

impl PicturedObject {
    fn new(attributes: Attributes, pixels: &[u8], scene: &Scene, split: Split) -> Result<Self> {
        let (height, width) = (scene.height, scene.width);
        let rle = mask::encode(pixels, height, width).map_err(|error| Error::Compute {
            problem: format!("a mask of the shapes world cannot be encoded: {error}"),
            help: "Please report this; another seed will do meanwhile.".into(),
        })?;
        Ok(Self {
            attributes,
            bbox: mask::to_bbox(&rle).map(|v| v as u32),
            area: mask::area(&rle),
            segmentation: Segmentation { size: [height, width], counts: mask::rle_to_string(&rle) },
            described: split != Split::HeldOut || attributes.is_held_out(),
            expression: None,
        })
    }

    fn subject(&self) -> Subject {
        let [x, y, width, height] = self.bbox.map(|v| v as f32);
        let bounds = BoundingBox::from_xywh(x, y, width, height);
        Subject { attributes: self.attributes, bounds }
    }
}

impl SpokenNarrative {
    fn new(view: &View, utterances: Vec<Utterance>, rng: &mut ChaCha8Rng) -> Self {
        let annotator_id = rng.random_range(1..=20);
        let intervals = speak(&utterances, rng);
        let strokes = trace(view, &utterances, &intervals, rng);
        Self { annotator_id, utterances, intervals, strokes }
    }

    /// The utterances, joined.
    pub(super) fn caption(&self) -> String {
        let texts: Vec<_> = self.utterances.iter().map(|u| u.text.as_str()).collect();
        texts.join(" ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::attributes::words_of;
    use super::super::narrative::Focus;
    use super::super::split;
    use super::*;

    fn pictures(split: Split, num: usize) -> impl Iterator<Item = Picture> {
        let config = ShapesConfig { image_px: 64, ..Default::default() };
        (0..num).map(move |index| Picture::make(&config, split, index).unwrap())
    }

    #[test]
    fn boxes_and_areas_are_those_of_the_masks() {
        for picture in pictures(Split::Train, 20) {
            for object in &picture.objects {
                let (width, height) = picture.image.dimensions();
                let counts = &object.segmentation.counts;
                let rle = mask::rle_from_string(counts, height, width).unwrap();
                let pixels = mask::decode(&rle);
                let set = (0..width).flat_map(|x| (0..height).map(move |y| (x, y)));
                let set: Vec<_> =
                    set.zip(&pixels).filter(|(_, v)| **v == 1).map(|(at, _)| at).collect();
                assert_eq!(set.len() as u64, object.area);
                let [x, y, w, h] = object.bbox;
                assert_eq!(set.iter().map(|at| at.0).min(), Some(x));
                assert_eq!(set.iter().map(|at| at.0).max(), Some(x + w - 1));
                assert_eq!(set.iter().map(|at| at.1).min(), Some(y));
                assert_eq!(set.iter().map(|at| at.1).max(), Some(y + h - 1));
            }
        }
    }

    #[test]
    fn most_pixels_of_a_solid_object_have_its_colour() {
        let mut seen = 0;
        for picture in pictures(Split::Train, 30) {
            for object in picture.objects.iter().filter(|o| o.attributes.words()[2] == "solid") {
                let (width, height) = picture.image.dimensions();
                let counts = &object.segmentation.counts;
                let rle = mask::rle_from_string(counts, height, width).unwrap();
                let mask = mask::decode(&rle);
                let is_set = |x: u32, y: u32| mask[(x * height + y) as usize] == 1;
                let pixels = picture.image.enumerate_pixels();
                let pixels: Vec<_> = pixels.filter(|(x, y, _)| is_set(*x, *y)).collect();
                let fits = |p: &image::Rgb<u8>| {
                    let [r, g, b] = p.0;
                    match object.attributes.words()[1] {
                        "red" => r > g.max(b) + 90,
                        "green" => g > r.max(b) + 40,
                        "blue" => b > r.max(g) + 60,
                        "yellow" => r.min(g) > b + 90 && g > 180,
                        "purple" => r.min(b) > g + 40,
                        "orange" => r > g + 60 && g > b + 50,
                        "white" => r.min(g).min(b) > 220,
                        _ => r.max(g).max(b) < 40,
                    }
                };
                let share = pixels.iter().filter(|(_, _, p)| fits(p)).count() as f64;
                let share = share / pixels.len() as f64;
                assert!(share > 0.5, "{:?}: {share}", object.attributes.words());
                seen += 1;
            }
        }
        assert!(seen > 10);
    }

    #[test]
    fn held_out_pairs_are_in_that_split_alone_and_its_texts_are_about_nothing_else() {
        for split in [Split::Train, Split::Val, Split::Test] {
            let mut objects = pictures(split, 40).flat_map(|picture| picture.objects);
            assert!(objects.all(|object| object.described && !object.attributes.is_held_out()));
        }
        let mut others = 0;
        for picture in pictures(Split::HeldOut, 40) {
            assert!(picture.objects.iter().any(|object| object.attributes.is_held_out()));
            for object in &picture.objects {
                assert_eq!(object.described, object.attributes.is_held_out());
                assert!(object.described || object.expression.is_none());
                others += usize::from(!object.described);
            }
        }
        assert!(others > 10, "objects of other pairs are there too");
    }

    #[test]
    fn an_expression_without_places_fits_its_object_and_no_other() {
        let beyond = ["most ", " left", " right", " at ", " on ", " in ", " above ", " below "];
        let (mut checked, mut objects) = (0, 0);
        for picture in pictures(Split::Train, 60) {
            for (index, object) in picture.objects.iter().enumerate() {
                objects += 1;
                let Some(expression) = &object.expression else { continue };
                let head = &expression.text[..expression.head];
                let wanted = words_of(head);
                let fits = |words: [&'static str; 4]| {
                    wanted.iter().zip(words).all(|(wanted, word)| wanted.is_none_or(|w| w == word))
                };
                assert!(fits(object.attributes.words()), "{head}");
                if expression.head == expression.text.len()
                    && !beyond.iter().any(|b| head.contains(b))
                {
                    let all = picture.objects.iter().enumerate();
                    let fitting = all.filter(|(_, o)| fits(o.attributes.words()));
                    assert_eq!(fitting.map(|(i, _)| i).collect::<Vec<_>>(), [index], "{head}");
                    checked += 1;
                }
            }
        }
        assert!(checked * 3 > objects, "{checked} of {objects}");
    }

    #[test]
    fn every_object_is_mentioned_in_its_narrative() {
        for picture in pictures(Split::Test, 40) {
            let narrative = &picture.narrative;
            for (index, object) in picture.objects.iter().enumerate() {
                let mentions = narrative.utterances.iter().filter(|u| u.focus == Focus::On(index));
                let said = mentions
                    .map(|u| words_of(&u.text)[3])
                    .any(|word| word == Some(object.attributes.words()[3]));
                assert!(said, "{}", narrative.caption());
            }
        }
    }

    /// What the reader of Localized Narratives makes of a trace should be near the object.
    #[test]
    fn the_mouse_is_about_what_is_spoken_of() {
        let (mut mean_iou, mut num) = (0.0, 0.0);
        for picture in pictures(Split::Train, 60) {
            let (width, height) = picture.image.dimensions();
            let points: Vec<_> = picture.narrative.strokes.concat();
            assert!(points.windows(2).all(|pair| pair[0].t < pair[1].t));
            assert!(
                points.iter().all(|p| (-0.2..1.2).contains(&p.x) && (-0.2..1.2).contains(&p.y))
            );
            let spoken = picture.narrative.utterances.iter().zip(&picture.narrative.intervals);
            for (utterance, interval) in spoken {
                assert!(interval.start < interval.end);
                let Focus::On(subject) = utterance.focus else { continue };
                let during =
                    points.iter().filter(|p| (interval.start..interval.end).contains(&p.t));
                let around = during.fold(None, |bounds: Option<BoundingBox>, p| {
                    let (x, y) = (p.x as f32, p.y as f32);
                    let b = bounds.unwrap_or(BoundingBox::new(x, y, x, y));
                    Some(BoundingBox::new(b.x0.min(x), b.y0.min(y), b.x1.max(x), b.y1.max(y)))
                });
                let [x, y, w, h] = picture.objects[subject].bbox.map(|v| v as f32);
                let object = BoundingBox::from_xywh(x, y, w, h)
                    .scale(1.0 / width as f32, 1.0 / height as f32);
                mean_iou += around.map_or(0.0, |bounds| bounds.iou(object));
                num += 1.0;
            }
        }
        mean_iou /= num;
        // People's traces are loose: neither exact nor beside the point.
        assert!((0.35..0.85).contains(&mean_iou), "{mean_iou}");
    }

    #[test]
    fn the_texts_use_few_words_and_lower_case() {
        let mut words = BTreeSet::new();
        let splits = [(Split::Train, 150), (Split::HeldOut, 50)];
        for picture in splits.into_iter().flat_map(|(split, num)| pictures(split, num)) {
            let mut texts = vec![picture.narrative.caption()];
            for object in &picture.objects {
                texts.push(object.attributes.phrase());
                texts.extend(object.expression.iter().map(|e| e.text.clone()));
            }
            for text in texts {
                assert_eq!(text, text.to_lowercase());
                words.extend(text.split(' ').map(str::to_string));
            }
        }
        assert!((50..=100).contains(&words.len()), "{}: {words:?}", words.len());
    }

    #[test]
    fn image_ids_of_the_splits_do_not_meet() {
        assert_eq!(Split::Train.image_id(0), 1);
        assert_eq!(split::file_name(Split::Train.image_id(41), false), "000000000042.png");
        assert!(Split::Val.image_id(0) > Split::Train.image_id(split::IDS_PER_SPLIT - 2));
    }
}

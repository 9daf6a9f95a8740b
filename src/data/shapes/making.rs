//! Writes all images and annotations of a world: images by all cores, annotations in order.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ImageEncoder, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;

use super::ShapesConfig;
use super::directory::{Annotations, Workplace};
use super::picture::{Picture, PicturedObject, SpokenNarrative};
use super::records::{
    Coco, ExpressionImage, ExpressionObject, Image, Instance, InstanceAttributes, Narrative,
    Region, TimedUtterance, category_id,
};
use super::split::{Split, file_name};
use crate::error::{Error, Result};

/// Images that are held in memory at once.
const CHUNK: usize = 1024;

const JPEG_QUALITY: u8 = 92;

/// Makes every split in the folder.
pub(super) fn make(workplace: &Workplace, directory: &Path, config: &ShapesConfig) -> Result<()> {
    let total: usize = Split::ALL.iter().map(|split| split.num_images(config)).sum();
    let place = directory.display();
    tracing::info!("making the shapes world: {total} images in {place}");
    let bar = ProgressBar::new(total as u64);
    let template = "{msg} {wide_bar} {human_pos}/{human_len} images, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar.set_message(format!("making the shapes world in {place}"));
    for split in Split::ALL {
        if split.num_images(config) > 0 {
            make_split(workplace, config, split, &bar)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn make_split(
    workplace: &Workplace,
    config: &ShapesConfig,
    split: Split,
    bar: &ProgressBar,
) -> Result<()> {
    let folder = workplace.images(split)?;
    let narratives = workplace.annotations(Annotations::Narratives, split)?;
    let file = File::create(&narratives).map_err(Error::io("create", &narratives))?;
    let mut lines = BufWriter::new(file);
    let mut annotated = Annotated::new(split);
    let num_images = split.num_images(config);
    for start in (0..num_images).step_by(CHUNK) {
        let indices = start..(start + CHUNK).min(num_images);
        let made: Vec<_> = indices
            .clone()
            .into_par_iter()
            .map(|index| {
                let picture = Picture::make(config, split, index)?;
                let name = file_name(split.image_id(index), config.jpeg);
                write_image(&folder.join(name), &picture.image, config.jpeg)?;
                bar.inc(1);
                Ok(picture)
            })
            .collect::<Result<_>>()?;
        for (index, picture) in indices.zip(made) {
            let id = split.image_id(index);
            let line = narrative(split, id, &picture.narrative);
            let written = serde_json::to_writer(&mut lines, &line).map_err(std::io::Error::from);
            written
                .and_then(|()| lines.write_all(b"\n"))
                .map_err(Error::io("write", &narratives))?;
            annotated.add(id, file_name(id, config.jpeg), &picture);
        }
    }
    lines.flush().map_err(Error::io("write", &narratives))?;
    annotated.write(workplace, split)
}

fn write_image(path: &Path, image: &RgbImage, jpeg: bool) -> Result<()> {
    let (width, height, colour) = (image.width(), image.height(), image::ColorType::Rgb8.into());
    let mut bytes = Vec::new();
    let encoded = if jpeg {
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
            .write_image(image, width, height, colour)
    } else {
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
            .write_image(image, width, height, colour)
    };
    encoded.map_err(|error| Error::io("encode", path)(std::io::Error::other(error)))?;
    std::fs::write(path, bytes).map_err(Error::io("write", path))
}

fn narrative(split: Split, image_id: u64, spoken: &SpokenNarrative) -> Narrative {
    let timed = spoken.utterances.iter().zip(&spoken.intervals);
    Narrative {
        dataset_id: format!("shapes_{}", split.name()),
        image_id: image_id.to_string(),
        annotator_id: spoken.annotator_id,
        caption: spoken.caption(),
        timed_caption: timed
            .map(|(utterance, interval)| TimedUtterance {
                utterance: utterance.text.clone(),
                start_time: interval.start,
                end_time: interval.end,
            })
            .collect(),
        traces: spoken.strokes.clone(),
        voice_recording: String::new(),
    }
}

/// The annotations of a split other than narratives. Ids are counted from 1 in each file.
#[derive(Debug)]
struct Annotated {
    instances: Coco<Image, Instance>,
    expressions: Coco<ExpressionImage, ExpressionObject>,
    regions: Coco<Image, Region>,
    /// Whether images without regions are left out of the regions file.
    only_described: bool,
}

impl Annotated {
    fn new(split: Split) -> Self {
        Self {
            instances: Coco::new(true),
            expressions: Coco::new(true),
            regions: Coco::new(false),
            only_described: split == Split::HeldOut,
        }
    }

    fn add(&mut self, id: u64, file_name: String, picture: &Picture) {
        let (width, height) = picture.image.dimensions();
        let image = Image { id, file_name, width, height };
        if !self.only_described || picture.objects.iter().any(|object| object.described) {
            self.regions.images.push(image.clone());
        }
        for object in &picture.objects {
            self.add_object(&image, object);
        }
        self.instances.images.push(image);
    }

    fn add_object(&mut self, image: &Image, object: &PicturedObject) {
        let instance = instance(self.instances.annotations.len() as u64 + 1, image.id, object);
        if object.described {
            self.regions.annotations.push(Region {
                id: self.regions.annotations.len() as u64 + 1,
                image_id: image.id,
                bbox: object.bbox,
                caption: object.attributes.phrase(),
            });
        }
        if let Some(expression) = &object.expression {
            let id = self.expressions.images.len() as u64 + 1;
            self.expressions.images.push(ExpressionImage {
                id,
                file_name: image.file_name.clone(),
                width: image.width,
                height: image.height,
                original_id: image.id,
                caption: expression.text.clone(),
                refexp_id: id,
                dataset_name: "shapes",
            });
            self.expressions.annotations.push(ExpressionObject {
                id,
                image_id: id,
                category_id: instance.category_id,
                bbox: instance.bbox,
                area: instance.area,
                iscrowd: 0,
                tokens_positive: vec![[0, expression.head]],
                original_id: instance.id,
                segmentation: instance.segmentation.clone(),
            });
        }
        self.instances.annotations.push(instance);
    }

    fn write(&self, workplace: &Workplace, split: Split) -> Result<()> {
        let path = |kind| workplace.annotations(kind, split);
        write_json(&path(Annotations::Instances)?, &self.instances)?;
        write_json(&path(Annotations::Expressions)?, &self.expressions)?;
        write_json(&path(Annotations::Regions)?, &self.regions)
    }
}

fn instance(id: u64, image_id: u64, object: &PicturedObject) -> Instance {
    let [size, colour, pattern, shape] = object.attributes.words();
    Instance {
        id,
        image_id,
        category_id: category_id(object.attributes.shape),
        bbox: object.bbox,
        area: object.area,
        iscrowd: 0,
        segmentation: object.segmentation.clone(),
        attributes: InstanceAttributes { size, colour, pattern, shape },
    }
}

fn write_json(path: &Path, content: &impl Serialize) -> Result<()> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    let mut writer = BufWriter::new(file);
    let written = serde_json::to_writer(&mut writer, content).map_err(std::io::Error::from);
    written.and_then(|()| writer.flush()).map_err(Error::io("write", path))
}

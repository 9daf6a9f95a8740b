//! The committed samples of every format, read by the readers of the real data.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use pixelllm::data::formats::{self, Format, read_instances};
use pixelllm::data::transform::load_canvas;
use pixelllm::geometry::BoundingBox;

/// Those that the shapes world is written in; tests/data_samples.rs has the others.
const FORMATS: [Format; 4] = [
    Format::LocalizedNarratives,
    Format::RefexpMdetr,
    Format::VisualGenomeCoco,
    Format::CocoInstances,
];

const SPLITS: [&str; 4] = ["train", "val", "test", "held_out"];

fn world() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples/shapes")
}

/// Annotation file and image folder.
fn place(format: Format, split: &str) -> (PathBuf, PathBuf) {
    let file = match format {
        Format::LocalizedNarratives => format!("narratives_{split}.jsonl"),
        Format::RefexpMdetr => format!("expressions_{split}.json"),
        Format::VisualGenomeCoco => format!("regions_{split}.json"),
        Format::CocoInstances => format!("instances_{split}.json"),
        other => unreachable!("{other:?}"),
    };
    (world().join("annotations").join(file), world().join("images").join(split))
}

#[test]
fn nothing_of_the_samples_is_skipped_whatever_the_format_the_split_and_the_task() {
    for format in FORMATS {
        for split in SPLITS {
            for task in format.tasks() {
                let (annotations, images) = place(format, split);
                let loaded = formats::load(format, *task, &annotations, &images).unwrap();
                assert!(loaded.skipped.is_empty(), "{format:?} {split}: {}", loaded.skipped);
                let expected = if split == "train" { 6 } else { 1 };
                assert_eq!(loaded.samples.len(), expected, "{format:?} {split}");
                for sample in &loaded.samples {
                    assert_eq!(sample.task, *task);
                    assert!(!sample.rows.is_empty(), "{format:?} {split} {}", sample.image_id);
                }
            }
        }
    }
}

#[test]
fn every_place_of_the_samples_is_inside_its_image() {
    let is_inside = |bounds: BoundingBox| bounds.clip(1.0, 1.0) == bounds;
    for format in FORMATS {
        for split in SPLITS {
            let (annotations, images) = place(format, split);
            let loaded = formats::load(format, format.tasks()[0], &annotations, &images).unwrap();
            for row in loaded.samples.iter().flat_map(|sample| &sample.rows) {
                match row.region {
                    Some(region) => assert!(region.is_valid() && is_inside(region), "{row:?}"),
                    None => {
                        assert!(format == Format::LocalizedNarratives && !row.locations.is_empty());
                        for location in &row.locations {
                            assert!(is_inside(location.bounds), "{row:?}");
                            assert!(location.span.is_some(), "not in the caption: {row:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn masks_of_the_samples_fill_their_boxes_from_edge_to_edge() {
    let (mut count, mut split_counts) = (0, Vec::new());
    for split in SPLITS {
        let (annotations, images) = place(Format::CocoInstances, split);
        let instances = read_instances(&annotations, &images).unwrap();
        assert!(instances.skipped.is_empty(), "{split}: {}", instances.skipped);
        for image in &instances.images {
            for instance in &image.instances {
                let mask = &instance.mask;
                assert_eq!((mask.width(), mask.height()), (image.width, image.height));
                let width = image.width as usize;
                let set = mask.pixels().into_iter().enumerate().filter(|(_, inside)| *inside);
                let set: Vec<_> = set.map(|(index, _)| (index % width, index / width)).collect();
                assert_eq!(set.len() as u64, mask.area());
                let edges = |values: fn(&(usize, usize)) -> usize| {
                    let values = || set.iter().map(values);
                    (values().min().unwrap() as f32, values().max().unwrap() as f32 + 1.0)
                };
                let ((x0, x1), (y0, y1)) = (edges(|p| p.0), edges(|p| p.1));
                let bounds = instance.bounds.scale(image.width as f32, image.height as f32);
                for (found, expected) in bounds.to_array().into_iter().zip([x0, y0, x1, y1]) {
                    assert!((found - expected).abs() < 1e-3, "{bounds:?} {:?}", [x0, y0, x1, y1]);
                }
                count += 1;
            }
        }
        split_counts.push(instances.images.len());
    }
    assert_eq!(split_counts, [6, 1, 1, 1]);
    assert!(count > 9, "{count} objects");
}

#[test]
fn images_of_the_samples_decode_to_the_size_that_the_annotations_say() {
    for split in SPLITS {
        let (annotations, images) = place(Format::CocoInstances, split);
        for image in read_instances(&annotations, &images).unwrap().images {
            // At its own size nothing is resized.
            let side = image.width.max(image.height) as usize;
            let canvas = load_canvas(&image.image, side).unwrap();
            assert_eq!((canvas.width, canvas.height), (image.width, image.height));
            assert!(canvas.pixels.iter().any(|value| *value != canvas.pixels[0]), "it is blank");
        }
    }
}

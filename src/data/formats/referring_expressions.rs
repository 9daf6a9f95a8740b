//! RefCOCO, RefCOCO+ and RefCOCOg as MDETR writes them (`spec/data.md` §4.2): each entry of `images` is
//! one expression about an image, and the annotation that names it has the box.

use super::coco::Images;
use super::skipped::{Fault, Reason};
use super::{Loaded, Request, coco, coco_instances};
use crate::data::sample::Task;
use crate::error::Result;

/// Reads expressions with their boxes; expressions about the same image share a sample.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    coco::load(task, request, Images::Expressions, |expression, _, _| caption(expression))
}

/// Reads expressions with their boxes and the masks of what they name, crowds included. An expression
/// without a mask that can be used is skipped.
pub(super) fn read_with_masks(request: &Request<'_>) -> Result<Loaded> {
    let caption = |expression: &_, _: &_, _: &_| caption(expression);
    let mask = |expression: &coco::ImageRecord, object: &_| {
        coco_instances::mask(object, expression.width, expression.height).map(Some)
    };
    coco::load_with_masks(Task::Locate, request, Images::Expressions, caption, mask)
}

fn caption(expression: &coco::ImageRecord) -> Result<String, Fault> {
    expression.caption.clone().ok_or_else(|| {
        Fault::new(Reason::BrokenRecord, format!("image {} has no caption", expression.id))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{Folder, assert_skipped};
    use super::super::{Format, read_expressions_with_masks};
    use super::*;
    use crate::geometry::BoundingBox;

    const IMAGES: [&str; 2] = ["a.jpg", "b.jpg"];

    fn expression(id: u32, file_name: &str, caption: &str) -> Value {
        json!({
            "id": id, "file_name": file_name, "width": 200, "height": 100, "caption": caption,
            "original_id": if file_name == "a.jpg" { 41 } else { 42 }, "dataset_name": "refcoco",
        })
    }

    fn object(image_id: u32, bbox: [f64; 4]) -> Value {
        json!({
            "id": 1000 + image_id, "image_id": image_id, "bbox": bbox, "area": 1.0, "iscrowd": 0,
            "category_id": 1, "tokens_positive": [[0, 3]], "segmentation": [[0, 0, 9, 0, 9, 9]],
        })
    }

    /// Three expressions, the first and the last about the same image.
    fn three() -> Value {
        json!({
            "info": {},
            "images": [
                expression(1, "a.jpg", "the red one"),
                expression(2, "b.jpg", "the blue one"),
                expression(3, "a.jpg", "left of the red one"),
            ],
            "annotations": [
                object(3, [0.0, 0.0, 50.0, 25.0]),
                object(1, [100.0, 50.0, 100.0, 50.0]),
                object(2, [20.0, 10.0, 40.0, 20.0]),
            ],
        })
    }

    fn load(task: Task, document: &str) -> Result<Loaded> {
        Folder::new(&IMAGES).load(Format::RefexpMdetr, task, document)
    }

    #[test]
    fn expressions_about_an_image_share_a_sample_in_the_order_of_the_file() {
        for task in [Task::Locate, Task::Describe] {
            let Loaded { samples, skipped, .. } = load(task, &three().to_string()).unwrap();
            assert!(skipped.is_empty(), "{skipped}");
            let found: Vec<_> = samples
                .iter()
                .map(|s| {
                    (s.task, s.image_id.as_str(), s.image.path.ends_with("a.jpg"), s.rows.len())
                })
                .collect();
            assert_eq!(found, [(task, "41", true, 2), (task, "42", false, 1)]);
            let rows: Vec<_> =
                samples[0].rows.iter().map(|row| (row.text.as_str(), row.region)).collect();
            let first = BoundingBox::new(0.5, 0.5, 1.0, 1.0);
            let second = BoundingBox::new(0.0, 0.0, 0.25, 0.25);
            let expected = [("the red one", Some(first)), ("left of the red one", Some(second))];
            assert_eq!(rows, expected);
        }
    }

    #[test]
    fn the_image_may_be_named_by_either_of_its_keys() {
        let mut document = three();
        for image in document["images"].as_array_mut().unwrap() {
            let id = image.as_object_mut().unwrap().remove("original_id").unwrap();
            image["original_img_id"] = id;
        }
        let loaded = load(Task::Locate, &document.to_string()).unwrap();
        assert_eq!(loaded.samples[0].image_id, "41");
    }

    #[test]
    fn each_damaged_record_is_skipped_for_its_reason_and_nothing_else_is() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 18] = [
            (Reason::BrokenRecord, |d| d["images"][1]["caption"] = json!(7)),
            (Reason::BrokenRecord, |d| {
                d["images"][1].as_object_mut().unwrap().remove("caption");
            }),
            (Reason::BrokenRecord, |d| d["images"][1] = json!({"id": 2})),
            (Reason::BrokenRecord, |d| d["images"][1]["width"] = json!(-200)),
            (Reason::NoPixels, |d| d["images"][1]["height"] = json!(0)),
            (Reason::NoWords, |d| d["images"][1]["caption"] = json!("?!")),
            (Reason::UnsafePath, |d| d["images"][1]["file_name"] = json!("../../etc/passwd")),
            (Reason::UnsafePath, |d| d["images"][1]["file_name"] = json!("/etc/passwd")),
            (Reason::MissingImage, |d| d["images"][1]["file_name"] = json!("c.jpg")),
            (Reason::NoBox, |d| {
                d["annotations"].as_array_mut().unwrap().pop();
            }),
            (Reason::BrokenBox, |d| d["annotations"][2]["bbox"] = json!([1, 2, 3])),
            (Reason::BrokenBox, |d| d["annotations"][2]["bbox"] = json!([1, 2, null, 4])),
            (Reason::BrokenBox, |d| d["annotations"][2]["bbox"] = json!([1e308, 2, 1e308, 4])),
            (Reason::BrokenRecord, |d| d["annotations"][2]["bbox"] = json!("1 2 3 4")),
            (Reason::EmptyBox, |d| d["annotations"][2]["bbox"] = json!([20, 10, 0, 20])),
            (Reason::EmptyBox, |d| d["annotations"][2]["bbox"] = json!([20, 10, 40, -20])),
            (Reason::BoxOutside, |d| d["annotations"][2]["bbox"] = json!([200, 10, 40, 20])),
            (Reason::BoxOutside, |d| d["annotations"][2]["bbox"] = json!([-50, 10, 40, 20])),
        ];
        for (index, (reason, damage)) in damages.into_iter().enumerate() {
            let mut document = three();
            damage(&mut document);
            let loaded = load(Task::Locate, &document.to_string()).unwrap();
            let left: Vec<_> = loaded.samples.iter().map(|s| s.rows.len()).collect();
            assert_eq!(left, [2], "damage {index}");
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
        }
    }

    #[test]
    fn repeated_ids_and_strangers_are_skipped() {
        let mut document = three();
        let images = document["images"].as_array_mut().unwrap();
        images.push(expression(2, "a.jpg", "another with the id of the blue one"));
        let annotations = document["annotations"].as_array_mut().unwrap();
        annotations.push(object(2, [20.0, 10.0, 40.0, 20.0]));
        annotations.push(object(9, [20.0, 10.0, 40.0, 20.0]));
        let loaded = load(Task::Locate, &document.to_string()).unwrap();
        assert_skipped(&loaded.skipped, &[(Reason::Duplicate, 2), (Reason::UnknownImage, 1)]);
        assert_eq!(loaded.samples.iter().map(|s| s.rows.len()).sum::<usize>(), 3);
        let message = loaded.skipped.to_string();
        assert!(message.starts_with(
            "3 records skipped:\n  2 × duplicate (first: annotations.json: image 2: "
        ));
        assert!(message.contains("1 × annotation of an unlisted image (first: annotations.json: annotation 1009: image_id 9)"));
    }

    #[test]
    fn boxes_that_reach_out_are_clipped_and_counted_beyond_a_pixel() {
        let mut document = three();
        document["annotations"][2]["bbox"] = json!([150, 50, 51, 50]);
        let loaded = load(Task::Locate, &document.to_string()).unwrap();
        assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
        document["annotations"][2]["bbox"] = json!([150, 50, 60, 60]);
        let loaded = load(Task::Locate, &document.to_string()).unwrap();
        assert_eq!((loaded.skipped.count(), loaded.skipped.clipped()), (0, 1));
        let expected =
            "1 box clipped to the image (first: annotations.json: annotation 1002: by 10.0 pixels)";
        assert_eq!(loaded.skipped.to_string(), expected);
        let region = loaded.samples[1].rows[0].region;
        assert_eq!(region, Some(BoundingBox::new(0.75, 0.5, 1.0, 1.0)));
    }

    #[test]
    fn nan_as_python_writes_it_spoils_its_record_only() {
        let text = three().to_string().replace("[20.0,10.0,40.0,20.0]", "[NaN,10.0,Infinity,20.0]");
        assert!(text.contains("NaN"));
        let loaded = load(Task::Locate, &text).unwrap();
        assert_skipped(&loaded.skipped, &[(Reason::BrokenBox, 1)]);
    }

    #[test]
    fn a_file_cut_short_is_an_error_with_its_line() {
        let text = serde_json::to_string_pretty(&three()).unwrap();
        let error = load(Task::Locate, &text[..text.len() / 2]).unwrap_err();
        let crate::Error::Format { line, problem, .. } = &error else { unreachable!("{error:?}") };
        assert_eq!(*line, Some(text[..text.len() / 2].lines().count()));
        assert!(problem.contains("not a JSON document"), "{problem}");
    }

    /// Reads the three with one segmentation replaced.
    fn load_masks(mask: Value) -> Loaded {
        let mut document = three();
        document["annotations"][2]["segmentation"] = mask;
        let folder = Folder::new(&IMAGES);
        std::fs::write(folder.annotations(), document.to_string()).unwrap();
        let (annotations, images) = (folder.annotations(), folder.images());
        let request = Request::new(&annotations, &images);
        read_expressions_with_masks(Format::RefexpMdetr, &request).unwrap()
    }

    #[test]
    fn masks_are_read_from_polygons_and_runs_where_they_are_asked_for() {
        let loaded = load(Task::Locate, &three().to_string()).unwrap();
        assert!(loaded.samples.iter().flat_map(|s| &s.rows).all(|row| row.mask.is_none()));
        // A column of 100 pixels outside, two inside; a crowd's are not compressed.
        let spellings = [
            json!({"size": [100, 200], "counts": [100, 2, 19_898]}),
            json!([[1, 0, 2, 0, 2, 2, 1, 2]]),
        ];
        for spelling in spellings {
            let loaded = load_masks(spelling.clone());
            assert!(loaded.skipped.is_empty(), "{spelling}: {}", loaded.skipped);
            let mask = loaded.samples[1].rows[0].mask.clone().unwrap();
            assert_eq!((mask.width(), mask.height(), mask.area()), (200, 100, 2));
            assert_eq!(mask.bounds(), Some(BoundingBox::new(1.0, 0.0, 2.0, 2.0)));
            assert!(loaded.samples[0].rows.iter().all(|row| row.mask.is_some()));
        }
    }

    #[test]
    fn a_mask_that_is_missing_empty_or_of_another_size_is_skipped_by_the_name_of_its_record() {
        let masks = [
            (Value::Null, "no segmentation"),
            (json!([]), "the mask has no pixels"),
            (json!({"size": [100, 200], "counts": [20_000]}), "the mask has no pixels"),
            (
                json!({"size": [200, 100], "counts": [100, 2, 19_898]}),
                "the mask is of 100 × 200 pixels, the image of 200 × 100",
            ),
        ];
        for (mask, problem) in masks {
            let loaded = load_masks(mask);
            assert_skipped(&loaded.skipped, &[(Reason::BrokenMask, 1)]);
            assert_eq!(loaded.samples.iter().map(|s| s.rows.len()).collect::<Vec<_>>(), [2]);
            let example = &loaded.skipped.examples(Reason::BrokenMask)[0];
            assert!(example.place.ends_with("annotations.json: annotation 1002"), "{example:?}");
            assert_eq!(example.message, problem);
        }
    }

    #[test]
    fn nothing_usable_is_an_error_with_the_reasons() {
        let folder = Folder::new(&[]);
        let error = folder.load(Format::RefexpMdetr, Task::Locate, &three().to_string());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("no expression can be used"), "{message}");
        assert!(
            message.contains("3 × missing image (first: annotations.json: image 1: no a.jpg in")
        );
        let none = json!({"images": [], "annotations": []}).to_string();
        let message = load(Task::Locate, &none).unwrap_err().to_string();
        assert!(message.contains("there is no expression in the file"), "{message}");
    }
}

//! Visual Genome regions as GRiT writes them (`spec/data.md` §5): COCO JSON in which each annotation has
//! a `caption`.

use super::coco::Images;
use super::skipped::{Fault, Reason};
use super::{Loaded, Request, coco, visual_genome_regions};
use crate::data::sample::Task;
use crate::error::Result;

/// Reads regions with what is said about them.
pub(super) fn read(task: Task, request: &Request<'_>) -> Result<Loaded> {
    let loaded = coco::load(task, request, Images::Images, |_, region, _| {
        let missing = || Fault::new(Reason::BrokenRecord, "missing field `caption`");
        region.caption.clone().ok_or_else(missing)
    })?;
    // GRiT's files do not say which images are COCO's, too; that of Visual Genome does, if it is there.
    let coco_ids = visual_genome_regions::coco_ids_beside(request.annotations);
    Ok(Loaded { coco_ids, ..loaded })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Format;
    use super::super::testing::{Folder, assert_skipped};
    use super::*;
    use crate::geometry::BoundingBox;

    /// Two images with two regions each, and one without.
    fn regions() -> Value {
        let image = |id: u32| json!({"id": id, "file_name": format!("{id}.jpg"), "width": 100, "height": 50});
        let region = |id: u32, image_id: u32, caption: &str| json!({"id": id, "image_id": image_id, "bbox": [id, 5, 10, 20], "caption": caption});
        json!({
            "images": [image(1), image(2), image(3)],
            "annotations": [
                region(10, 2, "a dog"), region(11, 1, "a cat"),
                region(12, 2, "a tree"), region(13, 1, "a hat on the cat"),
            ],
        })
    }

    fn load(task: Task, document: &Value) -> Result<Loaded> {
        Folder::new(&["1.jpg", "2.jpg"]).load(Format::VisualGenomeCoco, task, &document.to_string())
    }

    fn texts(loaded: &Loaded) -> Vec<Vec<&str>> {
        loaded
            .samples
            .iter()
            .map(|s| s.rows.iter().map(|row| row.text.as_str()).collect())
            .collect()
    }

    #[test]
    fn regions_are_grouped_by_image_and_keep_their_order() {
        for task in [Task::Describe, Task::Locate] {
            let loaded = load(task, &regions()).unwrap();
            // The image without regions is not there, and not missed.
            assert!(loaded.skipped.is_empty(), "{}", loaded.skipped);
            let expected = [vec!["a cat", "a hat on the cat"], vec!["a dog", "a tree"]];
            assert_eq!(texts(&loaded), expected);
            let (sample, row) = (&loaded.samples[1], &loaded.samples[1].rows[0]);
            assert_eq!((sample.task, sample.image_id.as_str()), (task, "2"));
            assert_eq!(row.region, Some(BoundingBox::new(0.1, 0.1, 0.2, 0.5)));
        }
    }

    #[test]
    fn each_damaged_region_is_skipped_for_its_reason_and_nothing_else_is() {
        type Damage = fn(&mut Value);
        let damages: [(Reason, Damage); 6] = [
            (Reason::NoWords, |d| d["annotations"][2]["caption"] = json!("")),
            (Reason::BrokenRecord, |d| d["annotations"][2]["caption"] = json!(["a tree"])),
            (Reason::BrokenRecord, |d| {
                d["annotations"][2].as_object_mut().unwrap().remove("caption");
            }),
            (Reason::EmptyBox, |d| d["annotations"][2]["bbox"] = json!([0, 0, 0, 0])),
            (Reason::Duplicate, |d| d["annotations"][2]["id"] = json!(10)),
            (Reason::UnknownImage, |d| d["annotations"][2]["image_id"] = json!(4)),
        ];
        for (reason, damage) in damages {
            let mut document = regions();
            damage(&mut document);
            let loaded = load(Task::Describe, &document).unwrap();
            assert_skipped(&loaded.skipped, &[(reason, 1)]);
            assert_eq!(texts(&loaded), [vec!["a cat", "a hat on the cat"], vec!["a dog"]]);
        }
    }

    #[test]
    fn an_image_that_is_missing_is_one_fault_however_many_regions_it_has() {
        let mut document = regions();
        document["images"][1]["file_name"] = json!("gone.jpg");
        let loaded = load(Task::Describe, &document).unwrap();
        assert_skipped(&loaded.skipped, &[(Reason::MissingImage, 1)]);
        let message = &loaded.skipped.examples(Reason::MissingImage)[0].message;
        assert!(message.ends_with("; its 2 annotations go with it"), "{message}");
    }
}

//! The committed samples of the public formats: what is sound in them is read, and `pixelllm data check`
//! finds each planted fault and nothing else.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use pixelllm::data::formats::{Format, Request, read};
use pixelllm::data::sample::Task;
use pixelllm::data::transform::load_canvas;
use serde_json::Value;

use common::Workshop;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples")
}

/// Format, annotations, images, split, rows by task, in the order of the format's tasks.
type Sound = (Format, &'static str, &'static str, Option<&'static str>, &'static [usize]);

const SOUND: [Sound; 22] = {
    use Format::*;
    [
        (
            LocalizedNarratives,
            "coco_train_localized_narratives.jsonl",
            "coco/train2017",
            None,
            &[4],
        ),
        (
            LocalizedNarratives,
            "flickr30k_train_localized_narratives.jsonl",
            "flickr30k",
            None,
            &[1],
        ),
        (
            LocalizedNarratives,
            "ADE20k_train_localized_narratives.jsonl",
            "ade20k/training",
            None,
            &[1],
        ),
        (
            LocalizedNarratives,
            "open_images_train_localized_narratives.jsonl",
            "open_images",
            None,
            &[1],
        ),
        (CocoCaptions, "captions_train2017.json", "train2017", None, &[3]),
        (CocoInstances, "instances_train2017.json", "train2017", None, &[4]),
        (RefexpRefer, "refs(unc).p", "train2014", None, &[6, 6]),
        (RefexpRefer, "refs(unc).p", "train2014", Some("train"), &[4, 4]),
        (RefexpRefer, "refs(unc).p", "train2014", Some("testA"), &[1, 1]),
        (RefexpMdetr, "finetune_refcoco_train.json", "train2014", None, &[3, 3]),
        (RefexpUninext, "instances.json", "images", Some("train"), &[3, 3]),
        (RefexpUninext, "instances.json", "images", Some("val"), &[1, 1]),
        (VisualGenome, "region_descriptions.json", "", None, &[3, 3]),
        (VisualGenomeCoco, "train.json", "images", None, &[2, 2]),
        (Flickr30kEntities, "", "flickr30k-images", None, &[6, 6, 8]),
        (Flickr30kEntities, "", "flickr30k-images", Some("train"), &[3, 3, 4]),
        (Flickr30kEntities, "", "flickr30k-images", Some("val"), &[3, 3, 4]),
        (Llava, "llava_instruct.json", "images", None, &[3]),
        (Tfrecord, "narratives.tfrecord", "", None, &[2]),
        (Tfrecord, "conversations.tfrecord", "", None, &[4]),
        (Tfrecord, "expressions.tfrecord", "", None, &[0, 6, 6]),
        (Tfrecord, "regions.tfrecord", "", None, &[0, 2, 2]),
    ]
};

#[test]
fn every_sound_sample_is_read_whole_for_each_of_its_tasks() {
    for (format, annotations, images, split, rows) in SOUND {
        let root = samples().join(format.name());
        let (annotations, images) = (root.join(annotations), root.join(images));
        let request = Request { split, ..Request::new(&annotations, &images) };
        for (&task, &expected) in format.tasks().iter().zip(rows).filter(|(_, rows)| **rows > 0) {
            let loaded = read(format, task, &request).unwrap();
            let faults: Vec<_> =
                loaded.skipped.all_examples().filter(|(reason, _)| reason.is_fault()).collect();
            assert!(faults.is_empty(), "{annotations:?} {task:?}: {faults:?}");
            let found: usize = loaded.samples.iter().map(|sample| sample.rows.len()).sum();
            assert_eq!(found, expected, "{annotations:?} {split:?} {task:?}");
            for sample in &loaded.samples {
                assert_eq!(sample.task, task);
                let canvas = load_canvas(&sample.image, 64).unwrap();
                assert_eq!((canvas.width, canvas.height), (64, 48), "{}", sample.image);
            }
        }
    }
}

#[test]
fn utterances_of_the_narratives_are_in_their_captions_and_inside_the_image() {
    let narratives = SOUND.iter().filter(|sound| sound.0 == Format::LocalizedNarratives);
    for &(format, annotations, images, split, _) in narratives {
        let root = samples().join(format.name());
        let (annotations, images) = (root.join(annotations), root.join(images));
        let request = Request { split, trace_points: 5, ..Request::new(&annotations, &images) };
        let loaded = read(format, Task::Narrate, &request).unwrap();
        for row in loaded.samples.iter().flat_map(|sample| &sample.rows) {
            assert!(row.locations.len() >= 3);
            let mut before = 0.0;
            for location in &row.locations {
                assert!(
                    location.span.is_some() && location.bounds.clip(1.0, 1.0) == location.bounds
                );
                assert_eq!(location.points.len(), 5);
                let [begin, end] = location.seconds.unwrap();
                assert!(before <= begin && begin < end, "{row:?}");
                before = begin;
            }
        }
    }
}

/// A fault as it is planted: its kind, and its line or id.
type Planted = (&'static str, &'static str);

/// Format, annotations, images, records, faults.
type Faulty = (Format, &'static str, &'static str, usize, &'static [Planted]);

/// The faults are in the order of tests/python/make_samples.py.
const FAULTY: [Faulty; 11] = {
    use Format::*;
    [
        (
            LocalizedNarratives,
            "faulty.jsonl",
            "coco/train2017",
            13,
            &[
                ("broken_json", "2"),
                ("broken_record", "3"),
                ("missing_image", "4"),
                ("unsafe_path", "5"),
                ("empty_trace", "6"),
                ("backward_times", "7"),
                ("backward_times", "8"),
                ("no_utterance", "9"),
                ("missing_utterance", "10"),
                ("no_words", "11"),
                ("missing_utterance", "12"),
                ("duplicate", "13"),
            ],
        ),
        (
            CocoCaptions,
            "faulty.json",
            "train2017",
            8,
            &[
                ("no_words", "41"),
                ("unknown_image", "42"),
                ("duplicate", "37"),
                ("broken_record", "43"),
                ("missing_image", "3"),
            ],
        ),
        (
            CocoInstances,
            "faulty.json",
            "train2017",
            12,
            &[
                ("box_out_of_bounds", "201"),
                ("box_out_of_bounds", "202"),
                ("empty_box", "203"),
                ("broken_box", "204"),
                ("unknown_category", "205"),
                ("unknown_image", "206"),
                ("duplicate", "101"),
                ("unsafe_path", "3"),
                ("absurd_size", "4"),
                ("broken_box", "209"),
                ("broken_mask", "210"),
            ],
        ),
        (
            RefexpRefer,
            "faulty.p",
            "train2014",
            8,
            &[
                ("no_words", "0"),
                ("no_box", "1"),
                ("missing_image", "2"),
                ("unknown_image", "3"),
                ("duplicate", "0"),
                ("box_out_of_bounds", "5"),
                ("no_words", "6"),
                ("broken_record", "7"),
            ],
        ),
        (
            RefexpMdetr,
            "faulty.json",
            "train2014",
            6,
            &[("missing_image", "3"), ("no_words", "4"), ("no_box", "5")],
        ),
        (
            RefexpUninext,
            "faulty.json",
            "images",
            9,
            &[
                ("box_out_of_bounds", ""),
                ("no_words", ""),
                ("missing_image", ""),
                ("duplicate", ""),
                ("broken_record", ""),
            ],
        ),
        (
            VisualGenome,
            "faulty.json",
            "",
            8,
            &[
                ("no_words", "2"),
                ("box_out_of_bounds", "3"),
                ("empty_box", "4"),
                ("duplicate", "1"),
                ("broken_record", "5"),
                ("missing_image", "4"),
                ("unknown_image", "5"),
            ],
        ),
        (
            VisualGenomeCoco,
            "faulty.json",
            "images",
            4,
            &[("no_words", "3"), ("box_out_of_bounds", "4")],
        ),
        (
            Flickr30kEntities,
            "faulty",
            "faulty/images",
            4,
            &[
                ("broken_record", "1"),
                ("no_words", "4"),
                ("box_out_of_bounds", "1"),
                ("empty_box", "2"),
                ("duplicate", "3"),
                ("broken_file", "3"),
                ("missing_image", "4"),
            ],
        ),
        (
            Llava,
            "faulty.json",
            "images",
            9,
            &[
                ("broken_record", "1"),
                ("no_words", "2"),
                ("missing_image", "3"),
                ("unsafe_path", "4"),
                ("duplicate", "000000000001"),
                ("broken_record", "5"),
            ],
        ),
        (
            Tfrecord,
            "faulty.tfrecord",
            "",
            6,
            &[
                ("wrong_checksum", ""),
                ("empty_box", "2"),
                ("broken_record", ""),
                ("broken_record", "000000000001"),
                ("duplicate", "1"),
                ("broken_file", ""),
            ],
        ),
    ]
};

fn check(about: &[String], more: &[&str]) -> (Option<i32>, Value) {
    let command = [&["check", "--json"], more].concat();
    let answer = run(&Workshop::new(), &command, about);
    let json = serde_json::from_str(&answer.stdout);
    (answer.code, json.unwrap_or_else(|_| unreachable!("{}\n{}", answer.stdout, answer.stderr)))
}

/// Arguments that name one of [`SOUND`] or [`FAULTY`].
fn arguments_of(format: Format, annotations: &str, images: &str) -> Vec<String> {
    let root = samples().join(format.name());
    let path = |name: &str| root.join(name).to_string_lossy().into_owned();
    let flags = ["--format", "--annotations", "--images"].map(String::from);
    let values = [format.name().to_string(), path(annotations), path(images)];
    flags.into_iter().zip(values).flat_map(|(flag, value)| [flag, value]).collect()
}

#[test]
fn check_finds_each_planted_fault_and_nothing_else() {
    for (format, annotations, images, records, planted) in FAULTY {
        let (code, found) = check(&arguments_of(format, annotations, images), &[]);
        assert_eq!((code, &found["records"]), (Some(1), &records.into()), "{format:?}");
        let mut faults: Vec<_> = found["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| {
                let keys: Vec<_> = fault.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(keys, ["kind", "file", "line", "id", "message"]);
                assert!(Path::new(fault["file"].as_str().unwrap()).exists(), "{fault}");
                assert!(fault["message"].as_str().is_some_and(|text| text.len() > 8), "{fault}");
                let line = fault["line"].as_u64().map(|line| line.to_string());
                let place = line.or_else(|| fault["id"].as_str().map(String::from));
                (fault["kind"].as_str().unwrap().to_string(), place.unwrap_or_default())
            })
            .collect();
        let mut expected: Vec<_> =
            planted.iter().map(|(kind, place)| (kind.to_string(), place.to_string())).collect();
        faults.sort();
        expected.sort();
        assert_eq!(faults, expected, "{format:?}");
    }
}

#[test]
fn check_finds_nothing_in_sound_samples_even_where_it_decodes_their_images() {
    for (format, annotations, images, split, _) in SOUND {
        let mut more = vec!["--decode"];
        more.extend(split.iter().flat_map(|split| ["--split", split]));
        let (code, found) = check(&arguments_of(format, annotations, images), &more);
        assert_eq!((code, &found["faults"]), (Some(0), &serde_json::json!([])), "{annotations}");
        assert!(found["records"].as_u64().unwrap() > 0);
    }
}

#[test]
fn an_unusable_file_is_a_fault_and_a_missing_one_an_error() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("images")).unwrap();
    std::fs::write(workshop.path("cut.json"), "{\"images\": [\n{\"id\": 1,").unwrap();
    let check = |file: &str| {
        let arguments =
            ["data", "check", "--format", "coco_captions", "--images", "images", "--json"];
        workshop.pixelllm(&[&arguments[..], &["--annotations", file]].concat())
    };
    let answer = check("cut.json");
    let found: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((answer.code, &found["records"]), (Some(1), &0.into()));
    let fault = &found["faults"][0];
    assert_eq!((&fault["kind"], &fault["line"]), (&"broken_file".into(), &2.into()), "{fault}");
    check("nowhere.json").failure(1, &["nowhere.json", "Check the path"]);
    let images = ["data", "check", "--format", "coco_captions", "--annotations", "cut.json"];
    workshop.pixelllm(&images).failure(2, &["there is no folder of images"]);
    workshop.pixelllm(&["data", "check"]).failure(2, &["EXPERIMENT.toml"]);
}

/// An experiment that learns from COCO's narratives and is measured on expressions about its images.
fn experiment(workshop: &Workshop, images: &str) {
    let text = format!(
        "extends = '{2}/experiments/presets/tiny.toml'\n[data.splits]\ntrain = \"train\"\nvalidation = \"train\"\nevaluation = [\"testA\"]\n\
         [[data.sources]]\ntask = \"locate\"\nmax_text_tokens = 64\nformat = \"refexp_refer\"\n\
         annotations = '{0}/refexp_refer/refs(unc).p'\nimages = '{0}/refexp_refer/train2014'\n\
         [[data.sources]]\ntask = \"narrate\"\nmax_text_tokens = 64\nformat = \"localized_narratives\"\n\
         annotations = '{0}/localized_narratives/{{split}}.jsonl'\nimages = '{0}/{1}'\n\
         splits = {{ train = \"coco_train_localized_narratives\", \
                     testA = \"flickr30k_train_localized_narratives\" }}\n",
        samples().display(),
        images,
        env!("CARGO_MANIFEST_DIR"),
    );
    std::fs::write(workshop.path("mine.toml"), text).unwrap();
}

#[test]
fn images_that_are_trained_on_and_evaluated_on_are_found_across_formats() {
    let workshop = Workshop::new();
    experiment(&workshop, "localized_narratives");
    let narrower = ["--set", "data.splits.validation=\"testA\""];
    let arguments = [&["data", "check", "mine.toml", "--json"], &narrower[..]].concat();
    let answer = workshop.pixelllm(&arguments);
    let found: Value = serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|_| unreachable!("{}{}", answer.stdout, answer.stderr));
    // RefCOCO's testA has image 3, of which the training split has a narrative.
    let faults = found["faults"].as_array().unwrap();
    let shown: Vec<_> = faults.iter().map(|f| (&f["kind"], &f["id"])).collect();
    assert_eq!(shown, [(&"shared_image".into(), &"3".into())], "{found}");
    let message = faults[0]["message"].as_str().unwrap();
    assert!(message.contains("COCO's image 3") && message.contains("narratives"), "{message}");
    assert_eq!(answer.code, Some(1));
    let answer = workshop.pixelllm(&[&["data", "check", "mine.toml"], &narrower[..]].concat());
    assert!(answer.stdout.starts_with("shared_image: 1\n"), "{}", answer.stdout);
    assert!(answer.stdout.ends_with("records, 1 fault\n"), "{}", answer.stdout);
}

#[test]
fn a_split_that_is_validated_on_what_it_learns_from_is_found() {
    let workshop = Workshop::new();
    experiment(&workshop, "localized_narratives");
    let answer = workshop.pixelllm(&["data", "check", "mine.toml", "--json"]);
    let found: Value = serde_json::from_str(&answer.stdout).unwrap();
    let shared = found["faults"].as_array().unwrap();
    assert!(shared.iter().all(|fault| fault["kind"] == "shared_image"));
    // Image 1 of both training sources, 2 and 3 of the narratives, and 3 of testA.
    assert_eq!(shared.len(), 1 + 3 + 1, "{found}");
}

fn run(workshop: &Workshop, command: &[&str], about: &[String]) -> common::Answer {
    let about: Vec<_> = about.iter().map(String::as_str).collect();
    workshop.pixelllm(&[&["data"], command, &about].concat())
}

#[test]
fn stats_count_by_hand_and_write_a_page() {
    let workshop = Workshop::new();
    let file = "coco_train_localized_narratives.jsonl";
    let about = arguments_of(Format::LocalizedNarratives, file, "coco/train2017");
    let answer = run(&workshop, &["stats", "--html", "stats.html"], &about).success();
    assert!(answer.stdout.contains("narrate: 4 texts about 3 images"), "{}", answer.stdout);
    let cells = |quantity: &str| -> Vec<String> {
        let line = answer.stdout.lines().find(|line| line.contains(quantity)).unwrap();
        line.split('┆').skip(1).map(|cell| cell.trim_matches(['│', ' ']).to_string()).collect()
    };
    // Three narratives of 13 words, and one without the last two.
    assert_eq!(cells("words per trace"), ["4", "12.50", "11", "13", "13", "13"]);
    assert_eq!(cells("utterances per trace"), ["4", "3.75", "3", "4", "4", "4"]);
    assert_eq!(cells("seconds per utterance"), ["15", "1", "1", "1", "1", "1"]);
    let page = workshop.read("stats.html");
    assert!(page.contains("<svg") && page.contains("words per trace") && !page.contains("http://"));
    let about = arguments_of(Format::VisualGenome, "region_descriptions.json", "");
    let answer = run(&workshop, &["stats"], &about).success();
    assert!(answer.stdout.contains("boxes per image"), "{}", answer.stdout);
}

#[test]
fn show_draws_every_task_as_the_model_sees_it() {
    let workshop = Workshop::new();
    let about = arguments_of(Format::Flickr30kEntities, "", "flickr30k-images");
    for (task, pictures) in [("narrate", 3), ("locate", 3), ("describe", 4)] {
        let command =
            ["show", "--task", task, "--samples", "1", "--canvas-px", "64", "--out", task];
        let answer = run(&workshop, &command, &about).success();
        let files = workshop.files(task);
        assert_eq!(files.len(), pictures, "{task}: {}", answer.stdout);
        for (name, bytes) in files {
            let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
            assert!(picture.width() >= 64 && picture.height() > 64, "{name}: no room for words");
        }
        let places = answer.stdout.lines().filter(|line| line.ends_with(')')).count();
        match task {
            "describe" => assert_eq!(places, 0, "{}", answer.stdout),
            // "a large cross" is at 8 to 28, 6 to 18 of 64 pixels.
            _ => assert!(answer.stdout.contains("(8, 6) (28, 18)"), "{}", answer.stdout),
        }
    }
}

#[test]
fn show_draws_images_that_lie_in_records() {
    let workshop = Workshop::new();
    let about = arguments_of(Format::Tfrecord, "regions.tfrecord", "");
    let command = ["show", "--samples", "1", "--canvas-px", "64", "--out", "shown"];
    let answer = run(&workshop, &command, &about).success();
    assert!(answer.stdout.contains("regions.tfrecord (byte "), "{}", answer.stdout);
    assert_eq!(workshop.files("shown").len(), 1);
}

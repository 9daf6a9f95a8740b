//! Damaged data and impossible wishes, through `pixelllm train`: records are skipped, counted and
//! reported; everything else is an error that says what, where and what to do. (That nothing panics
//! is checked with every command.)
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::sync::LazyLock;

use serde_json::{Value, json};

use common::{EXPERIMENT, UNMEASURED, Workshop, set};

/// A world that is sound.
static SOUND: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("none", &["--dry-run"]).success();
    workshop
});

/// The annotation files that are learnt from.
const ANNOTATIONS: [&str; 3] = [
    "world/annotations/narratives_train.jsonl",
    "world/annotations/regions_train.json",
    "world/annotations/expressions_train.json",
];

/// A copy of the world with some damage.
fn damaged(damage: impl FnOnce(&Workshop)) -> Workshop {
    let workshop = Workshop::with_world_of(&SOUND);
    damage(&workshop);
    workshop
}

fn edit_lines(workshop: &Workshop, edit: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<_> = workshop.read(ANNOTATIONS[0]).lines().map(String::from).collect();
    edit(&mut lines);
    fs::write(workshop.path(ANNOTATIONS[0]), lines.join("\n")).unwrap();
}

fn edit_json(workshop: &Workshop, file: &str, edit: impl FnOnce(&mut Value)) {
    let mut document = serde_json::from_str(&workshop.read(file)).unwrap();
    edit(&mut document);
    fs::write(workshop.path(file), document.to_string()).unwrap();
}

fn edited(line: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(line).unwrap();
    edit(&mut value);
    value.to_string()
}

#[test]
fn records_that_cannot_be_used_are_skipped_counted_and_reported_and_training_goes_on() {
    let workshop = damaged(|workshop| {
        edit_lines(workshop, |lines| {
            let half = lines[1].len() / 2;
            lines[1].truncate(half);
            lines[2] = edited(&lines[2], |line| line["traces"] = json!([]));
            lines[3] = edited(&lines[3], |line| line["caption"] = json!(" . , !"));
        });
        edit_json(workshop, ANNOTATIONS[1], |regions| {
            regions["annotations"][0]["bbox"] = json!([100, 100, 5, 5]);
            regions["annotations"][1]["caption"] = json!("?!");
            regions["annotations"][2]["bbox"] = json!([28, 28, 12, 12]);
            regions["annotations"][3]["bbox"] = json!([1, 2, 3]);
        });
        fs::remove_file(workshop.path("world/images/train/000000000006.png")).unwrap();
    });
    let answer = workshop.train("run", &UNMEASURED).success().says(&[
        "narratives_{split}.jsonl (train): 4 records skipped:",
        "1 broken JSON (first: narratives_train.jsonl:2: ",
        "1 empty trace (first: narratives_train.jsonl:3: the trace has 0 points)",
        "1 text without words (first: narratives_train.jsonl:4: the text is \" . , !\")",
        "1 missing image (first: narratives_train.jsonl:6: none of 000000000006.jpg, 000000000006.png",
        "regions_{split}.json (train): 4 records skipped:",
        "1 box outside the image (first: regions_train.json: annotation 1: ",
        "1 text without words (first: regions_train.json: annotation 2: the text is \"?!\")",
        "1 box is not four finite numbers (first: regions_train.json: annotation 4: ",
        "1 missing image (first: regions_train.json: image 6: no 000000000006.png in ",
        "1 box clipped to the image (first: regions_train.json: annotation 3: by ",
        "expressions_{split}.json (train): ",
        "missing image (first: expressions_train.json: image ",
    ]);
    assert_eq!(workshop.steps("run").len(), 6);
    // What is sound says nothing.
    assert!(!answer.stderr.contains("(val)"), "{}", answer.stderr);
    let sound = Workshop::with_world_of(&SOUND);
    let answer = sound.train("run", &UNMEASURED).success();
    assert!(!answer.stderr.contains("skipped"), "{}", answer.stderr);
}

#[test]
fn an_annotation_file_that_is_missing_empty_or_something_else_is_named() {
    type Damage = fn(&Workshop, &str);
    let missing: Damage = |workshop, file| fs::remove_file(workshop.path(file)).unwrap();
    let empty: Damage = |workshop, file| fs::write(workshop.path(file), "").unwrap();
    let text: Damage = |workshop, file| fs::write(workshop.path(file), "no JSON\n").unwrap();
    let [narratives, regions, expressions] = ANNOTATIONS;
    let whole_file = "help: Give a JSON object with the lists `images` and `annotations`";
    let format = "help: Check that the file is of the stated format";
    let path = "help: Check the path";
    let cases: [(&str, Damage, [&str; 2]); 9] = [
        (narratives, missing, ["No such file", path]),
        (narratives, empty, ["there is no narrative in the file", format]),
        (narratives, text, ["no narrative can be used", format]),
        (regions, missing, ["No such file", path]),
        (regions, empty, ["the file is empty", whole_file]),
        (regions, text, ["not a JSON document", whole_file]),
        (expressions, missing, ["No such file", path]),
        (expressions, empty, ["the file is empty", whole_file]),
        (expressions, text, ["not a JSON document", whole_file]),
    ];
    for (file, damage, parts) in cases {
        let workshop = damaged(|workshop| damage(workshop, file));
        workshop.train("run", &[]).failure(1, &[file]).says(&parts);
        assert_eq!(workshop.steps_done("run"), 0);
    }
}

#[test]
fn a_file_of_which_no_record_can_be_used_is_named_with_the_reasons() {
    let workshop = damaged(|workshop| {
        edit_json(workshop, ANNOTATIONS[1], |regions| {
            for region in regions["annotations"].as_array_mut().unwrap() {
                region["bbox"] = json!([5, 5, 0, 0]);
            }
        });
    });
    let parts = [ANNOTATIONS[1], "no region can be used", "box without an area", "help: "];
    workshop.train("run", &[]).failure(1, &parts);
}

#[test]
fn an_image_folder_that_is_missing_is_named() {
    let workshop =
        damaged(|workshop| fs::remove_dir_all(workshop.path("world/images/val")).unwrap());
    workshop.train("run", &[]).failure(1, &["world/images/val", "No such file", "Check the path"]);
}

#[test]
fn an_image_that_does_not_decode_stops_training_by_name_and_resume_goes_on_once_it_is_mended() {
    let image = "world/images/train/000000000009.png";
    let bytes = fs::read(SOUND.path(image)).unwrap();
    // Every step sees every image.
    let overrides =
        ["training.batch_size=24", "data.sources.1.weight=0", "data.sources.2.weight=0"];
    let arguments = [set(&overrides), UNMEASURED.to_vec()].concat();
    for (content, problem) in [
        (&b""[..], "the image file is empty (0 bytes)"),
        (b"GIF89a", "this is no PNG or JPEG image"),
        (&bytes[..bytes.len() / 2], "the image is damaged"),
    ] {
        let workshop = damaged(|workshop| fs::write(workshop.path(image), content).unwrap());
        let answer = workshop.train("run", &arguments);
        answer.failure(1, &[image, problem, "Mend or remove the file", "--resume"]);
        assert!(!workshop.path("run/weights.safetensors").exists());
        fs::write(workshop.path(image), &bytes).unwrap();
        workshop.train("run", &[&arguments[..], &["--resume"]].concat()).success();
    }
}

#[test]
fn an_image_of_a_held_out_split_that_does_not_decode_is_named_and_the_weights_are_kept() {
    let of = |split: &str, id: &str| format!("world/images/{split}/{id}.png");
    let (val, test) = (of("val", "000100000001"), of("test", "000200000001"));
    let workshop = damaged(|workshop| fs::write(workshop.path(&val), "").unwrap());
    workshop.train("run", &[]).failure(1, &[&val, "0 bytes", "help: Mend or remove the file"]);
    let workshop = damaged(|workshop| fs::write(workshop.path(&test), "").unwrap());
    workshop.train("run", &[]).failure(1, &[&test, "0 bytes", "help: "]);
    fs::copy(SOUND.path(&test), workshop.path(&test)).unwrap();
    workshop.pixelllm(&["eval", "run"]).success();
    assert!(workshop.path("run/evaluation.json").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    // Permissions do not stop root; below a file and in /proc nobody can make a folder.
    let below_a_file = "world/world.json/run";
    let parts = ["cannot create world/world.json/run", "a file where a folder must be"];
    SOUND.train(below_a_file, &[]).failure(1, &parts);
    if cfg!(target_os = "linux") {
        SOUND.train("/proc/nope", &[]).failure(1, &["cannot create /proc/nope", "help: "]);
    }
    // A world is made nowhere else, either.
    let workshop = Workshop::new();
    fs::write(workshop.path("file"), "").unwrap();
    let arguments = ["data", "shapes", "--images", "2", "--out", "file/world"];
    workshop.pixelllm(&arguments).failure(1, &["file/world", "a file where a folder must be"]);
}

#[test]
fn a_world_of_others_is_not_touched() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("world")).unwrap();
    fs::write(workshop.path("world/notes.txt"), "mine").unwrap();
    workshop
        .train("run", &[])
        .failure(1, &["world/notes.txt", "is in the way", "another directory"]);
    assert_eq!(workshop.read("world/notes.txt"), "mine");
    let answer = SOUND.train("run", &set(&["data.shapes.world.seed=1"]));
    answer.failure(1, &["world/world.json", "`seed` is 0, not 1", "another directory"]);
}

#[test]
fn an_experiment_that_cannot_be_trained_is_refused_by_file_line_and_key() {
    let workshop = Workshop::new();
    let extended = |text: &str| format!("extends = {EXPERIMENT:?}\n{text}");
    for (text, parts) in [
        (
            "[training]\nmax_step = 3",
            ["bad.toml:3: `training.max_step`: is not a key", "Did you mean `max_steps`?"],
        ),
        (
            "[model.language]\nnum_heads = 3",
            [
                "bad.toml:3: `model.language.num_heads`: 3 heads do not divide a width of 32",
                "a divisor of 32",
            ],
        ),
        (
            "[optimizer]\nlearning_rate = \"fast\"",
            [
                "bad.toml:3: `optimizer.learning_rate`: found the text \"fast\"",
                "Allowed: a number.",
            ],
        ),
        (
            "[model.vision.sam]\npatch_px = 12",
            ["bad.toml:3: `model.vision.sam.patch_px`: ", "a power of 2"],
        ),
    ] {
        fs::write(workshop.path("bad.toml"), extended(text)).unwrap();
        workshop.pixelllm(&["train", "bad.toml", "--out", "run"]).failure(2, &parts);
    }
    fs::write(workshop.path("bad.toml"), extended("seed = ")).unwrap();
    workshop.pixelllm(&["train", "bad.toml"]).failure(2, &["bad.toml:2: ", "This is not TOML"]);
    let answer = workshop.pixelllm(&["train", "missing.toml"]);
    answer.failure(1, &["cannot read missing.toml", "No such file", "Check the path"]);
    let answer = workshop.train("run", &set(&["training.batch_size=0"]));
    answer.failure(2, &["--set: `training.batch_size`: is 0", "Allowed: at least 1"]);
    assert!(!workshop.path("run").exists() && !workshop.path("world").exists());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_this_build_lacks_is_refused_in_one_sentence() {
    let workshop = Workshop::new();
    let answer = workshop.train("run", &["--device", "cuda"]);
    let sentence = "device `cuda`: this build has no `cuda` backend";
    let help = "help: Build it in: `cargo run --release --features cuda -- …`.";
    let answer = answer.failure(2, &[sentence, help]);
    assert_eq!(answer.stderr.trim().lines().count(), 2, "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
    assert!(!workshop.path("run").exists());
}

#[test]
fn a_device_that_nobody_has_is_refused_with_those_there_are() {
    let workshop = Workshop::new();
    let answer = workshop.train("run", &["--device", "nonsense"]);
    answer.failure(2, &["unknown device `nonsense`", "Devices are `cpu`, `wgpu`, `cuda`"]);
    let answer = workshop.train("run", &["--device", "cpu:7"]);
    answer.failure(2, &["device `cpu:7`: this machine has 1 `cpu` device", "Use `cpu`."]);
    assert!(!workshop.path("run").exists());
}

#[test]
fn a_dashboard_needs_a_terminal() {
    let workshop = Workshop::new();
    let answer = workshop.train("run", &["--dashboard", "tui"]);
    answer.failure(2, &["there is no terminal for the dashboard", "--dashboard plain"]);
    workshop.train("run", &["--dashboard", "loud"]).failure(2, &["loud", "auto, tui, plain, off"]);
    assert!(!workshop.path("run").exists());
    // Without one, `auto` prints lines; `off` prints none.
    let lines = |choice: &str| {
        let arguments = [&["--dashboard", choice], &UNMEASURED[..]].concat();
        let answer = SOUND.train(&format!("dashboard-{choice}"), &arguments).success();
        answer.stdout.lines().filter(|line| line.starts_with("step ")).count()
    };
    assert!(lines("auto") >= 2);
    assert_eq!(lines("off"), 0);
}

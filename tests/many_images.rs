//! Many images at once, places and expressions several at a time, pictures, pages, and the model that is
//! taken where none is named.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

use image::{DynamicImage, ImageFormat, Luma, Rgb, Rgba};
use serde_json::Value;

use common::{Answer, Workshop};

/// A finished run `run`, a folder `photos` with images of every kind, and `broken.png`, which is none.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("run", &common::UNMEASURED).success();
    fs::create_dir(workshop.path("photos")).unwrap();
    for (name, bytes) in photos() {
        fs::write(workshop.path("photos").join(name), bytes).unwrap();
    }
    fs::write(workshop.path("broken.png"), "no image").unwrap();
    workshop
});

const IMAGES: [&str; 2] =
    ["world/images/test/000200000001.png", "world/images/test/000200000002.png"];

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG of 40 × 24 pixels with an EXIF block that turns it by a quarter.
fn turned() -> Vec<u8> {
    let jpeg = encoded(image::RgbImage::from_pixel(40, 24, Rgb([9, 99, 199])), ImageFormat::Jpeg);
    let mut tiff = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend([6, 0, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &tiff, &jpeg[2..]].concat()
}

/// Names and contents of images as cameras and programs write them.
fn photos() -> Vec<(&'static str, Vec<u8>)> {
    use image::ImageBuffer;
    let png = ImageFormat::Png;
    let fixture = |name: &str| {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name))
            .unwrap()
    };
    vec![
        ("a-grey.png", encoded(image::GrayImage::from_pixel(50, 20, Luma([70])), png)),
        ("b-alpha.png", encoded(image::RgbaImage::from_pixel(9, 70, Rgba([9, 8, 7, 40])), png)),
        (
            "c-deep.png",
            encoded(
                DynamicImage::ImageRgb16(ImageBuffer::from_pixel(30, 30, Rgb([9_000; 3]))),
                png,
            ),
        ),
        ("d-turned.JPG", turned()),
        ("e-ink.jpg", fixture("cmyk.jpg")),
        ("f-palette.png", fixture("palette.png")),
        ("g-one-pixel.png", encoded(image::RgbImage::new(1, 1), png)),
        ("h-panorama.jpg", encoded(image::RgbImage::new(900, 11), ImageFormat::Jpeg)),
    ]
}

fn pixelllm(arguments: &[&str]) -> Answer {
    WORKSHOP.pixelllm(arguments)
}

/// The lines of JSON that a command printed.
fn lines(answer: &Answer) -> Vec<Value> {
    answer.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same without what depends on the clock and on what else was in the batch.
fn without_timings(mut results: Vec<Value>) -> Vec<Value> {
    for result in &mut results {
        assert!(result.as_object_mut().unwrap().remove("timings").is_some());
    }
    results
}

fn paths(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["image"]["path"].as_str().unwrap()).collect()
}

#[test]
fn photographs_of_every_kind_are_answered_about_by_every_command() {
    for command in [
        &["narrate"][..],
        &["describe", "--box", "0,0,1,1"],
        &["describe", "--point", "0,0"],
        &["locate", "--text", "the star"],
    ] {
        let arguments = [command, &["--json", "--overlay-dir", "drawn"]].concat();
        let (name, rest) = arguments.split_first().unwrap();
        let arguments = [&[*name, "run", "--image", "photos"], rest].concat();
        let answer = pixelllm(&arguments).success().says(&["8 done, 0 skipped", "images/s"]);
        let results = lines(&answer);
        let names: Vec<_> = photos().into_iter().map(|(name, _)| name).collect();
        let expected: Vec<_> = names.iter().map(|name| format!("photos/{name}")).collect();
        assert_eq!(paths(&results), expected);
        // As it is seen, a quarter turned.
        let size = |image: &Value| (image["width"].as_u64(), image["height"].as_u64());
        assert_eq!(size(&results[3]["image"]), (Some(24), Some(40)));
    }
}

#[test]
fn answers_in_a_batch_are_those_of_each_image_alone() {
    let ask = |batch: &str| {
        let arguments = ["narrate", "run", "--image", IMAGES[0], IMAGES[1], "--json"];
        let answer = pixelllm(&[&arguments[..], &["--batch", batch]].concat()).success();
        lines(&answer)
    };
    let (together, apart) = (ask("2"), ask("1"));
    assert_eq!(together[0]["timings"]["images"], 2);
    assert_eq!(apart[0]["timings"]["images"], 1);
    for (together, apart) in without_timings(together).iter().zip(without_timings(apart)) {
        assert_eq!(together["image"], apart["image"]);
        assert_eq!(together["narration"]["caption"], apart["narration"]["caption"]);
    }
}

#[test]
fn a_bad_image_is_told_and_the_others_are_answered_about() {
    let list = format!("{}\n\nbroken.png\nmissing.png\n{}\n", IMAGES[0], IMAGES[1]);
    fs::write(WORKSHOP.path("list.txt"), list).unwrap();
    let answer = pixelllm(&["narrate", "run", "--images-from", "list.txt", "--json"]);
    let results = lines(&answer);
    assert_eq!(paths(&results), IMAGES);
    let answer = answer.failure(1, &["2 done, 2 skipped"]);
    let skipped = ["skipped broken.png: this is no PNG or JPEG", "missing.png: No such file"];
    answer.says(&skipped);

    // A place that is not in all images is a matter of those.
    let images = ["--image", "photos/g-one-pixel.png", IMAGES[0]];
    let asked = [&["describe", "run", "--box", "4,4,9,9", "--json"], &images[..]].concat();
    let answer = pixelllm(&asked);
    assert_eq!(paths(&lines(&answer)), IMAGES[..1]);
    answer.failure(1, &["skipped photos/g-one-pixel.png: the box 4,4,9,9 is outside the image"]);
}

#[test]
fn without_json_every_answer_stands_below_the_name_of_its_image() {
    let answer =
        pixelllm(&["locate", "run", "--text", "the star", "--image", IMAGES[0], IMAGES[1]]);
    let stdout = answer.success().stdout;
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!((lines[0], lines[3]), (IMAGES[0], IMAGES[1]), "{stdout}");
    assert!(lines[1].ends_with("(left, top, right, bottom in pixels)"), "{stdout}");
}

#[test]
fn several_boxes_and_expressions_are_answered_in_their_order() {
    let ask = |command: &str, arguments: &[&str]| {
        let image = [command, "run", "--image", IMAGES[0], "--json", "--overlay", "several.png"];
        let answer = pixelllm(&[&image[..], arguments].concat()).success();
        serde_json::from_str::<Value>(&answer.stdout).unwrap()
    };
    let boxes = ["--box", "1,1,9,9", "--box", "8,8,30,30"];
    let both = ask("describe", &boxes);
    let described = both["descriptions"].as_array().unwrap();
    assert_eq!(described.len(), 2);
    let alone = ask("describe", &boxes[2..]);
    assert_eq!(described[1]["caption"], alone["descriptions"][0]["caption"]);
    assert_eq!(described[1]["region"], alone["descriptions"][0]["region"]);
    let words: Vec<_> = described[0]["words"].as_array().unwrap().iter().collect();
    let texts: Vec<_> = words.iter().map(|word| word["text"].as_str().unwrap()).collect();
    assert_eq!(described[0]["caption"], texts.join(" "));

    let located = ask("locate", &["--text", "the star", "--text", "the red circle"]);
    let expressions = located["locations"].as_array().unwrap().iter();
    let expressions: Vec<_> = expressions.map(|one| one["expression"].as_str().unwrap()).collect();
    assert_eq!(expressions, ["the star", "the red circle"]);
}

#[test]
fn drawings_are_pixels_or_lines_and_one_per_image() {
    let image = ["narrate", "run", "--image", IMAGES[0]];
    pixelllm(&[&image[..], &["--overlay", "one.svg"]].concat()).success();
    let svg = WORKSHOP.read("one.svg");
    assert!(svg.starts_with("<svg") && svg.contains("data:image/png;base64,"), "{svg:.200}");
    // Two images of the same name, and one of another.
    fs::create_dir_all(WORKSHOP.path("other")).unwrap();
    fs::copy(WORKSHOP.path(IMAGES[0]), WORKSHOP.path("other/000200000001.png")).unwrap();
    let images = [&image[..], &["other/000200000001.png", IMAGES[1]]].concat();
    for format in ["png", "svg"] {
        let folder = format!("drawings-{format}");
        let output = ["--overlay-dir", &folder, "--overlay-format", format];
        pixelllm(&[&images[..], &output].concat()).success();
        for name in ["000200000001-narrate", "000200000001-2-narrate", "000200000002-narrate"] {
            assert!(WORKSHOP.path(&folder).join(format!("{name}.{format}")).is_file(), "{name}");
        }
    }
    let one = pixelllm(&[&images[..], &["--overlay", "one.png"]].concat());
    one.failure(2, &["--overlay draws a single image", "--overlay-dir"]);
}

#[test]
fn a_page_has_every_image_and_loads_nothing() {
    let images = ["--image", IMAGES[0], IMAGES[1], "--html", "page.html"];
    pixelllm(&[&["narrate", "run"], &images[..]].concat()).success().says(&["Look at page.html"]);
    let page = WORKSHOP.read("page.html");
    assert_eq!(page.matches("class=\"item\"").count(), 2);
    for image in IMAGES {
        assert!(page.contains(image), "{image}");
    }
    assert!(page.contains("default-src 'none'") && !page.contains("src=\"http"));
}

#[test]
fn without_a_run_the_model_of_the_working_directory_answers() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    common::copy(&WORKSHOP.path("run"), &workshop.path("run"));
    let exported =
        workshop.pixelllm(&["weights", "export", "run", "--model", "data/models/shapes"]);
    let exported = exported.success();
    assert!(exported.stdout.contains("MiB to data/models/shapes"), "{}", exported.stdout);
    let files: Vec<_> = workshop.files("data/models/shapes").into_keys().collect();
    let expected = [
        "evaluation.json",
        "experiment.toml",
        "metrics.jsonl",
        "tokenizer.json",
        "weights.safetensors",
    ];
    assert_eq!(files, expected);
    let ask = |run: &[&str]| {
        let image = ["--image", IMAGES[0], "--json", "--overlay", "a.png"];
        let answer = workshop.pixelllm(&[&["narrate"], run, &image[..]].concat()).success();
        let result = vec![serde_json::from_str(&answer.stdout).unwrap()];
        without_timings(result)
    };
    assert_eq!(ask(&[]), ask(&["run"]));
    let own = workshop.pixelllm(&["weights", "export", "run", "--model", "run"]);
    own.failure(2, &["run is the run itself", "another folder"]);
}

#[test]
fn every_stage_of_every_task_is_timed() {
    let answer = pixelllm(&["latency", "run", "--image", IMAGES[0], "--repeat", "3"]).success();
    for word in ["narrate", "describe", "locate", "vision", "language", "medians of 3 answers"] {
        assert!(answer.stdout.contains(word), "{word}: {}", answer.stdout);
    }
    let experiment = ["--experiment", common::EXPERIMENT, "--repeat", "1", "--warm-up", "0"];
    let random = pixelllm(&[&["latency", "--image", IMAGES[0]], &experiment[..]].concat());
    assert!(random.success().stdout.contains("medians of 1 answers, after 0"));
}

#[test]
fn the_schema_is_printed_as_it_is_in_the_book() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/results.schema.json");
    assert_eq!(pixelllm(&["schema"]).success().stdout, fs::read_to_string(path).unwrap());
}

//! `narrate`, `describe`, `locate` and `eval`: answers of a run, and what is said about mistakes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use serde_json::Value;

use common::{Answer, Workshop};

/// A finished run `run`, and `unfinished`, which was stopped before its end.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("run", &common::UNMEASURED).success();
    common::copy(&workshop.path("run"), &workshop.path("unfinished"));
    std::fs::remove_file(workshop.path("unfinished/weights.safetensors")).unwrap();
    workshop
});

const IMAGE: &str = "world/images/test/000200000001.png";

fn on_image(command: &str, arguments: &[&str]) -> Answer {
    WORKSHOP.pixelllm(&[&[command, "run", "--image", IMAGE], arguments].concat())
}

/// Each command with what it needs beside the run and the image.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("narrate", &[]),
    ("describe", &["--box", "3,4,20,20"]),
    ("locate", &["--text", "the red star"]),
];

/// What a command told in JSON, without what depends on the clock.
fn told(answer: &Answer) -> Value {
    let mut json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert!(json.as_object_mut().unwrap().remove("timings").is_some());
    json
}

/// Four finite numbers.
fn corners(bounds: &Value) -> [f64; 4] {
    ["x0", "y0", "x1", "y1"].map(|key| bounds[key].as_f64().unwrap_or_else(|| panic!("{bounds}")))
}

#[test]
fn every_command_answers_in_text_and_draws_beside_it() {
    for (command, arguments) in COMMANDS {
        let overlay = format!("drawn-{command}.png");
        let answer = on_image(command, &[arguments, &["--overlay", &overlay]].concat()).success();
        assert!(answer.stdout.contains(&format!("Drawn in {overlay}")), "{}", answer.stdout);
        let text = answer.stdout.lines().next().unwrap();
        assert!(!text.trim().is_empty(), "{command}: {}", answer.stdout);
        let drawn = image::open(WORKSHOP.path(&overlay)).unwrap().to_rgb8();
        let plain = image::open(WORKSHOP.path(IMAGE)).unwrap().to_rgb8();
        assert!(
            drawn.dimensions() != plain.dimensions() || drawn != plain,
            "{command} drew nothing"
        );
    }
}

#[test]
fn a_narration_in_json_has_a_place_for_every_word() {
    let answer = on_image("narrate", &["--json", "--overlay", "a.png"]).success();
    let result: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&result["task"], &result["image"]["path"]), (&"narrate".into(), &IMAGE.into()));
    let json = &result["narration"];
    let words = json["words"].as_array().unwrap();
    assert!(!words.is_empty());
    let texts: Vec<_> = words.iter().map(|word| word["text"].as_str().unwrap()).collect();
    assert_eq!(json["caption"], texts.join(" "));
    for word in words {
        let [x0, y0, x1, y1] = corners(&word["bounds"]);
        assert!(x0 <= x1 && y0 <= y1, "{word}");
        let center = (word["point"]["x"].as_f64().unwrap(), word["point"]["y"].as_f64().unwrap());
        assert!((center.0 - (x0 + x1) / 2.0).abs() < 1e-6, "{word}");
        assert!((center.1 - (y0 + y1) / 2.0).abs() < 1e-6, "{word}");
        assert!(word["log_prob"].as_f64().unwrap() <= 0.0, "{word}");
    }
    assert!(json["score"].as_f64().unwrap() <= 0.0);
    let tokens = json["tokens"].as_array().unwrap();
    assert!(tokens.len() >= words.len(), "{json}");
    for (token, log_prob) in tokens.iter().zip(json["token_log_probs"].as_array().unwrap()) {
        assert_eq!(&token["log_prob"], log_prob);
        assert!(token["id"].is_u64() && token["piece"].is_string(), "{token}");
    }
    for stage in ["read_ms", "vision_ms", "prompt_ms", "language_ms", "heads_ms"] {
        assert!(result["timings"][stage].as_f64().unwrap() > 0.0, "{stage}: {result}");
    }
    assert_eq!(result["timings"]["masks_ms"].as_f64().unwrap(), 0.0);
}

#[test]
fn a_description_in_json_says_which_region_it_is_of() {
    // Half of the image to the left and above is cut off.
    let arguments = ["--json", "--overlay", "b.png", "--box", "-8,-8,8,16"];
    let json = &told(&on_image("describe", &arguments).success())["descriptions"][0];
    let (width, height) = image::image_dimensions(WORKSHOP.path(IMAGE)).unwrap();
    let (width, height) = (f64::from(width), f64::from(height));
    let expected = [-8.0 / width, -8.0 / height, 8.0 / width, 16.0 / height];
    for (found, expected) in corners(&json["region"]).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{json}");
    }
    assert!(json["caption"].is_string() && json["score"].is_f64(), "{json}");
}

#[test]
fn a_location_is_the_same_in_json_and_in_pixels() {
    let text = ["--text", "the red star", "--overlay", "c.png"];
    let json = told(&on_image("locate", &[&text[..], &["--json"]].concat()).success());
    let json = &json["locations"][0];
    assert_eq!(json["expression"], "the red star");
    let (width, height) = image::image_dimensions(WORKSHOP.path(IMAGE)).unwrap();
    let [x0, y0, x1, y1] = corners(&json["bounds"]);
    let (width, height) = (f64::from(width), f64::from(height));
    let expected = [x0 * width, y0 * height, x1 * width, y1 * height];
    let answer = on_image("locate", &text).success();
    let printed: Vec<f64> = answer
        .stdout
        .split_once(' ')
        .unwrap()
        .0
        .split(',')
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(printed.len(), 4);
    for (printed, expected) in printed.iter().zip(expected) {
        // Printed to a tenth of a pixel.
        assert!((printed - expected).abs() < 0.051, "{} {json}", answer.stdout);
    }
}

#[test]
fn answers_are_the_same_every_time() {
    for (command, arguments) in COMMANDS {
        let ask = || {
            let arguments = [arguments, &["--json", "--overlay", "d.png"]].concat();
            told(&on_image(command, &arguments).success())
        };
        assert_eq!(ask(), ask(), "{command}");
    }
}

#[test]
fn without_a_name_the_drawing_is_called_after_image_and_task() {
    let workshop = Workshop::with_world_of(&WORKSHOP);
    common::copy(&WORKSHOP.path("run"), &workshop.path("run"));
    workshop.pixelllm(&["narrate", "run", "--image", IMAGE]).success();
    assert!(workshop.path("000200000001-narrate.png").exists());
}

#[test]
fn a_box_that_is_none_is_refused_with_the_right_form() {
    for (region, parts) in [
        ("3,4,20", ["four numbers", "10,20,60,80"]),
        ("3,4,20,x", ["four numbers", "10,20,60,80"]),
        ("20,4,3,20", ["20,4,3,20", "the right edge must be right of the left one"]),
        ("3,4,20,4", ["3,4,20,4", "the bottom below the top"]),
        (
            "100,100,200,200",
            ["100,100,200,200 is outside the image of ", "Give places from 0,0 to "],
        ),
        ("-9,-9,-1,-1", ["-9,-9,-1,-1 is outside the image of ", "Give places from 0,0 to "]),
    ] {
        on_image("describe", &["--box", region]).failure(2, &parts);
    }
    on_image("describe", &[]).failure(2, &["--box <X0,Y0,X1,Y1>"]);
}

#[test]
fn points_and_traces_are_described_with_a_note_where_the_run_did_not_learn_from_them() {
    let ask = |arguments: &[&str]| {
        let arguments = [arguments, &["--json", "--overlay", "p.png"]].concat();
        let answer = on_image("describe", &arguments).success();
        let kind = if arguments.contains(&"--trace") { "traces" } else { "points" };
        let note = format!("note: the run did not learn to describe {kind}");
        assert!(answer.stderr.contains(&note), "{}", answer.stderr);
        told(&answer)["descriptions"][0].clone()
    };
    let (width, height) = image::image_dimensions(WORKSHOP.path(IMAGE)).unwrap();
    let (width, height) = (f64::from(width), f64::from(height));
    let points = ask(&["--point", "4,6", "--point", "12,10", "--not", "0,0"]);
    let expected = [4.0 / width, 6.0 / height, 12.0 / width, 10.0 / height];
    for (found, expected) in corners(&points["region"]).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{points}");
    }
    std::fs::write(WORKSHOP.path("there.json"), "[[4, 6], {\"x\": 12, \"y\": 10}]").unwrap();
    std::fs::write(WORKSHOP.path("back.json"), "[[12, 10], [4, 6]]").unwrap();
    let [there, back] = ["there.json", "back.json"].map(|file| ask(&["--trace", file]));
    assert_eq!(there["region"], back["region"]);
    assert_ne!(there["score"], back["score"], "the way of drawing it matters");
}

#[test]
fn a_point_or_trace_that_is_none_is_refused_with_the_right_form() {
    let image = ["outside the image of ", "Give places from 0,0 to "];
    on_image("describe", &["--point", "900,3"]).failure(2, &image);
    on_image("describe", &["--point", "1"]).failure(2, &["two numbers", "10,20"]);
    on_image("describe", &["--not", "1,1", "--box", "1,1,2,2"]).failure(2, &["cannot be used"]);
    on_image("describe", &["--point", "1,1", "--box", "1,1,2,2"]).failure(2, &["cannot be used"]);
    for (text, part) in [("", "is no trace"), ("[]", "has no point"), ("[[1]]", "is no trace")] {
        std::fs::write(WORKSHOP.path("bad.json"), text).unwrap();
        let parts = ["bad.json", part, "a JSON list of points in order"];
        on_image("describe", &["--trace", "bad.json"]).failure(1, &parts);
    }
    on_image("describe", &["--trace", "none.json"]).failure(1, &["cannot read none.json"]);
}

#[test]
fn a_text_without_words_is_refused() {
    on_image("locate", &["--text", ""]).failure(2, &["has no words", "at least one word"]);
    on_image("locate", &["--text", "?!"]).failure(2, &["has no words", "at least one word"]);
}

#[test]
fn what_a_run_was_not_taught_is_said_with_what_it_was() {
    on_image("detect", &[]).failure(2, &["not taught to detect", "narrate and describe"]);
}

#[test]
fn an_image_that_is_none_is_named_with_what_to_do() {
    let write = |name: &str, bytes: &[u8]| std::fs::write(WORKSHOP.path(name), bytes).unwrap();
    write("nothing.png", b"");
    write("text.png", b"this is a text");
    let whole = std::fs::read(WORKSHOP.path(IMAGE)).unwrap();
    write("half.png", &whole[..whole.len() / 2]);
    for (command, arguments) in COMMANDS {
        for (file, parts) in [
            ("nothing.png", ["nothing.png", "empty (0 bytes)", "whole PNG or JPEG"]),
            ("text.png", ["text.png", "no PNG or JPEG image", "whole PNG or JPEG"]),
            ("half.png", ["half.png", "is damaged", "whole PNG or JPEG"]),
            ("missing.png", ["missing.png", "No such file", "Check the path"]),
            ("world", ["world", "has no .png, .jpg or .jpeg file", "RUN comes before --image"]),
        ] {
            let arguments = [&[command, "run", "--image", file], arguments].concat();
            // A folder without images is the user's mistake.
            let code = if file == "world" { 2 } else { 1 };
            WORKSHOP.pixelllm(&arguments).failure(code, &parts);
        }
    }
}

#[test]
fn a_run_that_is_missing_or_not_finished_is_named_with_what_to_do() {
    for (run, parts) in [
        ("missing", ["run missing: does not exist", "`pixelllm train` printed"]),
        ("world", ["run world: holds no run", "`pixelllm train` printed"]),
        ("unfinished", ["run unfinished: has no weights", "--resume"]),
    ] {
        for (command, arguments) in COMMANDS {
            let arguments = [&[command, run, "--image", IMAGE], arguments].concat();
            WORKSHOP.pixelllm(&arguments).failure(1, &parts);
        }
        WORKSHOP.pixelllm(&["eval", run]).failure(1, &parts);
    }
}

#[test]
fn a_run_with_damaged_files_is_named_with_what_to_do() {
    for (file, content, code, named) in [
        ("weights.safetensors", "not weights", 1, ": weights.safetensors has 11 bytes of "),
        ("tokenizer.json", "{}", 1, "/tokenizer.json"),
        // As any mistake of an experiment.
        ("experiment.toml", "model = ", 2, "/experiment.toml"),
    ] {
        let run = format!("damaged-{file}");
        common::copy(&WORKSHOP.path("run"), &WORKSHOP.path(&run));
        std::fs::write(WORKSHOP.path(&run).join(file), content).unwrap();
        let answer = WORKSHOP.pixelllm(&["narrate", &run, "--image", IMAGE]);
        answer.failure(code, &[&format!("{run}{named}"), "help:"]);
    }
    // Weights of a model of other sizes.
    common::copy(&WORKSHOP.path("run"), &WORKSHOP.path("other"));
    let toml =
        WORKSHOP.read("other/experiment.toml").replace("hidden_width = 32", "hidden_width = 64");
    std::fs::write(WORKSHOP.path("other/experiment.toml"), toml).unwrap();
    WORKSHOP
        .pixelllm(&["narrate", "other", "--image", IMAGE])
        .failure(1, &["other/weights.safetensors", "belong together"]);
}

#[test]
fn a_drawing_that_cannot_be_written_is_named_with_what_to_do() {
    on_image("narrate", &["--overlay", "nowhere/a.png"])
        .failure(1, &["cannot write nowhere/a.png", "Check the path"]);
    on_image("narrate", &["--overlay", "a.txt"]).failure(2, &["a.txt", "ends in .png or .svg"]);
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let answer = on_image("narrate", &["--device", "gpu"]);
    answer.failure(2, &["unknown device `gpu`", "Devices are `cpu`, `wgpu`, `cuda`"]);
}

#[test]
fn a_text_is_searched_for_or_drawn_where_flags_say_so() {
    for (command, arguments) in [("narrate", &[][..]), ("describe", &["--box", "8,8,40,40"][..])] {
        let ask = |flags: &str| {
            let flags: Vec<&str> = flags.split_whitespace().collect();
            let answer = ["--json", "--overlay", "e.png"];
            let result = told(&on_image(command, &[arguments, &answer, &flags].concat()).success());
            let described = result["descriptions"].get(0).cloned();
            described.unwrap_or_else(|| result["narration"].clone())
        };
        let greedy = ask("");
        assert_eq!(ask("--beams 1"), greedy);
        assert_eq!(ask("--temperature 0"), greedy);
        let drawn = "--temperature 1.5 --top-k 20 --top-p 0.95 --seed 3";
        assert_eq!(ask(drawn), ask(drawn));
        let json = ask("--beams 3");
        let log_probs = json["token_log_probs"].as_array().unwrap();
        let sum: f64 = log_probs.iter().map(|one| one.as_f64().unwrap()).sum();
        // The paper's length penalty; the end counts.
        let penalty = ((5.0 + log_probs.len() as f64) / 6.0).powf(0.6);
        let score = json["score"].as_f64().unwrap();
        let unfinished = (score - sum).abs() < 1e-3;
        assert!(unfinished || (score - sum / penalty).abs() < 1e-3, "{json}");
    }
    on_image("narrate", &["--beams", "0"]).failure(2, &["--beams is 0", "at least 1"]);
    on_image("narrate", &["--top-p", "1.5"]).failure(2, &["--top-p is 1.5", "at most 1"]);
    on_image("narrate", &["--beams", "2", "--seed", "1"]).failure(2, &["cannot be used with"]);
}

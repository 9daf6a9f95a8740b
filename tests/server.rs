//! `serve`: what every address answers, what is refused and how, and that no client can hold up another.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use common::served::{Response, Served, form, form_type, png};
use common::{Workshop, set};

/// What makes a model with masks of the smallest experiment.
const MASKS: [&str; 3] = [
    "model.masks.decoder={width=16, depth=1, num_heads=2, mlp_width=16, hyper_width=16, iou_width=16}",
    "model.masks.adapter={width=16, depth=1, num_heads=2, mlp_width=16}",
    "data.sources.2.masks=true",
];
const DENSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dense.toml");
const IMAGE: &str = "world/images/test/000200000001.png";

/// A finished run `run` that narrates, describes and locates with masks.
static WORKSHOP: LazyLock<Workshop> = LazyLock::new(|| {
    let workshop = Workshop::shared();
    workshop.train("run", &[&set(&MASKS)[..], &common::UNMEASURED].concat()).success();
    workshop
});

/// A server of it with the usual limits.
fn served() -> Served {
    Served::start(&WORKSHOP, "run", &[])
}

fn image() -> Vec<u8> {
    std::fs::read(WORKSHOP.path(IMAGE)).unwrap()
}

/// What the command says of the same image.
fn command(task: &str, arguments: &[&str]) -> Value {
    let usual = [task, "run", "--image", IMAGE, "--json", "--overlay", "server.png"];
    let answer = WORKSHOP.pixelllm(&[&usual, arguments].concat()).success();
    let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
    match task {
        "narrate" => answer["narration"].clone(),
        "describe" => answer["descriptions"][0].clone(),
        _ => answer["locations"][0].clone(),
    }
}

/// An image that takes a while to decode, and is short to send. Servers that are to take that while every
/// time keep no images.
static SLOW: LazyLock<Vec<u8>> = LazyLock::new(|| png(5600, 5600, 7));
const FORGETFUL: [&str; 2] = ["--keep-images", "0"];

fn forgetful(arguments: &[&str]) -> Served {
    LazyLock::force(&SLOW);
    Served::start(&WORKSHOP, "run", &[&FORGETFUL, arguments].concat())
}

#[test]
fn answers_are_those_of_the_commands() {
    let (server, image) = (served(), image());
    let (width, height) = image::image_dimensions(WORKSHOP.path(IMAGE)).unwrap();
    let region = [0.25 * width as f32, 0.25 * height as f32, 0.75 * width as f32, height as f32];
    let region = region.map(|value| value.to_string()).join(",");
    for (task, request, arguments) in [
        ("narrate", "{}", vec![]),
        ("describe", r#"{"box": [0.25, 0.25, 0.75, 1]}"#, vec!["--box", &region]),
        ("locate", r#"{"text": "the red star"}"#, vec!["--text", "the red star"]),
        (
            "locate",
            r#"{"text": "the red star", "mask": true}"#,
            vec!["--text", "the red star", "--mask"],
        ),
    ] {
        let answer = server.ask(&format!("/api/{task}"), &image, request).success();
        assert_eq!(answer["task"], task);
        assert_eq!(answer["image"], json!({"width": width, "height": height}));
        assert_eq!(answer["result"], command(task, &arguments), "{request}");
        assert!(answer["timings_ms"]["task"].as_f64().unwrap() > 0.0, "{answer}");
        assert_eq!(answer["decoding"].is_null(), task == "locate");
    }
}

#[test]
fn points_and_traces_are_described_and_json_is_as_good_as_a_form() {
    let (server, image) = (served(), image());
    for request in [
        json!({"points": [[0.5, 0.5], {"x": 0.25, "y": 0.5}], "not": [[0, 0]]}),
        json!({"trace": [[0.1, 0.1], [0.9, 0.9]]}),
    ] {
        let formed = server.ask("/api/describe", &image, &request.to_string()).success();
        for encoded in
            [STANDARD.encode(&image), format!("data:image/png;base64,{}", STANDARD.encode(&image))]
        {
            let body = json!({"image": encoded, "request": request}).to_string();
            let answer = server.post("/api/describe", "application/json", body.as_bytes());
            assert_eq!(answer.success()["result"], formed["result"]);
        }
    }
    // What is not said is left to its default.
    let body = json!({"image": STANDARD.encode(&image)}).to_string();
    server.post("/api/narrate", "application/json; charset=utf-8", body.as_bytes()).success();
    server.post("/api/narrate", &form_type(), &form(&[("image", &image)])).success();
}

#[test]
fn a_model_that_detects_lists_what_it_finds_and_says_that_it_cannot_narrate() {
    let arguments = ["train", DENSE, "--out", "dense"];
    WORKSHOP.pixelllm(&[&arguments[..], &common::UNMEASURED].concat()).success();
    let server = Served::start(&WORKSHOP, "dense", &[]);
    let all = server.ask("/api/detect", &image(), "{}").success();
    let found = all["result"].as_array().unwrap();
    assert!(!found.is_empty());
    assert!(found.iter().all(|one| one["caption"].is_string() && one["bounds"]["x0"].is_f64()));
    let one = server.ask("/api/detect", &image(), r#"{"limit": 1, "min_score": 0}"#).success();
    assert_eq!(one["result"].as_array().unwrap()[..], found[..1]);
    assert!(
        server.get("/api/model").success()["tasks"].as_array().unwrap().contains(&"detect".into())
    );
}

#[test]
fn a_stream_tells_each_word_with_its_place_and_ends_with_the_whole() {
    let (server, image) = (served(), image());
    for (task, request) in [("narrate", "{}"), ("describe", r#"{"box": [0, 0, 1, 0.5]}"#)] {
        let whole = server.ask(&format!("/api/{task}"), &image, request).success();
        let stream = server.ask(&format!("/api/{task}/stream"), &image, request);
        assert_eq!(stream.status, 200);
        assert_eq!(stream.headers["content-type"], "text/event-stream");
        let events = stream.events();
        let (start, done) = (&events[0], &events[events.len() - 1]);
        assert_eq!((start.0.as_str(), done.0.as_str()), ("start", "done"));
        assert_eq!(start.1["image"], whole["image"]);
        assert_eq!(done.1["result"], whole["result"]);
        let words = &events[1..events.len() - 1];
        let texts: Vec<_> = words.iter().map(|(_, word)| word["text"].as_str().unwrap()).collect();
        assert_eq!(whole["result"]["caption"], texts.join(" "));
        for (index, (name, word)) in words.iter().enumerate() {
            assert_eq!((name.as_str(), word["index"].as_u64()), ("word", Some(index as u64)));
            assert_eq!(word["bounds"]["x0"].is_f64(), task == "narrate", "{word}");
        }
    }
    // What is wrong from the beginning has a status, as elsewhere.
    server.ask("/api/narrate/stream", b"no image", "{}").refused(415, "unsupported_image");
    let outside = r#"{"box": [2, 2, 3, 3]}"#;
    server.ask("/api/describe/stream", &image, outside).refused(422, "invalid_request");
}

#[test]
fn the_server_says_what_it_is_and_serves_its_page_and_examples() {
    let server = served();
    assert_eq!(server.get("/healthz").success(), json!({"status": "ok"}));
    let model = server.get("/api/model").success();
    assert_eq!(model["tasks"], json!(["narrate", "describe", "locate"]));
    assert_eq!((&model["masks"], &model["name"]), (&json!(true), &json!("smallest")));
    assert_eq!(model["limits"]["upload_bytes"], 16 << 20);
    assert!(model["describe"]["box"].is_null() && model["describe"]["points"].is_string());
    for example in model["examples"].as_array().unwrap() {
        let bytes = server.get(example.as_str().unwrap()).body;
        server.ask("/api/narrate", &bytes, "{}").success();
    }
    for (path, kind) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let file = server.get(path);
        assert_eq!(file.status, 200);
        assert!(file.headers["content-type"].starts_with(kind), "{path}");
        // Nothing from elsewhere.
        let text = String::from_utf8(file.body).unwrap().replace("http://www.w3.org/", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
}

#[test]
fn every_answer_tells_browsers_to_be_strict() {
    let server = served();
    for path in ["/", "/api/model", "/nowhere"] {
        let headers = server.get(path).headers;
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = &headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!policy.contains("http"), "{policy}");
    }
}

#[test]
fn wrong_addresses_methods_names_and_pages_are_refused() {
    let server = served();
    server.get("/nowhere").refused(404, "not_found");
    server.get("/examples/99").refused(404, "not_found");
    let answer = server.get("/api/narrate");
    assert_eq!(answer.refused(405, "wrong_method").headers["allow"], "POST");
    server.post("/api/model", "text/plain", b"").refused(405, "wrong_method");
    let with = |headers: &[(&str, &str)]| server.send(&server.head("GET", "/api/model", headers));
    with(&[("Host", "evil.example")]).refused(403, "wrong_host");
    with(&[("Host", "localhost:1")]).success();
    with(&[("Origin", "http://evil.example")]).refused(403, "wrong_origin");
    with(&[("Origin", &format!("http://{}", server.address))]).success();
    let named = Served::start(&WORKSHOP, "run", &["--allow-host", "models.example"]);
    let head = named.head("GET", "/api/model", &[("Host", "models.example")]);
    named.send(&head).success();
}

#[test]
fn forms_and_json_that_are_none_are_refused() {
    let (server, image) = (served(), image());
    let whole = form(&[("image", &image), ("request", b"{}")]);
    let (form_type, json_type) = (form_type(), "application/json");
    let post = |kind: &str, body: &[u8]| server.post("/api/narrate", kind, body);
    for cut in [0, 20, whole.len() / 2, whole.len() - 10] {
        post(&form_type, &whole[..cut]).refused(400, "bad_request");
    }
    post("multipart/form-data", &whole).refused(400, "bad_request");
    post("image/png", &image).refused(415, "unsupported_type");
    post("", &image).refused(415, "unsupported_type");
    // Neither is what it says that it is.
    post(json_type, &whole).refused(400, "bad_request");
    post(&form_type, br#"{"image": ""}"#).refused(400, "bad_request");
    for fields in [
        &[("request", &b"{}"[..])][..],
        &[("image", &image), ("image", &image)],
        &[("image", &image), ("other", b"")],
        &[("image", &image), ("request", b"{")],
        &[("image", b"")],
    ] {
        post(&form_type, &form(fields)).refused(400, "bad_request");
    }
    post(json_type, br#"{"image": "%%%"}"#).refused(400, "bad_request");
    post(json_type, "[".repeat(100_000).as_bytes()).refused(400, "bad_request");
    post(json_type, br#"{"picture": ""}"#).refused(422, "invalid_request");
    post(json_type, br#"{"image": 3}"#).refused(422, "invalid_request");
    for (task, request) in [
        ("narrate", r#"{"text": "the red star"}"#),
        ("narrate", "[1]"),
        ("describe", "{}"),
        ("describe", r#"{"box": [0.5, 0.5, 0.2, 0.9]}"#),
        ("describe", r#"{"box": [0, 0, 1e39, 1]}"#),
        ("describe", r#"{"points": [[0.5, 7]]}"#),
        ("describe", r#"{"points": []}"#),
        ("locate", r#"{"text": "?!"}"#),
        ("locate", "{}"),
    ] {
        server.ask(&format!("/api/{task}"), &image, request).refused(422, "invalid_request");
    }
    server.ask("/api/detect", &image, "{}").refused(422, "not_taught");
    // It still answers.
    server.ask("/api/narrate", &image, "{}").success();
}

#[test]
fn images_that_are_none_damaged_or_too_large_are_refused_whatever_they_are_called() {
    let small = ["--max-upload-mib", "1", "--max-pixels", "1000000"];
    let (server, image) = (Served::start(&WORKSHOP, "run", &small), image());
    let ask = |bytes: &[u8]| server.ask("/api/narrate", bytes, "{}");
    ask(b"a text that is called image.png").refused(415, "unsupported_image");
    ask(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;").refused(415, "unsupported_image");
    ask(&image[..image.len() / 2]).refused(422, "damaged_image");
    ask(&image[..12]).refused(422, "damaged_image");
    // A bomb: 144 million pixels in less than 1 MiB.
    let bomb = png(12_000, 12_000, 0);
    assert!(bomb.len() < 1 << 20);
    ask(&bomb).refused(413, "too_many_pixels");
    ask(&vec![0; 2 << 20]).refused(413, "too_large");
    // One that does not say how long it is.
    let mut request = server.head(
        "POST",
        "/api/narrate",
        &[("Content-Type", &form_type()), ("Transfer-Encoding", "chunked")],
    );
    for _ in 0..3 {
        request.extend_from_slice(b"80000\r\n");
        request.extend_from_slice(&[b'x'; 0x80000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    server.send(&request).refused(413, "too_large");
    ask(&image).success();
}

#[test]
fn more_than_the_queue_holds_gets_a_503_and_the_others_their_answers() {
    let server = forgetful(&["--queue", "1"]);
    let answers: Vec<Response> = thread::scope(|scope| {
        let ask = || server.ask("/api/narrate", &SLOW, "{}");
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let (answered, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(answered.len() >= 2 && !refused.is_empty(), "{} answered", answered.len());
    for answer in refused {
        assert_eq!(answer.refused(503, "busy").headers["retry-after"], "1");
    }
}

#[test]
fn what_takes_too_long_gets_a_504() {
    let server = forgetful(&["--answer-timeout", "0.05"]);
    server.ask("/api/narrate", &SLOW, "{}").refused(504, "timeout");
    server.ask("/api/narrate/stream", &SLOW, "{}").refused(504, "timeout");
}

#[test]
fn slow_clients_are_given_up_and_hold_nobody_up() {
    let server = Served::start(&WORKSHOP, "run", &["--transfer-timeout", "1"]);
    let body = form(&[("image", &image())]);
    let request = server.posted("/api/narrate", &form_type(), &body);
    let begun = |bytes: &[u8]| -> TcpStream {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        stream
    };
    let silent: Vec<_> = (0..8).map(|_| begun(b"")).collect();
    let in_the_head: Vec<_> = (0..8).map(|_| begun(&request[..40])).collect();
    let in_the_body: Vec<_> = (0..8).map(|_| begun(&request[..request.len() - 5])).collect();
    let asked = Instant::now();
    server.ask("/api/narrate", &image(), "{}").success();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for mut stream in silent.into_iter().chain(in_the_head) {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{:?}", String::from_utf8_lossy(&said));
    }
    for mut stream in in_the_body {
        Response::read(&mut stream).refused(408, "slow_upload");
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[test]
fn one_connection_too_many_gets_a_503() {
    let server = Served::start(&WORKSHOP, "run", &["--connections", "2"]);
    let held: Vec<_> = (0..2).map(|_| server.connect()).collect();
    // They are counted when they are taken, a moment after they are made.
    thread::sleep(Duration::from_millis(200));
    server.get("/healthz").refused(503, "busy");
    drop(held);
    let begun = Instant::now();
    while server.get("/healthz").status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_go_away_are_forgotten() {
    let server = forgetful(&["--queue", "8"]);
    let body = form(&[("image", &SLOW)]);
    for path in ["/api/narrate", "/api/narrate/stream"] {
        let alone = Instant::now();
        assert_eq!(server.ask(path, &SLOW, "{}").status, 200);
        let alone = alone.elapsed();
        for _ in 0..8 {
            let request = server.posted(path, &form_type(), &body);
            server.connect().write_all(&request).unwrap();
        }
        // Were all of them answered, this would take nine times as long as one; it waits for what is
        // being computed, if anything.
        let asked = Instant::now();
        server.ask("/api/narrate", &image(), "{}").success();
        assert!(asked.elapsed() < 5 * alone, "{path}: {:?}, {alone:?} alone", asked.elapsed());
    }
}

#[test]
fn what_was_asked_before_a_termination_signal_is_still_answered() {
    let server = forgetful(&["--shutdown-timeout", "60"]);
    let (id, address) = (Pid::from_raw(server.id() as i32), server.address);
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| server.ask("/api/narrate", &SLOW, "{}"));
        thread::sleep(Duration::from_millis(300));
        kill(id, Signal::SIGTERM).unwrap();
        asked.join().unwrap()
    });
    answer.success();
    assert_eq!(server.ended().code(), Some(0));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn mistakes_on_the_command_line_are_said_with_what_to_do() {
    let server = served();
    let port = server.address.port().to_string();
    let taken = ["serve", "run", "--port", &port];
    WORKSHOP.pixelllm(&taken).failure(2, &["cannot listen at 127.0.0.1", "--port"]);
    let nowhere = ["serve", "run", "--examples", "nowhere", "--port", "0"];
    WORKSHOP.pixelllm(&nowhere).failure(1, &["cannot read nowhere"]);
    for (flag, part) in [("--queue=0", "1..="), ("--answer-timeout=0", "seconds above 0")] {
        WORKSHOP.pixelllm(&["serve", "run", flag]).failure(2, &[part]);
    }
}

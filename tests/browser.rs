//! The page of `serve`, in a real Chromium without a window. Needs one, so it is run by `.ci/run` and on
//! request: `cargo test --test browser -- --ignored`.
//!
//! With `PIXELLLM_SCREENSHOTS=DIR` pictures of the page are left there; with `PIXELLLM_RUN=RUN` they are
//! of that run and not of the smallest one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::browser::Browser;
use common::served::{Served, WORKSHOP, served};

const IMAGE: &str = "world/images/test/000200000001.png";

/// The page of a server, ready for an image.
fn page(server: &Served) -> Browser {
    let mut page = Browser::open(&format!("http://{}/", server.address), 1120, 740);
    page.wait_for("document.body?.dataset.ready");
    page
}

/// Waits until an answer is there and stays: right after an action, the one before may still be shown.
#[track_caller]
fn answered(page: &mut Browser) {
    let shown = "document.querySelector('#downloads:not([hidden])')";
    let mut stays = 0;
    while stays < 3 {
        page.wait_for(shown);
        std::thread::sleep(Duration::from_millis(150));
        stays = if page.evaluate(&format!("Boolean({shown})")) == true { stays + 1 } else { 0 };
    }
}

fn keep(page: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("PIXELLLM_SCREENSHOTS") {
        std::fs::write(PathBuf::from(folder).join(name), page.screenshot()).unwrap();
    }
}

/// No error in the console, and nothing wider than the window.
#[track_caller]
fn is_sound(page: &mut Browser) {
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    let wide = page.evaluate("document.documentElement.scrollWidth > innerWidth");
    assert_eq!(wide, false, "the page is wider than its window");
}

fn drop_image(page: &mut Browser) {
    let bytes = std::fs::read(WORKSHOP.path(IMAGE)).unwrap();
    page.drop_file("shapes.png", "image/png", &bytes);
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn words_of_a_dropped_image_show_their_places_and_places_their_words() {
    let server = served();
    let mut page = page(&server);
    drop_image(&mut page);
    answered(&mut page);
    let words = page.evaluate("document.querySelectorAll('#caption .word').length");
    assert!(words.as_u64() > Some(0));
    assert_eq!(page.evaluate("document.querySelectorAll('#marks rect.box').length"), words);

    page.point_at("#caption .word");
    page.wait_for("document.querySelector('#marks rect.on')");
    assert_eq!(page.evaluate("document.querySelector('#marks rect.on').dataset.key"), "0");
    assert_eq!(page.evaluate("document.querySelectorAll('.word.on').length"), 1);
    assert!(page.text("#note").contains("centre 0."), "{}", page.text("#note"));

    // The same by the keyboard.
    page.evaluate("document.querySelector('#caption .word').focus()");
    page.press("ArrowRight", false);
    page.wait_for("document.querySelector('.word.on')?.dataset.key === '1'");

    // From the picture to the word.
    page.evaluate("document.activeElement.blur()");
    page.point_at("#marks line.center");
    page.wait_for("document.querySelector('.word.on')");
    is_sound(&mut page);
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn a_dragged_box_and_one_that_keys_move_get_a_caption() {
    let server = served();
    let mut page = page(&server);
    drop_image(&mut page);
    answered(&mut page);
    page.click("#tab-describe");
    page.drag("#stage", [0.2, 0.2], [0.7, 0.8]);
    answered(&mut page);
    assert!(!page.text("#caption").trim().is_empty());
    assert!(page.text("#note").starts_with("Box from 20, 20 to 70, 80"), "{}", page.text("#note"));

    page.press("ArrowRight", false);
    page.press("ArrowDown", true);
    page.wait_for(
        "document.querySelector('#note').textContent.startsWith('Box from 22, 20 to 72, 82')",
    );
    answered(&mut page);

    // A point, and one that is off.
    page.evaluate("document.querySelector('input[value=points]').click()");
    page.evaluate("document.querySelector('#stage').focus()");
    page.press("Enter", false);
    page.press("ArrowLeft", false);
    page.press("Enter", true);
    answered(&mut page);
    assert!(page.text("#note").starts_with("Points: 1 on it, 1 off it"), "{}", page.text("#note"));

    page.evaluate("document.querySelector('input[value=trace]').click()");
    page.drag("#stage", [0.1, 0.1], [0.9, 0.5]);
    answered(&mut page);
    assert!(page.text("#note").starts_with("A line of"), "{}", page.text("#note"));
    is_sound(&mut page);
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn an_expression_is_located() {
    let server = served();
    let mut page = page(&server);
    drop_image(&mut page);
    answered(&mut page);
    page.click("#tab-locate");
    page.click("#text");
    page.type_text("the red star");
    page.press("Enter", false);
    answered(&mut page);
    assert_eq!(page.evaluate("document.querySelectorAll('#marks rect.region').length"), 1);
    assert!(page.text("#facts").contains("in pixels"), "{}", page.text("#facts"));
    is_sound(&mut page);
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn mistakes_are_said_in_the_page() {
    let server = served();
    let mut page = page(&server);
    page.click("#narrate button");
    page.wait_for("document.querySelector('#error:not([hidden])')");
    assert!(page.text("#error").contains("There is no image yet."));
    page.drop_file("notes.png", "image/png", b"this is a text");
    page.wait_for("document.querySelector('#error').textContent.includes('notes.png')");
    assert!(page.text("#error").contains("is not an image"), "{}", page.text("#error"));
    is_sound(&mut page);

    // An error of the server: it has no words to look for.
    drop_image(&mut page);
    answered(&mut page);
    assert_eq!(page.evaluate("document.querySelector('#error').hidden"), true);
    page.click("#tab-locate");
    page.click("#text");
    page.type_text("?!");
    page.press("Enter", false);
    page.wait_for("document.querySelector('#error').textContent.includes('has no words')");
    drop(server);
    page.click("#locate button");
    page.wait_for("document.querySelector('#error').textContent.includes('cannot be reached')");
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn answers_are_saved_as_json_and_as_a_picture() {
    let server = served();
    let mut page = page(&server);
    drop_image(&mut page);
    answered(&mut page);
    // What would be saved, in place of a file.
    page.evaluate(
        "window.saved = []; const make = URL.createObjectURL; let last;
        URL.createObjectURL = (blob) => { last = blob; return make.call(URL, blob); };
        HTMLAnchorElement.prototype.click = function () {
            window.saved.push(last.arrayBuffer().then((bytes) =>
                ({name: this.download, text: new TextDecoder('latin1').decode(bytes)})));
        };",
    );
    page.click("#save-json");
    page.click("#save-png");
    page.wait_for("saved.length === 2");
    let saved = page.evaluate("Promise.all(saved)");
    assert_eq!(saved[0]["name"], "shapes-narrate.json");
    let json: serde_json::Value = serde_json::from_str(saved[0]["text"].as_str().unwrap()).unwrap();
    assert!(json["result"]["words"].is_array(), "{json}");
    assert_eq!(saved[1]["name"], "shapes-narrate.png");
    // The first byte of a PNG, 0x89, is this character.
    assert!(saved[1]["text"].as_str().unwrap().starts_with("‰PNG"));
    is_sound(&mut page);
}

#[test]
#[ignore = "needs Chromium; run by .ci/run"]
fn the_page_fits_a_telephone_and_has_examples() {
    let server = served();
    let mut page = page(&server);
    for (width, height, dark, name) in [(1120, 740, false, "desktop"), (360, 780, true, "phone")] {
        page.resize(width, height, dark);
        page.click("#examples button:nth-child(1)");
        page.click("#tab-narrate");
        answered(&mut page);
        page.point_at("#caption .word:nth-child(9)");
        keep(&mut page, &format!("server-narrate-{name}.png"));
        is_sound(&mut page);
        page.evaluate("scrollTo(0, 0)");
        page.click("#tab-describe");
        page.drag("#stage", [0.16, 0.55], [0.42, 0.97]);
        answered(&mut page);
        keep(&mut page, &format!("server-describe-{name}.png"));
        is_sound(&mut page);
    }
}

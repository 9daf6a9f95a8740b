use super::*;
use crate::tasks::LocatedWord;

fn grey(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([90, 90, 90]))
}

fn narrated(words: &[(&str, [f32; 4])]) -> Narration {
    let words: Vec<_> = words
        .iter()
        .map(|(text, [x0, y0, x1, y1])| {
            LocatedWord::new((*text).into(), BoundingBox::new(*x0, *y0, *x1, *y1), -0.1)
        })
        .collect();
    let caption = words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
    Narration { caption, words, tokens: vec![], token_log_probs: vec![], score: -0.1 }
}

#[test]
fn a_small_image_is_enlarged_and_its_words_stand_below() {
    let drawn = narration(&grey(96, 48), &narrated(&[("a", [0.1, 0.1, 0.4, 0.9])])).unwrap();
    assert_eq!(drawn.width(), 512);
    assert!(drawn.height() > 256 + 20);
    assert_eq!(*drawn.get_pixel(500, drawn.height() - 1), PANEL.rgb());
    let bare = narration(&grey(96, 48), &narrated(&[])).unwrap();
    assert_eq!(bare.dimensions(), (512, 256));
}

#[test]
fn each_box_has_its_words_colour_at_its_edge_and_centre() {
    let two = narrated(&[("left", [0.1, 0.1, 0.4, 0.4]), ("right", [0.6, 0.6, 0.9, 0.9])]);
    let drawn = narration(&grey(512, 512), &two).unwrap();
    let at = |x: f32, y: f32| *drawn.get_pixel((x * 512.0) as u32, (y * 512.0) as u32);
    assert_eq!(at(0.1, 0.2), palette::word(0, 2).rgb());
    assert_eq!(at(0.25, 0.25), palette::word(0, 2).rgb());
    assert_eq!(at(0.9, 0.8), palette::word(1, 2).rgb());
    assert_eq!(at(0.05, 0.5), Rgb([90, 90, 90]));
}

#[test]
fn words_are_written_in_their_colour() {
    let two = narrated(&[("mmmm", [0.1, 0.1, 0.4, 0.4]), ("wwww", [0.6, 0.6, 0.9, 0.9])]);
    let drawn = narration(&grey(512, 64), &two).unwrap();
    let inked = |color: Color| {
        (64..drawn.height())
            .flat_map(|y| (0..512).map(move |x| (x, y)))
            .filter(|(x, y)| *drawn.get_pixel(*x, *y) == color.rgb())
            .count()
    };
    assert!(inked(palette::word(0, 2)) > 20);
    assert!(inked(palette::word(1, 2)) > 20);
    assert_eq!(inked(palette::at(0.5)), 0);
}

#[test]
fn boxes_outside_and_broken_boxes_draw_without_harm() {
    let odd = narrated(&[
        ("far", [3.0, 3.0, 4.0, 4.0]),
        ("broken", [f32::NAN, 0.0, 1.0, 1.0]),
        ("inverted", [0.9, 0.9, 0.1, 0.1]),
    ]);
    let drawn = narration(&grey(64, 64), &odd).unwrap();
    assert_eq!(*drawn.get_pixel(511, 511), palette::word(0, 3).rgb());
    narration_svg(&grey(64, 64), &odd).unwrap();
}

#[test]
fn a_hundred_words_make_a_taller_panel_than_one() {
    let many: Vec<_> = (0..100).map(|i| ("caption", [0.01 * i as f32, 0.2, 0.5, 0.5])).collect();
    let many = narration(&grey(64, 64), &narrated(&many)).unwrap();
    let one = narration(&grey(64, 64), &narrated(&[("caption", [0.1, 0.2, 0.5, 0.5])])).unwrap();
    assert!(many.height() > one.height() + 100);
}

#[test]
fn the_annotated_box_is_dashed_and_the_answer_solid() {
    let answer = Location::new("the red square".into(), BoundingBox::new(0.1, 0.1, 0.5, 0.5));
    let reference = BoundingBox::new(0.3, 0.3, 0.9, 0.9);
    let drawn = location(&grey(512, 512), &answer, Some(reference)).unwrap();
    let along = |x: f32, color: Color| {
        (300..450).filter(|y| *drawn.get_pixel((x * 512.0) as u32, *y) == color.rgb()).count()
    };
    let dashes = along(0.9, palette::REFERENCE);
    assert!((50..120).contains(&dashes), "{dashes}");
    let left = (60..250).filter(|y| *drawn.get_pixel(51, *y) == palette::ANSWER.rgb()).count();
    assert_eq!(left, 190);
}

#[test]
fn hostile_text_stays_text() {
    let hostile = Description {
        region: BoundingBox::UNIT,
        caption: "</text><script>alert('1')</script> & \"quotes\" \u{0}\u{b}".into(),
        words: vec![],
        tokens: vec![],
        token_log_probs: vec![],
        score: 0.0,
    };
    let svg = description_svg(&grey(32, 32), &hostile).unwrap();
    assert!(!svg.contains("<script"), "{svg}");
    assert!(svg.contains("&lt;script&gt;"));
    description(&grey(32, 32), &hostile).unwrap();
}

#[test]
fn an_image_without_pixels_is_refused() {
    let error = narration(&grey(0, 5), &narrated(&[])).unwrap_err();
    assert!(error.to_string().contains("0×5"), "{error}");
}

#[test]
fn a_thin_image_keeps_room_for_words() {
    let drawn = narration(&grey(2, 200), &narrated(&[("tall", [0.0, 0.0, 1.0, 0.5])])).unwrap();
    assert_eq!(drawn.width(), SMALLEST_WIDTH_PX);
}

//! Held-out images with what was said about them. A text and its marks on the picture share a
//! `data-key`, by which `page.js` lights them up together.

use maud::{Markup, PreEscaped, html};

use super::canvas::{Canvas, printable};
use super::data_uri::page_data_uri;
use super::palette::{self, Color};
use super::{Described, Detected, GalleryItem, Located};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::tasks::{LocatedWord, Narration};

/// Width of a picture in the units of its marks; the screen decides how large it is shown.
const WIDTH: f32 = 1000.0;
/// Keeps outlines whole at the border.
const INSET: f32 = 3.0;
/// Radius of a centre.
const RADIUS: f32 = 9.0;

/// The section with every image.
pub(super) fn gallery(items: &[GalleryItem]) -> Result<Markup> {
    let items = items.iter().map(item).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        section {
            h2 { "Where the words are" }
            @if items.is_empty() { p.quiet { "No held-out images were kept for this page." } }
            @else {
                (hint())
                @for item in &items { (item) }
            }
        }
    })
}

/// How the items are used.
pub(super) fn hint() -> Markup {
    html! {
        p.quiet {
            "Point at a word, or reach it with the Tab and arrow keys, to see the box and the "
            "point that the model gave it; point at the picture to find the word. Colours "
            "run from the first word to the last."
        }
    }
}

/// An image with what was said about it.
pub(super) fn item(item: &GalleryItem) -> Result<Markup> {
    Ok(html! {
        article.item {
            h3 { (printable(&item.name)) " " small { (printable(&item.split)) } }
            div.columns {
                figure.picture {
                    (picture(item)?)
                    figcaption.note aria-live="polite" { "\u{a0}" }
                }
                div.texts {
                    @if let Some(narration) = &item.narration {
                        (narration_texts(narration, item.reference_narration.as_deref()))
                    }
                    @if !item.descriptions.is_empty() { (description_texts(&item.descriptions)) }
                    @if !item.locations.is_empty() { (location_texts(&item.locations)) }
                    @if let Some(detected) = &item.detections { (detection_texts(detected)) }
                }
            }
        }
    })
}

fn picture(item: &GalleryItem) -> Result<Markup> {
    let (width, height) = (item.image.width() as f32, item.image.height() as f32);
    let uri = page_data_uri(&item.image)?;
    let canvas = Canvas { width: WIDTH, height: (WIDTH * height / width).round(), inset: INSET };
    // Boxes of regions would hide a trace: they are seen when they are asked for.
    let has_trace = item.narration.as_ref().is_some_and(|n| !n.words.is_empty());
    Ok(html! {
        svg.has-trace[has_trace] viewBox={ "0 0 " (canvas.width) " " (canvas.height) } role="img"
            aria-label={ "Image " (printable(&item.name)) } {
            image width=(canvas.width) height=(canvas.height) href=(uri)
                preserveAspectRatio="none" {}
            g.marks {
                @if let Some(narration) = &item.narration { (trace(&canvas, &narration.words)) }
                (regions(&canvas, item))
            }
        }
    })
}

fn trace(canvas: &Canvas, words: &[LocatedWord]) -> Markup {
    let count = words.len();
    let last = count.saturating_sub(1).max(1) as f64;
    let centers: Vec<_> = words
        .iter()
        .enumerate()
        .filter_map(|(i, word)| Some((i, canvas.center(word.bounds)?)))
        .collect();
    html! {
        @for (i, word) in words.iter().enumerate() {
            (mark(canvas, "box", &format!("w{i}"), word.bounds, palette::word(i, count)))
        }
        @for pair in centers.windows(2) {
            @if let [(i, from), (j, to)] = pair {
                line.trace x1=(from.x) y1=(from.y) x2=(to.x) y2=(to.y)
                    stroke=(palette::at((i + j) as f64 / 2.0 / last)) {}
            }
        }
        @for (i, center) in &centers {
            circle.center data-key={ "w" (i) } cx=(center.x) cy=(center.y) r=(RADIUS)
                fill=(palette::word(*i, count)) {}
        }
    }
}

fn regions(canvas: &Canvas, item: &GalleryItem) -> Markup {
    html! {
        @for (i, described) in item.descriptions.iter().enumerate() {
            (mark(canvas, "region", &format!("d{i}"), described.description.region, palette::ANSWER))
        }
        @for (i, located) in item.locations.iter().enumerate() {
            @if let Some(reference) = located.reference {
                (mark(canvas, "region reference", &format!("l{i}"), reference, palette::REFERENCE))
            }
            (mark(canvas, "region", &format!("l{i}"), located.location.bounds, palette::ANSWER))
        }
        @if let Some(detected) = &item.detections {
            @for (i, one) in detected.found.iter().enumerate() {
                (mark(canvas, "region", &format!("f{i}"), one.bounds, palette::ANSWER))
            }
            @for (i, (bounds, _)) in detected.annotated.iter().enumerate() {
                (mark(canvas, "region reference", &format!("t{i}"), *bounds, palette::REFERENCE))
            }
        }
    }
}

fn mark(canvas: &Canvas, class: &str, key: &str, bounds: BoundingBox, color: Color) -> Markup {
    let Some(b) = canvas.outline(bounds) else { return PreEscaped(String::new()) };
    html! {
        rect class=(class) data-key=(key) x=(b.x0) y=(b.y0) width=(b.width()) height=(b.height())
            stroke=(color) {}
    }
}

fn narration_texts(narration: &Narration, reference: Option<&str>) -> Markup {
    let count = narration.words.len();
    html! {
        section {
            h4 {
                "narrate "
                @if count > 1 { button.play type="button" hidden { "follow the words" } }
            }
            @if count == 0 { p.quiet { "The model said nothing." } }
            p.caption {
                @for (i, word) in narration.words.iter().enumerate() {
                    span.word tabindex="0" data-key={ "w" (i) }
                        style={ "--c:" (palette::word(i, count)) } data-note=(word_note(word)) {
                        (printable(&word.text))
                    }
                    " "
                }
            }
            (annotated(reference))
        }
    }
}

fn word_note(word: &LocatedWord) -> String {
    let center = word.bounds.center();
    let place = if center.x.is_finite() && center.y.is_finite() {
        format!("centre {:.2}, {:.2}", center.x, center.y)
    } else {
        "no place: its coordinates are not finite".into()
    };
    format!("{} · {place} · probability {:.2}", printable(&word.text), word.log_prob.exp())
}

fn description_texts(descriptions: &[Described]) -> Markup {
    html! {
        section {
            h4 { "describe" }
            ul.answers {
                @for (i, described) in descriptions.iter().enumerate() {
                    li tabindex="0" data-key={ "d" (i) } data-note={
                        "the region that was asked about · log-probability a word "
                        (format!("{:.2}", described.description.score))
                    } {
                        p { (printable(&described.description.caption)) }
                        (annotated(described.reference.as_deref()))
                    }
                }
            }
        }
    }
}

fn location_texts(locations: &[Located]) -> Markup {
    html! {
        section {
            h4 { "locate" }
            ul.answers {
                @for (i, located) in locations.iter().enumerate() {
                    li tabindex="0" data-key={ "l" (i) } data-note=(location_note(located)) {
                        p {
                            (printable(&located.location.expression))
                            @if let Some(reference) = located.reference {
                                " " span.quiet.number {
                                    "IoU " (format!("{:.2}", located.location.bounds.iou(reference)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn detection_texts(detected: &Detected) -> Markup {
    html! {
        section {
            h4 { "detect" }
            @if detected.found.is_empty() { p.quiet { "The model found nothing." } }
            ul.answers {
                @for (i, one) in detected.found.iter().enumerate() {
                    li tabindex="0" data-key={ "f" (i) } data-note={
                        "found · score " (format!("{:.2}", one.score))
                        " · log-probability a word " (format!("{:.2}", one.log_prob))
                    } {
                        p {
                            (printable(&one.caption)) " "
                            span.quiet.number { (format!("{:.2}", one.score)) }
                        }
                    }
                }
                @for (i, (_, caption)) in detected.annotated.iter().enumerate() {
                    li tabindex="0" data-key={ "t" (i) } data-note="annotated" {
                        (annotated(Some(caption)))
                    }
                }
            }
        }
    }
}

fn location_note(located: &Located) -> &'static str {
    if located.reference.is_some() {
        "solid: the model's box; dashed: the annotated one"
    } else {
        "the model's box"
    }
}

fn annotated(reference: Option<&str>) -> Markup {
    html! {
        @if let Some(reference) = reference {
            p.reference { span { "annotated" } " " (printable(reference)) }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report::example;

    fn rendered(item: &GalleryItem) -> String {
        super::item(item).unwrap().into_string()
    }

    #[test]
    fn a_word_has_a_box_and_a_centre_of_its_key() {
        let report = example::report();
        let html = rendered(&report.gallery[0]);
        for key in ["w0", "w1"] {
            let keyed = format!("data-key=\"{key}\"");
            assert_eq!(html.matches(&keyed).count(), 3, "{key}");
            assert!(html.contains(&format!("<rect class=\"box\" {keyed}")));
            assert!(html.contains(&format!("<circle class=\"center\" {keyed}")));
        }
        let words = report.gallery[0].narration.as_ref().unwrap().words.len();
        assert_eq!(html.matches("<line class=\"trace\"").count(), words - 1);
    }

    #[test]
    fn a_location_has_both_boxes_and_their_iou() {
        let mut item = example::report().gallery.remove(0);
        item.locations.truncate(1);
        item.locations[0].location.bounds = BoundingBox::new(0.0, 0.0, 0.5, 0.5);
        item.locations[0].reference = Some(BoundingBox::new(0.25, 0.0, 0.75, 0.5));
        let html = rendered(&item);
        assert!(html.contains("IoU 0.33"));
        assert_eq!(html.matches("<rect class=\"region reference\" data-key=\"l0\"").count(), 1);
        assert_eq!(html.matches("<rect class=\"region\" data-key=\"l0\"").count(), 1);
    }

    #[test]
    fn captions_of_no_one_and_a_hundred_words_are_shown() {
        let mut item = example::report().gallery.remove(0);
        let word = item.narration.as_ref().unwrap().words[0].clone();
        for count in [0, 1, 100] {
            item.narration.as_mut().unwrap().words = vec![word.clone(); count];
            let html = rendered(&item);
            assert_eq!(html.matches("<span class=\"word\"").count(), count);
            assert_eq!(html.matches("<line class=\"trace\"").count(), count.saturating_sub(1));
            assert_eq!(html.contains("said nothing"), count == 0);
        }
    }

    #[test]
    fn a_word_without_a_place_is_written_and_not_drawn() {
        let mut item = example::report().gallery.remove(0);
        let words = &mut item.narration.as_mut().unwrap().words;
        words[1].bounds.x0 = f32::NAN;
        let count = words.len();
        let html = rendered(&item);
        assert_eq!(html.matches("data-key=\"w1\"").count(), 1);
        assert!(html.contains("no place") && !html.contains("NaN"));
        assert_eq!(html.matches("<line class=\"trace\"").count(), count - 2);
    }
}

//! Text on pictures. There may be no font on the machine, so one comes along: DejaVu Sans 2.37
//! (Bitstream Vera licence, free to embed; crate `dejavu`).

use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb;

use super::canvas::{printable, tenth};
use super::palette::Color;

/// For `font-family`: the font that came along, then what a browser may have.
pub(super) const FONT_FAMILY: &str = "'DejaVu Sans', Verdana, sans-serif";
/// From one line to the next, in font sizes.
pub(super) const LINE_HEIGHT: f32 = 1.45;
/// Width of a character that the font cannot be asked about, in font sizes: the average of its
/// lower-case letters.
const AVERAGE_ADVANCE: f32 = 0.58;

/// The fonts that a picture is drawn with: only our own, so that it looks the same everywhere.
pub(super) static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_source(fontdb::Source::Binary(Arc::new(dejavu::sans::regular())));
    Arc::new(fonts)
});

static FACE: LazyLock<Option<ttf_parser::Face<'static>>> =
    LazyLock::new(|| ttf_parser::Face::parse(dejavu::sans::regular(), 0).ok());

/// A piece of text with its colour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ColoredText {
    pub(super) text: String,
    pub(super) color: Color,
}

/// A piece of text and where its baseline begins, from the top left of the paragraph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlacedText {
    pub(super) text: String,
    pub(super) color: Color,
    pub(super) x: f32,
    pub(super) y: f32,
}

/// Words set in lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Paragraph {
    pub(super) words: Vec<PlacedText>,
    pub(super) height: f32,
}

/// Sets words in lines of at most `width`, one space apart; a word wider than a line is broken.
pub(super) fn paragraph(words: &[ColoredText], size: f32, width: f32) -> Paragraph {
    let space = text_width(" ", size);
    let mut placed = Vec::with_capacity(words.len());
    let (mut x, mut line) = (0.0_f32, 0);
    for word in words {
        for piece in pieces(&printable(&word.text), size, width) {
            let advance = text_width(&piece, size);
            if x > 0.0 && x + advance > width {
                line += 1;
                x = 0.0;
            }
            // The first baseline is one font size down.
            let y = size + line as f32 * size * LINE_HEIGHT;
            placed.push(PlacedText { text: piece, color: word.color, x: tenth(x), y: tenth(y) });
            x += advance + space;
        }
    }
    let lines = if placed.is_empty() { 0 } else { line + 1 };
    Paragraph { words: placed, height: lines as f32 * size * LINE_HEIGHT }
}

/// Width of a text on one line.
pub(super) fn text_width(text: &str, size: f32) -> f32 {
    text.chars().map(|c| advance(c) * size).sum()
}

/// Width of a character in font sizes.
fn advance(character: char) -> f32 {
    FACE.as_ref()
        .and_then(|face| {
            let glyph = face.glyph_index(character)?;
            let advance = face.glyph_hor_advance(glyph)?;
            Some(f32::from(advance) / f32::from(face.units_per_em()))
        })
        .unwrap_or(AVERAGE_ADVANCE)
}

/// A word, cut where it would be wider than a line.
fn pieces(word: &str, size: f32, width: f32) -> Vec<String> {
    let mut pieces = Vec::new();
    let (mut piece, mut used) = (String::new(), 0.0);
    for character in word.chars() {
        let advance = advance(character) * size;
        if !piece.is_empty() && used + advance > width {
            pieces.push(std::mem::take(&mut piece));
            used = 0.0;
        }
        piece.push(character);
        used += advance;
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<ColoredText> {
        let color = Color([1, 2, 3]);
        text.split(' ').map(|w| ColoredText { text: w.into(), color }).collect()
    }

    #[test]
    fn the_embedded_font_is_the_one_that_is_named() {
        let families: Vec<_> =
            FONTS.faces().flat_map(|f| f.families.iter().map(|(name, _)| name.clone())).collect();
        assert_eq!(families, ["DejaVu Sans"]);
        // DejaVu Sans: an `i` advances 569 of 2048 units, an `m` 1995.
        assert!((text_width("i", 2048.0) - 569.0).abs() < 0.5);
        assert!((text_width("m", 2048.0) - 1995.0).abs() < 0.5);
    }

    #[test]
    fn words_flow_into_lines_that_fit() {
        let set = paragraph(&words(&["word"; 100].join(" ")), 16.0, 300.0);
        assert_eq!(set.words.len(), 100);
        assert!(set.words.iter().all(|w| w.x + text_width(&w.text, 16.0) <= 300.0));
        let lines = (set.height / (16.0 * LINE_HEIGHT)).round();
        assert!((10.0..30.0).contains(&lines), "{lines}");
        assert!(set.words.windows(2).all(|w| w[1].y > w[0].y || w[1].x > w[0].x));
    }

    #[test]
    fn a_word_wider_than_the_line_is_broken_without_losing_a_letter() {
        let long = "w".repeat(90);
        let set = paragraph(&words(&long), 16.0, 200.0);
        assert!(set.words.len() > 1);
        assert_eq!(set.words.iter().map(|w| w.text.as_str()).collect::<String>(), long);
    }

    #[test]
    fn no_words_take_no_room() {
        assert_eq!(paragraph(&[], 16.0, 200.0).height, 0.0);
    }
}

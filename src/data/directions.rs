//! Left and right in English texts, for images that are mirrored.

use std::ops::Range;

use super::sample::Row;

/// Words that swap when an image is mirrored, each beside its mirror image. Whole words only: "right" is
/// swapped where it means "just" ("right behind") too, which no word says by itself.
const MIRRORED: [(&str, &str); 6] = [
    ("left", "right"),
    ("leftmost", "rightmost"),
    ("lefthand", "righthand"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("lefts", "rights"),
];

/// Whether a text says left or right.
pub fn says_side(text: &str) -> bool {
    words(text).any(|word| mirror(&text[word]).is_some())
}

/// The text about the mirrored image.
pub fn mirrored_text(text: &str) -> String {
    Swaps::of(text).text
}

/// The row about the mirrored image: its text swapped, and the bytes of its utterances moved along.
/// Places stay: they are mirrored with the image.
pub fn mirrored_row(row: &Row) -> Row {
    let Swaps { text, moves } = Swaps::of(&row.text);
    let question = row.question.as_deref().map(mirrored_text);
    let mut row = Row { text, question, ..row.clone() };
    for location in &mut row.locations {
        if let Some(span) = &mut location.span {
            *span = moved(&moves, span.start)..moved(&moves, span.end);
        }
    }
    row
}

/// A text after its swaps.
struct Swaps {
    text: String,
    /// The bytes of each swapped word before, and where the word after it ends.
    moves: Vec<(Range<usize>, usize)>,
}

impl Swaps {
    fn of(text: &str) -> Self {
        let mut swapped = String::with_capacity(text.len());
        let (mut moves, mut from) = (Vec::new(), 0);
        for word in words(text) {
            let Some(mirror) = mirror(&text[word.clone()]) else { continue };
            swapped.push_str(&text[from..word.start]);
            swapped.push_str(&in_case_of(&text[word.clone()], mirror));
            from = word.end;
            moves.push((word, swapped.len()));
        }
        swapped.push_str(&text[from..]);
        Self { text: swapped, moves }
    }
}

/// Where byte `at` of the text is after the swaps. One inside a swapped word goes to the word's end.
fn moved(moves: &[(Range<usize>, usize)], at: usize) -> usize {
    let before = moves.iter().rev().find(|(word, _)| word.start < at);
    before.map_or(at, |(word, end)| end + at.saturating_sub(word.end))
}

/// The bytes of the words: runs of letters.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = &text[from..];
        let start = from + rest.find(char::is_alphabetic)?;
        let length = text[start..].find(|c: char| !c.is_alphabetic());
        from = length.map_or(text.len(), |length| start + length);
        Some(start..from)
    })
}

fn mirror(word: &str) -> Option<&'static str> {
    MIRRORED.iter().find_map(|(left, right)| {
        match (word.eq_ignore_ascii_case(left), word.eq_ignore_ascii_case(right)) {
            (true, _) => Some(*right),
            (_, true) => Some(*left),
            _ => None,
        }
    })
}

/// `word` in capitals where `like` is in capitals, or begins with one where `like` does.
fn in_case_of(like: &str, word: &str) -> String {
    let is_capital = |c: char| c.is_ascii_uppercase();
    if like.chars().all(is_capital) {
        return word.to_ascii_uppercase();
    }
    let mut word = word.to_string();
    if like.starts_with(is_capital)
        && let Some(first) = word.get_mut(..1)
    {
        first.make_ascii_uppercase();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sample::LocatedSpan;
    use crate::geometry::BoundingBox;

    #[test]
    fn whole_words_are_swapped_in_their_case() {
        for (text, expected) in [
            ("The man on the left", "The man on the right"),
            ("Right-hand side, LEFT of the rightmost", "Left-hand side, RIGHT of the leftmost"),
            ("bright leftovers", "bright leftovers"),
            ("left,right", "right,left"),
            ("à left", "à right"),
        ] {
            assert_eq!(mirrored_text(text), expected);
            assert_eq!(mirrored_text(expected), text);
            assert_eq!(says_side(text), text != expected, "{text}");
        }
    }

    #[test]
    fn utterances_keep_their_words() {
        let text = "a dog left of a cat, right";
        let spans = [0..10, 11..19, 19..26];
        let location = |span: Range<usize>| LocatedSpan::new(Some(span), BoundingBox::UNIT);
        let locations = spans.map(location).to_vec();
        let row = mirrored_row(&Row { locations, ..Row::of_image(text) });
        assert_eq!(row.text, "a dog right of a cat, left");
        let said: Vec<_> =
            row.locations.iter().filter_map(|l| Some(&row.text[l.span.clone()?])).collect();
        assert_eq!(said, ["a dog right", "of a cat", ", left"]);
    }
}

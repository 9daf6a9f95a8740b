//! Where a caption says something.

use std::ops::Range;

/// The first place at or after byte `from` where the caption has `text`, not inside a word.
/// Transcripts may differ from captions in the case of ASCII letters.
pub(super) fn find(caption: &str, text: &str, from: usize) -> Option<Range<usize>> {
    let first_word_break = |caption: &str, text: &str| {
        let rest = caption.get(from..)?;
        let mut matches = rest.match_indices(text).map(|(at, _)| from + at..from + at + text.len());
        matches.find(|span| !cuts_a_word(caption, span))
    };
    if text.is_empty() {
        return None;
    }
    first_word_break(caption, text)
        .or_else(|| first_word_break(&caption.to_ascii_lowercase(), &text.to_ascii_lowercase()))
}

/// Whether a word goes on across an end of the span.
fn cuts_a_word(text: &str, span: &Range<usize>) -> bool {
    let goes_on = |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at..].chars().next();
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
    };
    goes_on(span.start) || goes_on(span.end)
}

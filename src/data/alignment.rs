//! Which place in the image each token is about: utterances with a trace → one box per token.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sample::LocatedSpan;
use crate::geometry::BoundingBox;

/// How tokens find their utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// By text: the utterance that shares most bytes with the token.
    #[default]
    Offsets,
    /// By order: the `n`-th of `N` tokens takes the utterance as far along as itself, whatever the
    /// texts are. The reference does so (`spec/data.md` §2.4).
    Rank,
}

impl Alignment {
    /// One box per token, in the unit of `locations`; `None` where nothing was said there.
    ///
    /// `offsets`: the bytes of the text that each token stands for; `None` for special tokens,
    /// which get no box and do not count.
    pub fn align(
        self,
        locations: &[LocatedSpan],
        offsets: &[Option<Range<usize>>],
    ) -> Vec<Option<BoundingBox>> {
        let num_words = offsets.iter().flatten().count();
        let mut seen = 0;
        offsets
            .iter()
            .map(|token| {
                let token = token.as_ref()?;
                seen += 1;
                let location = match self {
                    Self::Offsets => most_overlapping(locations, token),
                    Self::Rank => {
                        same_rank(seen, num_words, locations.len()).map(|k| &locations[k])
                    }
                };
                location.map(|location| location.bounds)
            })
            .collect()
    }
}

/// The location that shares most bytes with `token`, the first among equals.
fn most_overlapping<'a>(
    locations: &'a [LocatedSpan],
    token: &Range<usize>,
) -> Option<&'a LocatedSpan> {
    let mut best = (0, None);
    for location in locations {
        let Some(span) = &location.span else { continue };
        let overlap = span.end.min(token.end).saturating_sub(span.start.max(token.start));
        if overlap > best.0 {
            best = (overlap, Some(location));
        }
    }
    best.1
}

/// The utterance (from 0) of token `n` (from 1) of `num_tokens`: the one whose place in the order is
/// nearest to the token's, the first among equals. Places as the reference computes them, in 64 bits:
/// where a token stands halfway between two utterances, rounding decides.
fn same_rank(n: usize, num_tokens: usize, num_utterances: usize) -> Option<usize> {
    let first = 1.0 / num_utterances as f64;
    let place = first + n as f64 / num_tokens as f64 * (1.0 - first);
    let distance = |k: usize| ((k + 1) as f64 / num_utterances as f64 - place).abs();
    (0..num_utterances).reduce(|best, k| if distance(k) < distance(best) { k } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Utterance `k` (from 1) has a box that begins at x = k.
    fn located(spans: &[Option<Range<usize>>]) -> Vec<LocatedSpan> {
        let bounds = |k: usize| BoundingBox::new(k as f32, 0.0, k as f32 + 1.0, 1.0);
        spans
            .iter()
            .enumerate()
            .map(|(k, span)| LocatedSpan::new(span.clone(), bounds(k + 1)))
            .collect()
    }

    fn utterances(aligned: &[Option<BoundingBox>]) -> Vec<Option<usize>> {
        aligned.iter().map(|bounds| bounds.map(|bounds| bounds.x0 as usize)).collect()
    }

    /// `num_tokens` tokens of one byte between a begin and an end.
    fn tokens(num_tokens: usize) -> Vec<Option<Range<usize>>> {
        let words = (0..num_tokens).map(|start| Some(start..start + 1));
        std::iter::once(None).chain(words).chain([None]).collect()
    }

    fn ranks(num_tokens: usize, num_utterances: usize) -> Vec<Option<usize>> {
        let aligned =
            Alignment::Rank.align(&located(&vec![None; num_utterances]), &tokens(num_tokens));
        let (first, last) = (aligned[0], aligned[num_tokens + 1]);
        assert_eq!((first, last), (None, None), "special tokens have no place");
        utterances(&aligned[1..=num_tokens])
    }

    #[test]
    fn rank_takes_the_utterance_as_far_along() {
        assert_eq!(ranks(5, 3), [1, 2, 2, 3, 3].map(Some));
        assert_eq!(ranks(3, 6), [3, 4, 6].map(Some));
        assert_eq!(ranks(3, 1), [1, 1, 1].map(Some));
        // 1 + (1/2)(2 − 1) = 1.5: the tie goes down.
        assert_eq!(ranks(2, 2), [1, 2].map(Some));
        // 1 + (1/2)(4 − 1) = 2.5: the same, but 1/4 + (1/2)(3/4) and 2/4, 3/4 are exact.
        assert_eq!(ranks(2, 4), [2, 4].map(Some));
    }

    #[test]
    fn nothing_said_or_nothing_written_is_no_place() {
        assert_eq!(ranks(3, 0), [None; 3]);
        assert!(ranks(0, 3).is_empty());
        assert_eq!(Alignment::Rank.align(&located(&[None]), &[]), []);
        assert_eq!(Alignment::Offsets.align(&[], &tokens(2)), [None; 4]);
    }

    #[test]
    fn offsets_take_the_utterance_with_most_of_the_token() {
        // "a red" 0..5, not in the text, " circle" 5..12 and a repeat of 0..5 that comes too late.
        let locations = located(&[Some(0..5), None, Some(5..12), Some(0..5)]);
        let tokens = [None, Some(0..1), Some(2..6), Some(4..8), Some(12..14), Some(3..3), None];
        let aligned = Alignment::Offsets.align(&locations, &tokens);
        assert_eq!(utterances(&aligned), [None, Some(1), Some(1), Some(3), None, None, None]);
    }

    #[test]
    fn offsets_and_rank_differ_where_utterances_are_uneven() {
        // One word, then three: by text the second word belongs to the second utterance.
        let locations = located(&[Some(0..1), Some(1..4)]);
        let by_text = Alignment::Offsets.align(&locations, &tokens(4));
        let by_rank = Alignment::Rank.align(&locations, &tokens(4));
        assert_eq!(utterances(&by_text[1..5]), [1, 2, 2, 2].map(Some));
        assert_eq!(utterances(&by_rank[1..5]), [1, 1, 2, 2].map(Some));
    }
}

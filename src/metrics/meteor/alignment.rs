//! Which words of a caption are said to be which words of a reference: a beam search from the first word of
//! the reference to the last (Denkowski and Lavie, 2011 and 2014).
//!
//! Of alignments in which no word is matched twice, the best has, in this order: most words matched; fewest
//! *chunks*, which are runs of matches that are neighbours in both; and least distance between the
//! positions of what is matched, in a sense of its own ([`Search::advance`]). "Most words" weighs a match by
//! its module and drops the fraction: a single stem, synonym or paraphrase counts nothing, and is chosen
//! only where it makes no chunk of its own, unless nothing else competes for its words.
//!
//! The search was designed from what is published and from knowledge of how METEOR works, and then confirmed
//! by giving METEOR 1.5 short texts and looking at its alignments.

use std::cmp::Reverse;

/// How many alignments are kept at each word: METEOR's.
const BEAM_SIZE: usize = 40;

/// Words of the reference that may be words of the candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Match {
    /// Which module found it: 0 exact, 1 stem, 2 synonym, 3 paraphrase.
    pub(super) module: usize,
    /// First word in the reference.
    pub(super) reference: usize,
    /// How many words there.
    pub(super) reference_length: usize,
    /// First word in the candidate.
    pub(super) candidate: usize,
    /// How many words there.
    pub(super) candidate_length: usize,
}

/// All matches of two texts, a list for every word of the reference, of those that begin there.
#[derive(Debug, Default)]
pub(super) struct Matches {
    all: Vec<Match>,
    /// Where the list of each word ends.
    ends: Vec<usize>,
}

impl Matches {
    /// Forgets all, for another reference.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }

    /// Adds a match to the list of the word that is under way.
    pub(super) fn add(&mut self, one: Match) {
        self.all.push(one);
    }

    /// The list of a word is whole; the next begins.
    pub(super) fn end_word(&mut self) {
        self.ends.push(self.all.len());
    }

    fn reference_length(&self) -> usize {
        self.ends.len()
    }

    fn of_word(&self, at: usize) -> &[Match] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start..self.ends[at]]
    }
}

/// The matches that were chosen, in the order of the reference, and how many chunks they are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alignment {
    pub(super) matches: Vec<Match>,
    pub(super) chunks: usize,
}

/// A set of positions.
#[derive(Debug, Clone, PartialEq)]
enum Positions {
    /// Of texts of up to 128 words.
    Few(u128),
    Many(Vec<u128>),
}

impl Positions {
    fn none(length: usize) -> Self {
        if length <= 128 { Self::Few(0) } else { Self::Many(vec![0; length.div_ceil(128)]) }
    }

    fn contains(&self, at: usize) -> bool {
        match self {
            Self::Few(bits) => bits >> at & 1 == 1,
            Self::Many(parts) => parts[at / 128] >> (at % 128) & 1 == 1,
        }
    }

    fn has_any(&self, first: usize, length: usize) -> bool {
        (first..first + length).any(|at| self.contains(at))
    }

    fn add(&mut self, first: usize, length: usize) {
        for at in first..first + length {
            match self {
                Self::Few(bits) => *bits |= 1 << at,
                Self::Many(parts) => parts[at / 128] |= 1 << (at % 128),
            }
        }
    }
}

/// An alignment of the reference's first words.
#[derive(Debug, Clone)]
struct Path {
    /// The last chosen match, in the list of choices.
    last: Option<usize>,
    reference_used: Positions,
    candidate_used: Positions,
    /// The word of the reference after the last match.
    next: usize,
    /// The word of the candidate after the last match, if the word before was matched.
    candidate_next: Option<usize>,
    /// Matched words of both texts, weighted.
    weight: u64,
    chunks: usize,
    /// Of matches that were not chosen; see [`Search::advance`].
    distance: usize,
}

/// A match that some path chose, after another.
struct Choice {
    chosen: Match,
    before: Option<usize>,
}

/// The search over one pair of texts.
struct Search<'a> {
    matches: &'a Matches,
    weights: [f64; 4],
    /// Matches that no other disputes, by their first word in the reference.
    fixed: Vec<Option<Match>>,
    choices: Vec<Choice>,
}

/// Aligns a candidate of so many words by `matches`.
pub(super) fn align(matches: &Matches, candidate_length: usize, weights: [f64; 4]) -> Alignment {
    let reference_length = matches.reference_length();
    let mut start = Path {
        last: None,
        reference_used: Positions::none(reference_length),
        candidate_used: Positions::none(candidate_length),
        next: 0,
        candidate_next: None,
        weight: 0,
        chunks: 0,
        distance: 0,
    };
    let fixed = undisputed(matches, candidate_length);
    for chosen in fixed.iter().flatten() {
        start.reference_used.add(chosen.reference, chosen.reference_length);
        start.candidate_used.add(chosen.candidate, chosen.candidate_length);
    }
    let mut search = Search { matches, weights, fixed, choices: Vec::new() };
    let (mut paths, mut next) = (vec![start], Vec::new());
    for at in 0..reference_length {
        keep_best(&mut paths);
        for path in paths.drain(..) {
            search.advance(path, at, &mut next);
        }
        std::mem::swap(&mut paths, &mut next);
    }
    keep_best(&mut paths);
    for path in &mut paths {
        path.chunks += usize::from(path.candidate_next.is_some());
    }
    keep_best(&mut paths);
    let best = paths.into_iter().next();
    let (mut last, chunks) = best.map_or((None, 0), |best| (best.last, best.chunks));
    let mut chosen = Vec::new();
    while let Some(choice) = last.and_then(|index| search.choices.get(index)) {
        chosen.push(choice.chosen);
        last = choice.before;
    }
    chosen.reverse();
    Alignment { matches: chosen, chunks }
}

/// The first [`BEAM_SIZE`] of the paths in order; among equals the order stays.
fn keep_best(paths: &mut Vec<Path>) {
    if paths.len() > 1 {
        paths.sort_by_key(|path| (Reverse(path.weight), path.chunks, path.distance));
        paths.truncate(BEAM_SIZE);
    }
}

/// Matches all of whose words are in no other.
fn undisputed(matches: &Matches, candidate_length: usize) -> Vec<Option<Match>> {
    let mut in_reference = vec![0_u32; matches.reference_length()];
    let mut in_candidate = vec![0_u32; candidate_length];
    for one in &matches.all {
        let (first, last) = (one.reference, one.reference + one.reference_length);
        in_reference[first..last].iter_mut().for_each(|count| *count += 1);
        let (first, last) = (one.candidate, one.candidate + one.candidate_length);
        in_candidate[first..last].iter_mut().for_each(|count| *count += 1);
    }
    let alone = |one: &&Match| {
        let (first, last) = (one.reference, one.reference + one.reference_length);
        let (start, end) = (one.candidate, one.candidate + one.candidate_length);
        in_reference[first..last].iter().chain(&in_candidate[start..end]).all(|&count| count == 1)
    };
    let words = 0..matches.reference_length();
    words.map(|at| matches.of_word(at).first().filter(alone).copied()).collect()
}

impl Search<'_> {
    /// All ways on from word `at` of the reference: with each of its matches, and without. The distance of a
    /// match counts for the ways that come after it, not for the one that takes it. That is not what is
    /// published, but what METEOR 1.5 does; `tests/python/meteor.py` asks it.
    fn advance(&mut self, mut path: Path, at: usize, next: &mut Vec<Path>) {
        if path.next > at {
            // Inside a match.
            next.push(path);
            return;
        }
        if let Some(chosen) = self.fixed[at] {
            self.choose(&mut path, chosen);
            next.push(path);
            return;
        }
        if !path.reference_used.contains(at) {
            for &chosen in self.matches.of_word(at) {
                let Match { reference, reference_length, candidate, candidate_length, .. } = chosen;
                if path.reference_used.has_any(reference, reference_length)
                    || path.candidate_used.has_any(candidate, candidate_length)
                {
                    continue;
                }
                let mut with = path.clone();
                with.reference_used.add(reference, reference_length);
                with.candidate_used.add(candidate, candidate_length);
                self.choose(&mut with, chosen);
                next.push(with);
                path.distance += reference.abs_diff(candidate);
            }
        }
        // Without this word.
        path.chunks += usize::from(path.candidate_next.take().is_some());
        path.next = at + 1;
        next.push(path);
    }

    fn choose(&mut self, path: &mut Path, chosen: Match) {
        // Below a whole number by a hair: METEOR counts five words of a paraphrase as 2, not as 5 · 0.6.
        let weight = self.weights[chosen.module];
        let whole = |words: usize| {
            let product = words as f64 * weight;
            if weight < 1.0 { (product - 1e-9).max(0.0) as u64 } else { product as u64 }
        };
        path.weight += whole(chosen.reference_length) + whole(chosen.candidate_length);
        let goes_on = path.candidate_next.is_none_or(|next| next == chosen.candidate);
        path.chunks += usize::from(!goes_on);
        path.next = chosen.reference + chosen.reference_length;
        path.candidate_next = Some(chosen.candidate + chosen.candidate_length);
        self.choices.push(Choice { chosen, before: path.last });
        path.last = Some(self.choices.len() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];

    fn single(reference: usize, candidate: usize, module: usize) -> Match {
        Match { module, reference, reference_length: 1, candidate, candidate_length: 1 }
    }

    fn by_word(lists: &[Vec<Match>]) -> Matches {
        let mut matches = Matches::default();
        for list in lists {
            list.iter().for_each(|&one| matches.add(one));
            matches.end_word();
        }
        matches
    }

    fn aligned(matches: &[Vec<Match>], candidate_length: usize) -> (Vec<(usize, usize)>, usize) {
        let found = align(&by_word(matches), candidate_length, WEIGHTS);
        (found.matches.iter().map(|m| (m.reference, m.candidate)).collect(), found.chunks)
    }

    #[test]
    fn the_fewest_chunks_win_among_most_words() {
        // "the dog" in "the cat the dog": the second "the" is beside the dog.
        let matches = vec![vec![single(0, 0, 0), single(0, 2, 0)], vec![single(1, 3, 0)]];
        assert_eq!(aligned(&matches, 4), (vec![(0, 2), (1, 3)], 1));
        // Without the dog, the nearest.
        assert_eq!(aligned(&[matches[0].clone(), vec![]], 3), (vec![(0, 0)], 1));
    }

    #[test]
    fn words_in_another_order_are_chunks_of_their_own() {
        let matches = vec![vec![single(0, 2, 0)], vec![single(1, 0, 0)], vec![single(2, 1, 0)]];
        assert_eq!(aligned(&matches, 3), (vec![(0, 2), (1, 0), (2, 1)], 2));
        assert_eq!(aligned(&[], 3), (vec![], 0));
        assert_eq!(aligned(&[vec![], vec![]], 0), (vec![], 0));
    }

    #[test]
    fn a_disputed_weak_match_is_chosen_only_where_it_makes_no_chunk() {
        // "words" and "word" by stem and as synonyms, alone and after a word that both texts have.
        let disputed = |at| vec![single(at, at, 1), single(at, at, 2)];
        assert_eq!(aligned(&[disputed(0)], 1), (vec![], 0));
        assert_eq!(aligned(&[vec![single(0, 0, 0)], disputed(1)], 2), (vec![(0, 0), (1, 1)], 1));
        assert_eq!(aligned(&[vec![single(0, 0, 1)]], 1), (vec![(0, 0)], 1));
    }

    #[test]
    fn a_text_of_more_than_128_words_is_aligned_as_any_other() {
        let both = |at| vec![single(at, at, 0), single(at, 299 - at, 0)];
        let matches: Vec<_> = (0..300).map(both).collect();
        let found = align(&by_word(&matches), 300, WEIGHTS);
        assert_eq!((found.matches.len(), found.chunks), (300, 1));
    }
}

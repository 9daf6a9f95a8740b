//! From an alignment to a score. Statistics of several captions are added, so that a set has a score of
//! its own.

use std::iter::Sum;

use super::alignment::Alignment;

/// Weights of the modules: exact, stem, synonym, paraphrase. This and the next four: METEOR 1.5 for
/// English, tuned to people's rankings of translations (Denkowski and Lavie, 2014, table 2).
pub(super) const MODULE_WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
/// How much precision counts against recall.
const ALPHA: f64 = 0.85;
/// How fast the penalty grows with the number of chunks.
const BETA: f64 = 0.2;
/// The largest penalty.
const GAMMA: f64 = 0.6;
/// The weight of content words; function words have the rest.
const DELTA: f64 = 0.75;

/// Words of one text: all of them, or those that a module matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Words {
    content: usize,
    function: usize,
}

impl Words {
    fn of(is_function_word: &[bool]) -> Self {
        let function = is_function_word.iter().filter(|&&is| is).count();
        Self { content: is_function_word.len() - function, function }
    }

    fn add(&mut self, other: Self) {
        self.content += other.content;
        self.function += other.function;
    }

    fn total(self) -> usize {
        self.content + self.function
    }

    fn weighted(self) -> f64 {
        DELTA * self.content as f64 + (1.0 - DELTA) * self.function as f64
    }
}

/// One of the two texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    words: Words,
    /// By module.
    matched: [Words; 4],
}

impl Side {
    /// The share of its words that are matched, all weights applied; 0 of no words.
    fn matched_share(&self) -> f64 {
        let of_modules = self.matched.iter().zip(MODULE_WEIGHTS);
        let matched: f64 = of_modules.map(|(words, weight)| weight * words.weighted()).sum();
        if self.words.total() == 0 { 0.0 } else { matched / self.words.weighted() }
    }

    fn num_matched(&self) -> usize {
        self.matched.iter().map(|words| words.total()).sum()
    }
}

/// What a score is computed from; sums of several are those of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    candidate: Side,
    reference: Side,
    chunks: usize,
}

impl Statistics {
    /// Of an alignment of two texts, given which of their words are function words.
    pub(super) fn of(alignment: &Alignment, candidate: &[bool], reference: &[bool]) -> Self {
        let mut statistics = Self { chunks: alignment.chunks, ..Self::default() };
        statistics.candidate.words = Words::of(candidate);
        statistics.reference.words = Words::of(reference);
        for one in &alignment.matches {
            let words = &candidate[one.candidate..one.candidate + one.candidate_length];
            statistics.candidate.matched[one.module].add(Words::of(words));
            let words = &reference[one.reference..one.reference + one.reference_length];
            statistics.reference.matched[one.module].add(Words::of(words));
        }
        statistics
    }

    /// The score, in `[0, 1]`.
    pub fn score(&self) -> f64 {
        let (precision, recall) = (self.candidate.matched_share(), self.reference.matched_share());
        if precision == 0.0 || recall == 0.0 {
            return 0.0;
        }
        let mean = 1.0 / (ALPHA / recall.max(f64::MIN_POSITIVE) + (1.0 - ALPHA) / precision);
        mean * (1.0 - self.penalty())
    }

    /// For words in another order. None where all words are matched in one chunk.
    fn penalty(&self) -> f64 {
        if self.is_whole() {
            return 0.0;
        }
        let matched = (self.candidate.num_matched() + self.reference.num_matched()) as f64 / 2.0;
        GAMMA * (self.chunks as f64 / matched).powf(BETA)
    }

    /// Whether all words are matched, in one chunk.
    fn is_whole(&self) -> bool {
        let all = |side: &Side| side.num_matched() == side.words.total();
        self.chunks == 1 && all(&self.candidate) && all(&self.reference)
    }

    /// The numbers as METEOR's `-ssOut` prints them: lengths, function words, matched content and
    /// function words of both texts by module, chunks, matched words. (candidate, reference)
    pub fn numbers(&self) -> Vec<usize> {
        let (c, r) = (&self.candidate, &self.reference);
        let mut numbers =
            vec![c.words.total(), r.words.total(), c.words.function, r.words.function];
        for (ours, theirs) in c.matched.iter().zip(&r.matched) {
            numbers.extend([ours.content, theirs.content, ours.function, theirs.function]);
        }
        numbers.extend([self.chunks, c.num_matched(), r.num_matched()]);
        numbers
    }

    fn add(&mut self, other: &Self) {
        for (side, more) in
            [(&mut self.candidate, &other.candidate), (&mut self.reference, &other.reference)]
        {
            side.words.add(more.words);
            for (words, more) in side.matched.iter_mut().zip(more.matched) {
                words.add(more);
            }
        }
        // A caption without penalty brings none to the set.
        self.chunks += if other.is_whole() { 0 } else { other.chunks };
    }
}

impl<'a> Sum<&'a Statistics> for Statistics {
    fn sum<I: Iterator<Item = &'a Statistics>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|one| sum.add(one));
        sum
    }
}

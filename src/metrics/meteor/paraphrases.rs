//! Phrases that mean the same, from METEOR's table of paraphrases: millions of pairs, held as numbers.
//!
//! A phrase is known by a 64-bit hash of its text only. Of the table's 1.2 million phrases two share a
//! hash with a probability of about 10⁻⁷.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Read};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// How much of the table is unpacked at once, in bytes, while what was unpacked before is taken in.
const CHUNK: usize = 1 << 20;
/// Lines of a pair in the table: a probability, a phrase, and another that says the same.
const LINES: usize = 3;

/// Passes on what is a hash already.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SameHash(u64);

impl Hasher for SameHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Which phrases say the same.
#[derive(Debug, Default)]
pub(super) struct Paraphrases {
    /// By the hash of a phrase.
    lists: HashMap<u64, List, BuildHasherDefault<SameHash>>,
    /// Hashes of paraphrases, those of a phrase one after the other.
    others: Vec<u64>,
    /// All phrases of the table on either side.
    known: Known,
    /// Words of the longest phrase.
    longest: usize,
}

/// Which of [`Paraphrases::others`] a phrase has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct List {
    start: u32,
    end: u32,
    /// The [`bit`] of each: what has no bit here is not among them.
    bits: u64,
}

impl List {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A phrase of the table in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phrase {
    hash: u64,
    list: List,
    /// First word.
    pub(super) start: usize,
    /// How many words.
    pub(super) length: usize,
}

/// One of 64 bits, which a hash has in common with one in 64 others.
fn bit(hash: u64) -> u64 {
    1 << (hash >> 58)
}

/// A set of hashes that takes a few in a hundred others for its own, small enough for a processor's cache.
#[derive(Debug, Default)]
struct Known(Vec<u64>);

impl Known {
    /// Room for so many hashes, 16 bits each.
    fn with_capacity(count: usize) -> Self {
        Self(vec![0; (count / 4).next_power_of_two()])
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize & (self.0.len() - 1), 1 << (hash & 63))
    }

    fn add(&mut self, hash: u64) {
        let (part, bit) = self.place(hash);
        self.0[part] |= bit;
    }

    fn may_contain(&self, hash: u64) -> bool {
        let (part, bit) = self.place(hash);
        self.0[part] & bit != 0
    }
}

/// A table that is being read.
#[derive(Debug, Default)]
struct Reading {
    table: Paraphrases,
    /// The first phrase of the last pair, and its list so far. In METEOR's table, pairs with the same first
    /// phrase follow each other.
    phrase: Vec<u8>,
    list: List,
    /// The beginning of a pair whose end was not read yet.
    begun: Vec<u8>,
}

impl Reading {
    /// Takes in further bytes of the table.
    fn take(&mut self, mut bytes: &[u8]) {
        if !self.begun.is_empty() {
            let lines = self.begun.iter().filter(|&&byte| byte == b'\n').count();
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let end = ends.map(|(at, _)| at + 1).nth(LINES - 1 - lines);
            let (rest, next) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.begun.extend_from_slice(rest);
            if end.is_none() {
                return;
            }
            let pair = std::mem::take(&mut self.begun);
            self.pairs(&pair);
            bytes = next;
        }
        let rest = self.pairs(bytes);
        self.begun.extend_from_slice(rest);
    }

    /// Takes in all whole pairs; what is left begins another.
    fn pairs<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        let line = |bytes: &'a [u8]| {
            let end = bytes.iter().position(|&byte| byte == b'\n')?;
            Some((bytes[..end].trim_ascii(), &bytes[end + 1..]))
        };
        let pair = |bytes| {
            let (_, bytes) = line(bytes)?;
            let (phrase, bytes) = line(bytes)?;
            let (other, bytes) = line(bytes)?;
            Some((phrase, other, bytes))
        };
        while let Some((phrase, other, rest)) = pair(bytes) {
            self.add(phrase, other);
            bytes = rest;
        }
        bytes
    }

    fn add(&mut self, phrase: &[u8], other: &[u8]) {
        if phrase != self.phrase {
            self.close_list();
            self.phrase.clear();
            self.phrase.extend_from_slice(phrase);
            self.count_words(phrase);
        }
        let hash = xxh3_64(other);
        self.table.others.push(hash);
        self.list.bits |= bit(hash);
        self.count_words(other);
    }

    fn count_words(&mut self, phrase: &[u8]) {
        let words = 1 + phrase.iter().filter(|&&byte| byte == b' ').count();
        self.table.longest = self.table.longest.max(words);
    }

    /// Files the list of the last phrase, with what was filed of the same phrase before.
    fn close_list(&mut self) {
        let others = &mut self.table.others;
        let end = |others: &Vec<u64>| u32::try_from(others.len()).unwrap_or(u32::MAX);
        let list = List { end: end(others), ..self.list };
        if !list.range().is_empty() {
            match self.table.lists.entry(xxh3_64(&self.phrase)) {
                Entry::Vacant(entry) => {
                    entry.insert(list);
                }
                Entry::Occupied(mut entry) => {
                    let before = *entry.get();
                    others.extend_from_within(before.range());
                    let bits = before.bits | list.bits;
                    entry.insert(List { end: end(others), bits, ..list });
                }
            }
        }
        self.list = List { start: end(others), ..List::default() };
    }

    fn finish(mut self) -> Paraphrases {
        // The last line may lack its end.
        self.take(b"\n");
        self.close_list();
        let mut table = self.table;
        // Each phrase has 12 paraphrases on average, most of which are phrases with a list of their own.
        table.known = Known::with_capacity(3 * table.lists.len());
        table.lists.keys().chain(&table.others).for_each(|&hash| table.known.add(hash));
        table
    }
}

impl Paraphrases {
    /// From the text of `paraphrase-en.gz`: three lines each, a probability, a phrase, and another that
    /// says the same. One thread unpacks, another takes in.
    ///
    /// # Errors
    /// Those of `text`.
    pub(super) fn read(mut text: impl Read + Send) -> io::Result<Self> {
        let mut reading = Reading::default();
        let (mut chunk, mut next) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        let mut fill = |chunk: &mut Vec<u8>| {
            chunk.clear();
            text.by_ref().take(CHUNK as u64).read_to_end(chunk)
        };
        fill(&mut chunk)?;
        while !chunk.is_empty() {
            rayon::join(|| reading.take(&chunk), || fill(&mut next)).1?;
            std::mem::swap(&mut chunk, &mut next);
        }
        Ok(reading.finish())
    }

    /// All phrases of a text of words with single spaces between, by their first word, short ones first.
    /// A few may be in it that the table does not have; they say the same as no other.
    pub(super) fn phrases_of(&self, text: &str) -> Vec<Phrase> {
        let mut found = Vec::new();
        if self.lists.is_empty() || text.is_empty() {
            return found;
        }
        let bytes = text.as_bytes();
        let spaces = bytes.iter().enumerate().filter(|(_, byte)| **byte == b' ');
        let ends: Vec<usize> = spaces.map(|(at, _)| at).chain([bytes.len()]).collect();
        for start in 0..ends.len() {
            let first = if start == 0 { 0 } else { ends[start - 1] + 1 };
            for (index, &end) in ends[start..].iter().take(self.longest).enumerate() {
                let hash = xxh3_64(&bytes[first..end]);
                if self.known.may_contain(hash) {
                    let list = self.lists.get(&hash).copied().unwrap_or_default();
                    found.push(Phrase { hash, list, start, length: index + 1 });
                }
            }
        }
        found
    }

    /// How often the table has two different phrases as a pair: once for either order.
    pub(super) fn count(&self, phrase: &Phrase, other: &Phrase) -> usize {
        if phrase.hash == other.hash {
            return 0;
        }
        usize::from(self.contains(phrase, other)) + usize::from(self.contains(other, phrase))
    }

    fn contains(&self, phrase: &Phrase, other: &Phrase) -> bool {
        phrase.list.bits & bit(other.hash) != 0
            && self.others.get(phrase.list.range()).is_some_and(|list| list.contains(&other.hash))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const TABLE: &str = "0.5\nbig\nlarge\n0.1\nbig\nvery big\n0.5\na man who\na person who\n";

    #[test]
    fn phrases_are_found_in_a_text_and_compared() {
        let table = Paraphrases::read(TABLE.as_bytes()).unwrap();
        let found = table.phrases_of("a man who is very big");
        let phrase = |start, length| {
            let is_it = |phrase: &&Phrase| (phrase.start, phrase.length) == (start, length);
            found.iter().find(is_it).unwrap()
        };
        let (who, very_big, big) = (phrase(0, 3), phrase(4, 2), phrase(5, 1));
        assert!(found.iter().all(|phrase| phrase.length <= 3), "the longest has three words");
        assert_eq!(table.count(big, very_big), 1);
        assert_eq!(table.count(very_big, big), 1);
        assert_eq!((table.count(big, big), table.count(who, big)), (0, 0));
        assert!(Paraphrases::default().phrases_of("big").is_empty());
    }

    #[test]
    fn a_table_is_the_same_in_whatever_pieces_it_is_read() {
        let whole = Paraphrases::read(TABLE.as_bytes()).unwrap();
        for size in 1..TABLE.len() {
            let mut reading = Reading::default();
            TABLE.as_bytes().chunks(size).for_each(|piece| reading.take(piece));
            let pieces = reading.finish();
            assert_eq!((&pieces.lists, &pieces.others), (&whole.lists, &whole.others), "{size}");
        }
    }

    #[test]
    fn pairs_of_a_phrase_may_stand_apart_and_in_both_orders() {
        let text = "1\nbig\nlarge\n1\nred\nruby\n1\nbig\nhuge\n1\nhuge\nbig";
        let table = Paraphrases::read(text.as_bytes()).unwrap();
        let phrase = |text: &str| table.phrases_of(text)[0];
        assert_eq!(table.count(&phrase("big"), &phrase("large")), 1);
        assert_eq!(table.count(&phrase("big"), &phrase("huge")), 2);
        assert_eq!(table.count(&phrase("red"), &phrase("huge")), 0);
    }
}

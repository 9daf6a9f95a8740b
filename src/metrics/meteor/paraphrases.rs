//! Phrases that mean the same, from METEOR's table of paraphrases: millions of pairs, held as numbers.
//!
//! A phrase is known by a 64-bit hash of its text only. Of the table's 1.2 million phrases two share a
//! hash with a probability of about 10⁻⁷.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufRead};

use xxhash_rust::xxh3::xxh3_64;

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
    /// Numbers of phrases by the hash of their text.
    phrases: HashMap<u64, u32, BuildHasherDefault<SameHash>>,
    /// Where the paraphrases of each phrase begin; one more at the end.
    starts: Vec<u32>,
    /// Of all phrases, one after the other, each in order.
    others: Vec<u32>,
    /// Words of the longest phrase.
    longest: usize,
}

/// A phrase of the table in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Number in the table.
    pub(super) number: u32,
    /// First word.
    pub(super) start: usize,
    /// How many words.
    pub(super) length: usize,
}

impl Paraphrases {
    /// From the text of `paraphrase-en.gz`: three lines each, a probability, a phrase, and another that
    /// says the same.
    ///
    /// # Errors
    /// Those of `lines`.
    pub(super) fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let mut table = Self::default();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let (mut line, mut before) = (Vec::new(), (Vec::new(), 0));
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            // Pairs with the same first phrase follow each other.
            if line != before.0 || pairs.is_empty() {
                before = (line.clone(), table.number(&line));
            }
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            let other = table.number(&line);
            pairs.push((before.1, other));
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0_u32; table.phrases.len() + 1];
        for &(phrase, _) in &pairs {
            starts[phrase as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        table.starts = starts;
        table.others = pairs.into_iter().map(|(_, other)| other).collect();
        Ok(table)
    }

    /// The number of a phrase, new or known.
    fn number(&mut self, line: &[u8]) -> u32 {
        let phrase = line.trim_ascii();
        let new = u32::try_from(self.phrases.len()).unwrap_or(u32::MAX);
        *self.phrases.entry(xxh3_64(phrase)).or_insert_with(|| {
            let words = 1 + phrase.iter().filter(|&&byte| byte == b' ').count();
            self.longest = self.longest.max(words);
            new
        })
    }

    /// All phrases of a text of words with single spaces between, by their first word, short ones first.
    pub(super) fn phrases_of(&self, text: &str) -> Vec<Phrase> {
        let mut found = Vec::new();
        if self.phrases.is_empty() || text.is_empty() {
            return found;
        }
        let bytes = text.as_bytes();
        let spaces = bytes.iter().enumerate().filter(|(_, byte)| **byte == b' ');
        let ends: Vec<usize> = spaces.map(|(at, _)| at).chain([bytes.len()]).collect();
        for start in 0..ends.len() {
            let first = if start == 0 { 0 } else { ends[start - 1] + 1 };
            for (index, &end) in ends[start..].iter().take(self.longest).enumerate() {
                if let Some(&number) = self.phrases.get(&xxh3_64(&bytes[first..end])) {
                    found.push(Phrase { number, start, length: index + 1 });
                }
            }
        }
        found
    }

    /// How often the table has two phrases as a pair: once for either order.
    pub(super) fn count(&self, phrase: u32, other: u32) -> usize {
        usize::from(self.contains(phrase, other)) + usize::from(self.contains(other, phrase))
    }

    fn contains(&self, phrase: u32, other: u32) -> bool {
        let at = phrase as usize;
        let range = match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => return false,
        };
        self.others.get(range).is_some_and(|others| others.binary_search(&other).is_ok())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_a_text_and_compared() {
        let file = "0.5\nbig\nlarge\n0.1\nbig\nvery big\n0.5\na man who\na person who\n";
        let table = Paraphrases::read(file.as_bytes()).unwrap();
        let found = table.phrases_of("a man who is very big");
        let places: Vec<_> = found.iter().map(|phrase| (phrase.start, phrase.length)).collect();
        assert_eq!(places, [(0, 3), (4, 2), (5, 1)]);
        let [_, very_big, big] = found[..] else { panic!("three phrases") };
        assert_eq!(table.count(big.number, very_big.number), 1);
        assert_eq!(table.count(very_big.number, big.number), 1);
        assert_eq!(table.count(big.number, big.number), 0);
        assert!(Paraphrases::default().phrases_of("big").is_empty());
    }
}

//! n-grams of captions as numbers: words are numbered in alphabetical order, and the numbers of up to four
//! words packed into one, so that n-grams are compared at once and are in the order of their words. Sums
//! over them are the same in every run.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::coco::{Captions, MAX_NGRAM, words};

/// A hash of a word or an n-gram that is quick to compute; tables do not outlive an evaluation.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct QuickHasher(u64);

/// Makes [`QuickHasher`]s.
pub(super) type FastHash = BuildHasherDefault<QuickHasher>;

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= xxh3_64(bytes);
    }

    fn write_u8(&mut self, _: u8) {
        // The end of a text, of which a key has one only.
    }

    fn write_u128(&mut self, ngram: u128) {
        // Both halves into all bits: twice the golden ratio's multiplier, the product's halves folded.
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        let fold = |number: u64| {
            let product = u128::from(number ^ MULTIPLIER) * u128::from(MULTIPLIER);
            (product >> 64) as u64 ^ product as u64
        };
        self.0 = fold(fold((ngram >> 64) as u64) ^ ngram as u64);
    }
}

/// Numbers of words, 32 bits each, the first on top; 0 where there is no further word.
pub(super) type Ngram = u128;

/// How many words an n-gram has.
pub(super) fn length(ngram: Ngram) -> usize {
    MAX_NGRAM - (ngram.trailing_zeros() / u32::BITS) as usize
}

/// An image's captions as numbers of their words.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) candidate: Vec<u32>,
    pub(super) references: Vec<Vec<u32>>,
}

/// Numbers the words of one image.
pub(super) fn numbered(captions: &Captions) -> Numbered {
    let texts = || std::iter::once(&captions.candidate).chain(&captions.references);
    let mut vocabulary: Vec<&str> = texts().flat_map(|text| words(text)).collect();
    vocabulary.sort_unstable();
    vocabulary.dedup();
    let number = |word: &str| vocabulary.partition_point(|known| *known <= word) as u32;
    let numbers = |text: &String| words(text).map(number).collect();
    let references = captions.references.iter().map(numbers).collect();
    Numbered { candidate: numbers(&captions.candidate), references }
}

/// Numbers the words of a set of images.
pub(super) fn numbered_set(set: &[impl Borrow<Captions> + Sync]) -> Vec<Numbered> {
    let mut numbers: HashMap<&str, u32, FastHash> = HashMap::default();
    for captions in set.iter().map(Borrow::borrow) {
        for text in std::iter::once(&captions.candidate).chain(&captions.references) {
            for word in words(text) {
                numbers.entry(word).or_default();
            }
        }
    }
    let mut vocabulary: Vec<&str> = numbers.keys().copied().collect();
    vocabulary.sort_unstable();
    // 0 stands for no word.
    for (number, word) in (1..).zip(vocabulary) {
        numbers.insert(word, number);
    }
    let of_text = |text: &String| words(text).map(|word| numbers[word]).collect();
    let of_image = |captions: &Captions| Numbered {
        candidate: of_text(&captions.candidate),
        references: captions.references.iter().map(of_text).collect(),
    };
    set.par_iter().map(|captions| of_image(captions.borrow())).collect()
}

/// All n-grams of 1 to [`MAX_NGRAM`] words of a caption, in no order, put behind those in `ngrams`.
pub(super) fn extend(ngrams: &mut Vec<Ngram>, caption: &[u32]) {
    for start in 0..caption.len() {
        let mut ngram = 0;
        for (at, &word) in caption[start..].iter().take(MAX_NGRAM).enumerate() {
            ngram |= Ngram::from(word) << (u32::BITS * (MAX_NGRAM - 1 - at) as u32);
            ngrams.push(ngram);
        }
    }
}

/// How often each n-gram of a caption occurs, in order.
pub(super) fn counts(caption: &[u32]) -> Vec<(Ngram, usize)> {
    let mut all = Vec::with_capacity(MAX_NGRAM * caption.len());
    extend(&mut all, caption);
    all.sort_unstable();
    all.chunk_by(|one, other| one == other).map(|equal| (equal[0], equal.len())).collect()
}

/// What two ordered lists have of the same n-grams, by position in each, in order.
pub(super) fn common<A, B>(
    a: &[(Ngram, A)],
    b: &[(Ngram, B)],
) -> impl Iterator<Item = (usize, usize)> {
    let mut theirs = 0;
    a.iter().enumerate().filter_map(move |(ours, (ngram, _))| {
        while b.get(theirs).is_some_and(|(other, _)| other < ngram) {
            theirs += 1;
        }
        b.get(theirs).is_some_and(|(other, _)| other == ngram).then_some((ours, theirs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ngrams_are_counted_in_the_order_of_their_words() {
        let captions = Captions { candidate: "b a b a".into(), references: vec!["a c".into()] };
        let of_image = numbered(&captions);
        assert_eq!(
            (&of_image.candidate[..], &of_image.references[0][..]),
            (&[2, 1, 2, 1][..], &[1, 3][..])
        );
        let of_set = numbered_set(std::slice::from_ref(&captions));
        assert_eq!(of_set[0].candidate, of_image.candidate);
        let found = counts(&of_image.candidate);
        let lengths: Vec<_> = found.iter().map(|&(ngram, count)| (length(ngram), count)).collect();
        // a, a b, a b a, b, b a, b a b, b a b a
        assert_eq!(lengths, [(1, 2), (2, 1), (3, 1), (1, 2), (2, 2), (3, 1), (4, 1)]);
        let shared: Vec<_> = common(&found, &counts(&of_image.references[0])).collect();
        assert_eq!(shared, [(0, 0)]);
        assert!(counts(&[]).is_empty());
    }
}

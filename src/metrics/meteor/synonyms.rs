//! Synonyms by WordNet, from the files in METEOR's resources: two words are synonyms where a set of
//! synonyms has both, as they are or as a base form (dogs: dog).
//!
//! Base forms are found much as WordNet's own documentation (`morphy(7)`) has it: a list of exceptions,
//! and for words that are not in it endings that are taken off until a known word is left. METEOR does
//! not ask for parts of speech, nor for related sets (`english.relations` changes nothing). Which ending
//! comes first was found by giving METEOR 1.5 words with two base forms.

use std::collections::HashMap;

/// Endings that are replaced to get to a base form, those of nouns first, then of verbs and of adjectives. The
/// first that leaves a known word counts.
const ENDINGS: [(&str, &str); 18] = [
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
];

/// Which sets of synonyms a word is in.
#[derive(Debug, Default)]
pub(super) struct Synonyms {
    /// Numbers of sets, by word.
    sets: HashMap<Box<str>, Box<[u32]>>,
    /// Base forms of irregular words.
    exceptions: HashMap<Box<str>, Vec<Box<str>>>,
}

impl Synonyms {
    /// From `english.synsets` (a word, then its sets) and `english.exceptions` (a base form, then its
    /// irregular forms), two lines each.
    ///
    /// # Errors
    /// The line (from 1) whose set is no number.
    pub(super) fn parse(synsets: &str, exceptions: &str) -> Result<Self, usize> {
        let mut synonyms = Self::default();
        for (index, (word, sets)) in pairs_of_lines(synsets).enumerate() {
            let numbers: Result<Box<[u32]>, _> = sets.split_whitespace().map(str::parse).collect();
            let numbers = numbers.map_err(|_| 2 * index + 2)?;
            synonyms.sets.insert(word.into(), numbers);
        }
        for (base, forms) in pairs_of_lines(exceptions) {
            for form in forms.split_whitespace() {
                synonyms.exceptions.entry(form.into()).or_default().push(base.into());
            }
        }
        Ok(synonyms)
    }

    /// All sets of a word, in order.
    pub(super) fn sets_of(&self, word: &str) -> Box<[u32]> {
        let mut found = Vec::new();
        let mut add = |form: &str| found.extend(self.sets.get(form).into_iter().flatten());
        add(word);
        match self.exceptions.get(word) {
            Some(bases) => bases.iter().for_each(|base| add(base)),
            None => self.regular_base(word).iter().for_each(|base| add(base)),
        }
        found.sort_unstable();
        found.dedup();
        found.into()
    }

    /// The base form of a word that is not irregular.
    fn regular_base(&self, word: &str) -> Option<String> {
        // As in `morphy`: not "is" and "boss".
        if word.len() <= 2 || word.ends_with("ss") {
            return None;
        }
        let base = |(ending, instead): &(&str, &str)| {
            let stem = word.strip_suffix(ending)?;
            Some(format!("{stem}{instead}")).filter(|base| self.sets.contains_key(base.as_str()))
        };
        ENDINGS.iter().find_map(base)
    }
}

fn pairs_of_lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || Some((lines.next()?, lines.next()?)))
}

/// Whether two ordered lists share a number.
pub(super) fn share(a: &[u32], b: &[u32]) -> bool {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => left.next(),
            std::cmp::Ordering::Greater => right.next(),
        };
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_synonyms_by_a_set_of_a_base_form() {
        let synsets = "dog\n1 2\nhound\n2 3\nleaf\n4\nleave\n5\nfoliage\n4\nbox\n6\n";
        let synonyms = Synonyms::parse(synsets, "leaf\nleaves\n").unwrap();
        let share = |a: &str, b: &str| share(&synonyms.sets_of(a), &synonyms.sets_of(b));
        assert!(share("dogs", "hound") && share("boxes", "box") && share("boxing", "boxed"));
        assert!(share("leaves", "foliage") && !share("leaves", "leaving"));
        assert!(!share("dog", "leaf") && !share("cat", "cat"));
        assert_eq!(Synonyms::parse("dog\n1 x\n", "").unwrap_err(), 2);
    }
}

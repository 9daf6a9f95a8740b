//! METEOR 1.5 (Denkowski and Lavie, 2014) for English, as the COCO evaluation calls it
//! (`-l en -norm`): words of a caption are aligned with words of a reference, where they are the same,
//! have the same stem, are synonyms or say the same in other words, and the score is a harmonic mean of
//! precision and recall, less the more chunks the alignment is in.
//!
//! Synonyms, paraphrases and the list of function words come from METEOR's own files ([`Meteor::open`]).
//! Without them only equal words and stems are compared ([`Meteor::exact_and_stem`]); what comes out is
//! another measure and bears another name.
//!
//! | file | subject |
//! |---|---|
//! | [`normalize`] | how a line is read |
//! | [`synonyms`], [`paraphrases`] | which words and phrases say the same |
//! | [`resources`] | METEOR's files |
//! | [`alignment`] | the search |
//! | [`statistics`] | from alignments to scores |

mod alignment;
mod normalize;
mod paraphrases;
mod resources;
pub mod statistics;
mod synonyms;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rayon::prelude::*;
use rust_stemmers::{Algorithm, Stemmer};

use self::alignment::{Match, Matches};
use self::paraphrases::Phrase;
use self::resources::Resources;
use self::statistics::{MODULE_WEIGHTS, Statistics};
use super::coco::{CaptionScore, Captions};
use super::ngrams::FastHash;
use crate::error::Result;

/// The environment variable with the path of METEOR's files.
pub const DATA_VARIABLE: &str = "PIXELLLM_METEOR_DATA";

/// Numbers of the modules, the columns of [`statistics::MODULE_WEIGHTS`].
const EXACT: usize = 0;
const STEM: usize = 1;
const SYNONYM: usize = 2;
const PARAPHRASE: usize = 3;

/// Compares captions.
pub struct Meteor {
    resources: Option<Resources>,
    stemmer: Stemmer,
    known: RwLock<KnownWords>,
}

/// Words that were looked up, each with a number.
#[derive(Debug, Default)]
struct KnownWords {
    words: HashMap<String, Word, FastHash>,
    /// Sets of synonyms of each word, in order.
    sets: Vec<Box<[u32]>>,
    /// Numbers of stems.
    stems: HashMap<String, u32, FastHash>,
}

impl std::fmt::Debug for Meteor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meteor").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A word with what it is compared by.
#[derive(Debug, Clone, Copy)]
struct Word {
    /// Equal words have the same.
    number: u32,
    /// Number of its stem.
    stem: u32,
    /// A bit for each of its sets of synonyms, by the last digits of the set's number: words without a bit in
    /// common share none.
    set_bits: u64,
    is_function_word: bool,
}

/// A caption, ready to be aligned.
#[derive(Debug)]
struct Sentence {
    words: Vec<Word>,
    phrases: Vec<Phrase>,
}

impl Meteor {
    /// METEOR with its files: `path` is `meteor-1.5.jar` or the folder that has it, with
    /// `data/paraphrase-en.gz` beside it. Takes a few seconds, most of them for the paraphrases.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format) where a file is missing
    /// or is not METEOR's.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::with(Some(Resources::open(path)?)))
    }

    /// The measure that needs no files: equal words and stems only, and no word counts less than
    /// another.
    pub fn exact_and_stem() -> Self {
        Self::with(None)
    }

    /// As [`Self::open`] by `path`, or else by [`DATA_VARIABLE`]; `None` where neither is set.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn find(path: Option<&Path>) -> Result<Option<Self>> {
        let variable = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty());
        let path = path.map(Path::to_path_buf).or_else(|| variable.map(PathBuf::from));
        path.map(|path| Self::open(&path)).transpose()
    }

    fn with(resources: Option<Resources>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self { resources, stemmer, known: RwLock::default() }
    }

    /// What the measure is called: `METEOR` with all its modules, `meteor_exact_stem` otherwise.
    pub fn name(&self) -> &'static str {
        if self.resources.is_some() { "METEOR" } else { "meteor_exact_stem" }
    }

    /// The score of a caption beside the reference that it is most like, in `[0, 1]`; 0 without
    /// references. Captions as they are, or tokenised.
    pub fn score(&self, candidate: &str, references: &[impl AsRef<str>]) -> f64 {
        self.statistics(candidate, references).score()
    }

    /// What the score is computed from, for the reference with the best score, of equals the first.
    pub fn statistics(&self, candidate: &str, references: &[impl AsRef<str>]) -> Statistics {
        let candidate = self.sentence(candidate);
        let references: Vec<Sentence> =
            references.iter().map(|reference| self.sentence(reference.as_ref())).collect();
        let known = self.known();
        let mut matches = Matches::default();
        let mut best: Option<(f64, Statistics)> = None;
        for reference in &references {
            self.find_matches(&candidate, reference, &known, &mut matches);
            let statistics = compare(&candidate, reference, &matches);
            let score = statistics.score();
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, statistics));
            }
        }
        best.map(|(_, statistics)| statistics).unwrap_or_default()
    }

    /// What the scores of a set are computed from, caption by caption.
    pub fn statistics_of_set(&self, set: &[impl Borrow<Captions> + Sync]) -> Vec<Statistics> {
        let of_image =
            |captions: &Captions| self.statistics(&captions.candidate, &captions.references);
        set.par_iter().map(|captions| of_image(captions.borrow())).collect()
    }

    /// Scores of a set; that of the whole is of the sums of the statistics.
    pub fn score_set(&self, set: &[Captions]) -> CaptionScore {
        let statistics = self.statistics_of_set(set);
        let sum: Statistics = statistics.iter().sum();
        let per_image = statistics.iter().map(Statistics::score).collect();
        CaptionScore { corpus: sum.score(), per_image }
    }

    /// A caption as METEOR reads it: words with single spaces between.
    pub fn normalized(&self, caption: &str) -> String {
        let none = normalize::Prefixes::new();
        let prefixes = self.resources.as_ref().map_or(&none, |resources| &resources.prefixes);
        normalize::normalize(caption, prefixes)
    }

    fn sentence(&self, caption: &str) -> Sentence {
        let line = self.normalized(caption);
        let phrases = self.resources.as_ref().map(|known| known.paraphrases.phrases_of(&line));
        Sentence { words: self.look_up(&line), phrases: phrases.unwrap_or_default() }
    }

    fn known(&self) -> RwLockReadGuard<'_, KnownWords> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_up(&self, line: &str) -> Vec<Word> {
        let known = self.known();
        let words: Vec<_> = line
            .split_ascii_whitespace()
            .map(|word| known.words.get(word).copied().ok_or(word))
            .collect();
        drop(known);
        words.into_iter().map(|word| word.unwrap_or_else(|text| self.learn(text))).collect()
    }

    /// A word that was not known, or that another thread has got to know meanwhile.
    fn learn(&self, text: &str) -> Word {
        let resources = self.resources.as_ref();
        let stem = self.stemmer.stem(text).into_owned();
        let sets = resources.map(|known| known.synonyms.sets_of(text)).unwrap_or_default();
        let is_function_word = resources.is_some_and(|known| known.function_words.contains(text));
        let set_bits = sets.iter().fold(0, |bits, set| bits | 1_u64 << (set % u64::BITS));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let KnownWords { words, sets: all_sets, stems } = &mut *known;
        let next = stems.len() as u32;
        let stem = *stems.entry(stem).or_insert(next);
        *words.entry(text.to_string()).or_insert_with(|| {
            all_sets.push(sets);
            Word { number: all_sets.len() as u32 - 1, stem, set_bits, is_function_word }
        })
    }

    /// All that may be aligned, by the first word in the reference, in the order of the modules.
    fn find_matches(
        &self,
        candidate: &Sentence,
        reference: &Sentence,
        known: &KnownWords,
        matches: &mut Matches,
    ) {
        matches.clear();
        let mut phrases = reference.phrases.iter().peekable();
        for (at, word) in reference.words.iter().enumerate() {
            match_word(at, *word, &candidate.words, known, matches);
            while let Some(phrase) = phrases.next_if(|phrase| phrase.start == at) {
                self.match_phrase(phrase, &candidate.phrases, matches);
            }
            matches.end_word();
        }
    }

    /// Adds the paraphrases of a phrase of the reference.
    fn match_phrase(&self, phrase: &Phrase, others: &[Phrase], matches: &mut Matches) {
        let Some(Resources { paraphrases, .. }) = &self.resources else { return };
        for other in others {
            // A pair that the table has in both orders is two matches, which then compete.
            for _ in 0..paraphrases.count(other, phrase) {
                matches.add(Match {
                    module: PARAPHRASE,
                    reference: phrase.start,
                    reference_length: phrase.length,
                    candidate: other.start,
                    candidate_length: other.length,
                });
            }
        }
    }
}

/// Adds the words of the candidate that are the same as word `at` of the reference, then those with its
/// stem, then its synonyms.
fn match_word(at: usize, word: Word, others: &[Word], known: &KnownWords, matches: &mut Matches) {
    let is_same = |other: &Word| other.number == word.number;
    let may_match = |other: &Word| {
        is_same(other) || other.stem == word.stem || other.set_bits & word.set_bits != 0
    };
    if !others.iter().any(may_match) {
        return;
    }
    let has_stem = |other: &Word| other.stem == word.stem && !is_same(other);
    let is_synonym = |other: &Word| {
        let sets = |word: &Word| &known.sets[word.number as usize];
        other.set_bits & word.set_bits != 0
            && !is_same(other)
            && synonyms::share(sets(other), sets(&word))
    };
    let mut add = |module: usize, is_match: &dyn Fn(&Word) -> bool| {
        for (candidate, _) in others.iter().enumerate().filter(|(_, other)| is_match(other)) {
            matches.add(Match {
                module,
                reference: at,
                reference_length: 1,
                candidate,
                candidate_length: 1,
            });
        }
    };
    add(EXACT, &is_same);
    add(STEM, &has_stem);
    add(SYNONYM, &is_synonym);
}

fn compare(candidate: &Sentence, reference: &Sentence, matches: &Matches) -> Statistics {
    let aligned = alignment::align(matches, candidate.words.len(), MODULE_WEIGHTS);
    let is_function_word = |sentence: &Sentence| -> Vec<bool> {
        sentence.words.iter().map(|word| word.is_function_word).collect()
    };
    Statistics::of(&aligned, &is_function_word(candidate), &is_function_word(reference))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;

    /// A folder as METEOR's, with a few words.
    fn resources() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("function/english.words", "the\na\nof\n"),
            ("nonbreaking/english.prefixes", "#titles\nMr\n"),
            ("synonym/english.synsets", "dog\n1\nhound\n1\nrun\n2\n"),
            ("synonym/english.exceptions", "run\nran\n"),
        ];
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(folder.path().join("data")).unwrap();
        let file = File::create(folder.path().join("data/paraphrase-en.gz")).unwrap();
        let mut table = GzEncoder::new(file, Compression::fast());
        table.write_all(b"0.5\nnext to\nbeside\n0.1\nphoto of\npicture of\n").unwrap();
        table.finish().unwrap();
        folder
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn every_module_finds_its_words() {
        let folder = resources();
        let meteor = Meteor::open(folder.path()).unwrap();
        assert_eq!(meteor.name(), "METEOR");
        // Lengths and function words; content and function words by module; chunks, matched words.
        let numbers = |said: &str, text: &str| meteor.statistics(said, &[text]).numbers();
        let expected = [2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2];
        assert_eq!(numbers("the dog", "the dog"), expected);
        assert_eq!(numbers("jumps", "jumping")[8..12], [1, 1, 0, 0], "by stem");
        assert_eq!(numbers("dogs", "hound")[12..16], [1, 1, 0, 0], "as synonyms");
        assert_eq!(numbers("ran", "run")[12..16], [1, 1, 0, 0], "by an exception");
        assert_eq!(numbers("beside", "next to")[16..20], [1, 2, 0, 0], "as paraphrases");
        assert_eq!(numbers("next to", "beside")[16..20], [2, 1, 0, 0], "in either order");
    }

    #[test]
    fn a_score_by_hand() {
        let folder = resources();
        let meteor = Meteor::open(folder.path()).unwrap();
        close(meteor.score("a dog", &["a dog"]), 1.0);
        // "the" (function) and "dog" of "the dog"; of three words in the reference one is missing. Precision 1,
        // recall (0.75 + 0.25) / (2 · 0.75 + 0.25); one chunk of two words.
        let recall = 1.0 / 1.75;
        let mean = 1.0 / (0.85 / recall + 0.15);
        close(meteor.score("the dog", &["the dog jumps"]), mean * (1.0 - 0.6 * 0.5_f64.powf(0.2)));
        // A synonym weighs 0.8.
        close(meteor.score("dog", &["hound"]), 0.8);
        close(meteor.score("dog", &["tree", "hound"]), 0.8);
        close(meteor.score("", &["dog"]), 0.0);
        close(meteor.score("dog", &[""; 0]), 0.0);
    }

    #[test]
    fn the_score_of_a_set_is_that_of_sums() {
        let meteor = Meteor::exact_and_stem();
        let captions = |said: &str, text: &str| Captions::all_of(said, &[text]);
        let set = [captions("red", "red"), captions("red circle", "blue square")];
        let score = meteor.score_set(&set);
        assert_eq!(score.per_image, [1.0, 0.0]);
        // One of three words, and no chunk: what is whole has no penalty.
        close(score.corpus, 1.0 / 3.0);
        assert_eq!(meteor.name(), "meteor_exact_stem");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = resources();
        fs::remove_file(folder.path().join("synonym/english.synsets")).unwrap();
        let error = Meteor::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("english.synsets"), "{error}");
        let error = Meteor::open(&folder.path().join("none.jar")).unwrap_err().to_string();
        assert!(error.contains("none.jar") || error.contains("paraphrase"), "{error}");
    }
}

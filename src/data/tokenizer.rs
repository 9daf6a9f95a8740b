//! [`Tokenizer`]: texts ↔ ids (`spec/data.md` §1.1), over the `tokenizers` crate.
//!
//! Read from a `tokenizer.json` (BERT's WordPiece, T5's SentencePiece), a SentencePiece `.model` or
//! BERT's `vocab.txt`, or trained on the texts of an experiment. Special tokens are added here and not by
//! the file's post-processor: texts are `begin w… end`, contexts `w… end`.

mod location;
mod sentencepiece;
mod training;
mod unigram;
mod wordpiece;

use std::fs;
use std::ops::Range;
use std::path::Path;

use tokenizers::ModelWrapper;

pub use self::location::COORDINATES;
use crate::error::{Error, Result};
use crate::model::language::Vocabulary;

/// Names of the special tokens in the two published families, BERT's first.
const PAD: [&str; 2] = ["[PAD]", "<pad>"];
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];
const BEGIN: [&str; 2] = ["[CLS]", "<s>"];
const END: [&str; 2] = ["[SEP]", "</s>"];

/// What a user can do about a tokenizer that cannot be used.
const HELP: &str = "Give a tokenizer.json with a WordPiece or a Unigram model, a SentencePiece .model \
                    of type Unigram, or the vocab.txt of BERT.";

/// Texts ↔ ids.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// As in the file: how ids are spelled, and what is saved.
    inner: tokenizers::Tokenizer,
    /// The same, but with a model that finds no special tokens in texts.
    encoder: tokenizers::Tokenizer,
    vocabulary: Vocabulary,
    marking: Marking,
    /// Ids of coordinates, the first of 0 and the last of 1; empty for none.
    location_tokens: Range<i64>,
}

/// How pieces say where words begin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Marking {
    /// Pieces inside a word begin with this: WordPiece's `##`.
    Inside(String),
    /// Pieces that begin a word begin with this: SentencePiece's `▁`.
    Start(&'static str),
}

/// A text as ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Begin, words, end; not padded.
    pub ids: Vec<i64>,
    /// Per id, the bytes of the text that it stands for; `None` for special tokens.
    pub offsets: Vec<Option<Range<usize>>>,
}

/// A word of a decoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its pieces, joined.
    pub text: String,
    /// Its pieces' places among the ids.
    pub token_range: Range<usize>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, a SentencePiece `.model` or BERT's `vocab.txt`, whichever the content
    /// or else the extension says.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no tokenizer or
    /// lacks what the model needs.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let is_model = path.extension().is_some_and(|extension| extension == "model");
        let read = if sentencepiece::is_meant(&bytes, is_model) {
            sentencepiece::read(&bytes).and_then(Self::from_inner)
        } else if wordpiece::is_meant(path) {
            let json = wordpiece::read(path, &bytes);
            json.and_then(|json| Self::from_json(json.to_string().as_bytes()))
        } else {
            Self::from_json(&bytes)
        };
        read.map_err(|problem| Error::format(path, problem, HELP))
    }

    /// Trains a lower-casing WordPiece of at most `vocabulary_size` ids, special tokens included.
    /// The same texts give the same ids, in whatever order they come.
    ///
    /// # Errors
    /// [`Error::Usage`] where the texts have no words, or more characters than the vocabulary has
    /// room for.
    pub fn train(
        texts: impl IntoIterator<Item = impl AsRef<str>>,
        vocabulary_size: usize,
    ) -> Result<Self> {
        let json = training::train(texts, vocabulary_size)?;
        Self::from_json(json.to_string().as_bytes())
            .map_err(|problem| Error::Compute { problem, help: HELP.to_string() })
    }

    /// Writes a `tokenizer.json` that [`Tokenizer::from_file`] and other tools read.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let json = self.inner.to_string(true).map_err(|error| {
            Error::format(path, format!("cannot write the tokenizer: {error}"), HELP)
        })?;
        fs::write(path, json).map_err(Error::io("write", path))
    }

    /// What the model must know.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// Begin, words, end; cut to `max_tokens` (the end is lost where the text is too long).
    ///
    /// # Errors
    /// [`Error::Compute`] where the tokenizer's own rules fail on the text.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<Encoded> {
        let (pieces, spans) = self.pieces(text)?;
        let mut ids = vec![self.vocabulary.begin];
        let mut offsets = vec![None];
        ids.extend(pieces);
        offsets.extend(spans.into_iter().map(Some));
        ids.push(self.vocabulary.end);
        offsets.push(None);
        ids.truncate(max_tokens);
        offsets.truncate(max_tokens);
        Ok(Encoded { ids, offsets })
    }

    /// Words, end; cut to `max_tokens`.
    ///
    /// # Errors
    /// [`Error::Compute`] where the tokenizer's own rules fail on the text.
    pub fn encode_context(&self, text: &str, max_tokens: usize) -> Result<Vec<i64>> {
        let (mut ids, _) = self.pieces(text)?;
        ids.push(self.vocabulary.end);
        ids.truncate(max_tokens);
        Ok(ids)
    }

    /// The text of `ids`: words up to the first end or padding, one space apart.
    pub fn decode(&self, ids: &[i64]) -> String {
        let words: Vec<_> = self.words(ids).into_iter().map(|word| word.text).collect();
        words.join(" ")
    }

    /// The words of `ids` up to the first end or padding, and which ids they came from.
    pub fn words(&self, ids: &[i64]) -> Vec<Word> {
        let first = usize::from(ids.first() == Some(&self.vocabulary.begin));
        let mut words: Vec<Word> = Vec::new();
        for (index, &id) in ids.iter().enumerate().skip(first) {
            if id == self.vocabulary.end || id == self.vocabulary.pad {
                break;
            }
            let piece = self.piece(id);
            let (begins, text) = match &self.marking {
                Marking::Inside(mark) => match piece.strip_prefix(mark.as_str()) {
                    Some(rest) => (false, rest),
                    None => (true, piece.as_str()),
                },
                Marking::Start(mark) => match piece.strip_prefix(mark) {
                    Some(rest) => (true, rest),
                    None => (false, piece.as_str()),
                },
            };
            match words.last_mut() {
                Some(word) if !begins => {
                    word.text.push_str(text);
                    word.token_range.end = index + 1;
                }
                _ => words.push(Word { text: text.to_string(), token_range: index..index + 1 }),
            }
        }
        // A mark that nothing of its word follows.
        words.retain(|word| !word.text.is_empty());
        words
    }

    /// Ids and byte ranges of a text's pieces, without special tokens.
    fn pieces(&self, text: &str) -> Result<(Vec<i64>, Vec<Range<usize>>)> {
        let encoding = self.encoder.encode(text, false).map_err(|error| Error::Compute {
            problem: format!("cannot tokenize {text:?}: {error}"),
            help: HELP.to_string(),
        })?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        let spans =
            encoding.get_offsets().iter().map(|&(start, end)| without_space(text, start..end));
        let spans = spans.collect();
        Ok((ids, spans))
    }

    /// How an id is spelled; ids that no piece has (a model's table may be larger) are unknown.
    pub fn piece(&self, id: i64) -> String {
        u32::try_from(id)
            .ok()
            .and_then(|id| self.inner.id_to_token(id))
            .unwrap_or_else(|| self.unknown().to_string())
    }

    /// How unknown words are spelled.
    fn unknown(&self) -> &'static str {
        let known = |name: &&str| self.inner.token_to_id(name).is_some();
        UNKNOWN.into_iter().find(known).unwrap_or(UNKNOWN[0])
    }

    fn from_json(json: &[u8]) -> Result<Self, String> {
        let inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| format!("not a tokenizer: {error}"))?;
        Self::from_inner(inner)
    }

    fn from_inner(mut inner: tokenizers::Tokenizer) -> Result<Self, String> {
        // Cutting, padding and special tokens are ours; a caption that spells "[SEP]" is text.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        inner.set_encode_special_tokens(true);

        let marking = match inner.get_model() {
            ModelWrapper::WordPiece(model) => {
                Marking::Inside(model.continuing_subword_prefix.clone())
            }
            ModelWrapper::Unigram(_) => Marking::Start(unigram::MARK),
            ModelWrapper::BPE(_) => return Err("models of type BPE are not supported".into()),
            ModelWrapper::WordLevel(_) => {
                return Err("models of type WordLevel are not supported".into());
            }
        };
        let id = |names: [&str; 2]| {
            let id = names.iter().find_map(|name| inner.token_to_id(name)).map(i64::from);
            id.ok_or_else(|| format!("has neither {:?} nor {:?}", names[0], names[1]))
        };
        id(UNKNOWN)?;
        let pad = id(PAD)?;
        let size = inner.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
        let end = id(END)?;
        let begin = match (id(BEGIN), &marking) {
            (Ok(begin), _) => begin,
            // T5 has no begin: its decoder starts from padding.
            (Err(_), Marking::Start(_)) => pad,
            (Err(_), Marking::Inside(_)) => return Err(format!("has no {:?}", BEGIN[0])),
        };
        let vocabulary = Vocabulary { size, pad, begin, end };
        if pad != 0 {
            // Losses and metrics ignore the id 0 (`spec/losses.md` §1).
            let name = inner.id_to_token(pad as u32).unwrap_or_default();
            return Err(format!("the padding {name:?} has the id {pad}, not 0"));
        }
        let location_tokens = location::find(&inner)?;
        let mut encoder = inner.clone();
        if let ModelWrapper::Unigram(model) = inner.get_model() {
            encoder.with_model(unigram::for_texts(&inner, model)?);
        }
        Ok(Self { inner, encoder, vocabulary, marking, location_tokens })
    }
}

/// `span` of `text` without the space before a piece that begins a word. A mark alone stands for the
/// first letter of its word.
fn without_space(text: &str, span: Range<usize>) -> Range<usize> {
    let rest = text.get(span.start..).unwrap_or_default().trim_start();
    let start = text.len() - rest.len();
    if span.is_empty() || start < span.end {
        return start.min(span.end)..span.end;
    }
    start..start + rest.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests;

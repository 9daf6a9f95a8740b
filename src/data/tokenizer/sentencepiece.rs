//! SentencePiece `.model` files (T5's `spiece.model`): one protobuf message, of which the few fields
//! are read that a Unigram model needs.
//!
//! Field numbers are those of `sentencepiece_model.proto` in google/sentencepiece; wire types those
//! of protobuf's encoding guide (<https://protobuf.dev/programming-guides/encoding/>). Every length
//! comes from the file and is checked against it.

mod characters;

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{AddedToken, normalizers::replace::ReplacePattern};

use crate::data::protobuf::{CUT, Fields};

/// How a message with a first field of bytes begins, as [`MODEL_PIECES`] is.
const FIRST_BYTE: u8 = (MODEL_PIECES as u8) << 3 | 2;

// `ModelProto`.
const MODEL_PIECES: u64 = 1;
const MODEL_TRAINER: u64 = 2;
const MODEL_NORMALIZER: u64 = 3;
// `ModelProto.SentencePiece`.
const PIECE_TEXT: u64 = 1;
const PIECE_SCORE: u64 = 2;
const PIECE_TYPE: u64 = 3;
// `TrainerSpec`.
const TRAINER_MODEL_TYPE: u64 = 3;
const TRAINER_MARK_AT_END: u64 = 24;
// `NormalizerSpec`.
const NORMALIZER_CHARACTERS: u64 = 2;
const NORMALIZER_ADD_PREFIX: u64 = 3;
const NORMALIZER_REMOVE_SPACES: u64 = 4;
const NORMALIZER_MARK_SPACES: u64 = 5;

/// `ModelProto.SentencePiece.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceType {
    /// Matched by its score.
    Normal,
    /// What stands for everything else.
    Unknown,
    /// Never matched: control and unused pieces.
    Never,
    /// Matched before any other.
    User,
}

#[derive(Debug)]
struct Piece {
    text: String,
    score: f64,
    kind: PieceType,
}

/// `NormalizerSpec`; defaults are those of the message.
#[derive(Debug)]
struct Normalizer<'a> {
    characters: &'a [u8],
    add_prefix: bool,
    remove_spaces: bool,
}

/// Whether `bytes` are meant as a `.model` and not as JSON.
pub(super) fn is_meant(bytes: &[u8], extension_is_model: bool) -> bool {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    !is_json && (extension_is_model || bytes.first() == Some(&FIRST_BYTE))
}

/// The tokenizer of a `.model` file, as its `tokenizer.json` would have it.
pub(super) fn read(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    let named = |problem: String| problem.replacen(CUT, "cut off, or not a SentencePiece model", 1);
    tokenizer(bytes).map_err(named)
}

fn tokenizer(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    let mut pieces = Vec::new();
    let (mut has_trainer, mut normalizer) = (false, None);
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            MODEL_PIECES => pieces.push(piece(value.bytes()?)?),
            MODEL_TRAINER => {
                check_trainer(value.bytes()?)?;
                has_trainer = true;
            }
            MODEL_NORMALIZER => normalizer = Some(self::normalizer(value.bytes()?)?),
            _ => {}
        }
    }
    // The two come last: a file that was cut between fields lacks one.
    let (true, Some(normalizer)) = (has_trainer, normalizer) else {
        return Err("not a whole SentencePiece model: its settings are missing".into());
    };
    assemble(&pieces, &normalizer)
}

fn piece(message: &[u8]) -> Result<Piece, String> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, PieceType::Normal);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            PIECE_TEXT => text = value.text()?.to_string(),
            PIECE_SCORE => score = f64::from(value.float()?),
            PIECE_TYPE => {
                kind = match value.varint()? {
                    1 => PieceType::Normal,
                    2 => PieceType::Unknown,
                    3 | 5 => PieceType::Never,
                    4 => PieceType::User,
                    6 => return Err("pieces for single bytes are not supported".into()),
                    other => return Err(format!("there is no piece of type {other}")),
                }
            }
            _ => {}
        }
    }
    if text.is_empty() || !score.is_finite() {
        return Err(format!("the piece {text:?} with a score of {score} cannot be used"));
    }
    Ok(Piece { text, score, kind })
}

/// Refuses what is no Unigram model, or marks words otherwise.
fn check_trainer(message: &[u8]) -> Result<(), String> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            TRAINER_MODEL_TYPE => {
                let name = match value.varint()? {
                    1 => continue,
                    2 => "BPE",
                    3 => "WORD",
                    4 => "CHAR",
                    _ => "unknown",
                };
                return Err(format!("SentencePiece models of type {name} are not supported"));
            }
            TRAINER_MARK_AT_END if value.flag()? => {
                return Err("pieces that mark the end of words are not supported".into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(message: &[u8]) -> Result<Normalizer<'_>, String> {
    let mut spec = Normalizer { characters: &[], add_prefix: true, remove_spaces: true };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            NORMALIZER_CHARACTERS => spec.characters = value.bytes()?,
            NORMALIZER_ADD_PREFIX => spec.add_prefix = value.flag()?,
            NORMALIZER_REMOVE_SPACES => spec.remove_spaces = value.flag()?,
            NORMALIZER_MARK_SPACES if !value.flag()? => {
                return Err("models that do not mark spaces are not supported".into());
            }
            _ => {}
        }
    }
    Ok(spec)
}

fn assemble(
    pieces: &[Piece],
    normalizer: &Normalizer<'_>,
) -> Result<tokenizers::Tokenizer, String> {
    let text = |error: tokenizers::Error| error.to_string();
    let unknown = pieces.iter().position(|piece| piece.kind == PieceType::Unknown);
    let unknown = unknown.ok_or("no piece is of the type for unknown letters")?;
    let normal = pieces.iter().filter(|piece| piece.kind == PieceType::Normal);
    let highest = normal.map(|piece| piece.score).fold(f64::NEG_INFINITY, f64::max);
    let vocabulary = pieces.iter().map(|piece| {
        // As `unigram_model.cc` scores them: better than any pieces of the same length.
        let user = piece.text.len() as f64 * highest.min(0.0) - 0.1;
        let score = if piece.kind == PieceType::User { user } else { piece.score };
        (piece.text.clone(), score)
    });
    let model = Unigram::from(vocabulary.collect(), Some(unknown), false).map_err(text)?;

    let mut steps = Vec::new();
    if !normalizer.characters.is_empty() {
        let table = characters::read(normalizer.characters)?;
        let mut user = pieces.iter().filter(|piece| piece.kind == PieceType::User);
        if let Some(piece) = user.find(|piece| table.normalize_string(&piece.text) != piece.text) {
            // SentencePiece looks for these before it replaces characters; we look after it.
            let text = &piece.text;
            return Err(format!(
                "the user-defined piece {text:?} has characters that are replaced"
            ));
        }
        steps.push(NormalizerWrapper::Precompiled(table));
    }
    if normalizer.remove_spaces {
        for (pattern, content) in [("^ +| +$", ""), (" {2,}", " ")] {
            let pattern = ReplacePattern::Regex(pattern.into());
            steps.push(Replace::new(pattern, content).map_err(text)?.into());
        }
    }
    let prefix = if normalizer.add_prefix { PrependScheme::Always } else { PrependScheme::Never };
    let metaspace = Metaspace::new('▁', prefix, true);
    let never =
        pieces.iter().filter(|piece| matches!(piece.kind, PieceType::Unknown | PieceType::Never));
    let special = never.map(|piece| AddedToken::from(piece.text.clone(), true));

    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(text)?;
    tokenizer.with_pre_tokenizer(Some(metaspace.clone()));
    tokenizer.with_decoder(Some(metaspace));
    tokenizer.add_special_tokens(special).map_err(text)?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests;

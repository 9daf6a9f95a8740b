//! Greedy decoding and beam search, on a language of the file: the logits of the next token by row,
//! position and last token.

use std::cell::Cell;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::language::beam::{BeamConfig, beam_search_by};
use crate::model::language::decoding::{most_probable, write_by};

/// Sizes and special tokens of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct DecodingSettings {
    #[serde(rename = "B")]
    batch: usize,
    vocab_size: usize,
    max_steps: usize,
    eos: i64,
    bos: i64,
    /// A note on the names of outputs.
    beams: String,
}

/// A beam whose score is below was never filled: equals among them may be any.
const UNFILLED: f64 = -1.0e6;

/// The language of the file.
struct TableLanguage {
    /// `[R, M, V, V]`: row, position, last token, next token.
    table: Tensor<4>,
    position: Cell<usize>,
}

impl TableLanguage {
    /// Of `table`, for as many texts per row as there are beams.
    fn new(table: &Tensor<4>, beams: usize) -> Self {
        let [rows, length, size, _] = table.dims();
        let table = table.clone().unsqueeze_dim::<5>(1);
        let table = table.expand([rows, beams, length, size, size]);
        let table = table.reshape([rows * beams, length, size, size]);
        Self { table, position: Cell::new(0) }
    }

    /// Logits `[R, V]` after `tokens` `[R, 1]`, which are at the next position.
    fn read(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [rows, _, size, _] = self.table.dims();
        let position = self.position.replace(self.position.get() + 1);
        let table = self.table.clone().narrow(1, position, 1).reshape([rows, size, size]);
        let tokens = tokens.unsqueeze_dim::<3>(2).expand([rows, 1, size]);
        table.gather(1, tokens).reshape([rows, size])
    }
}

/// `out/greedy.{tokens, log_probs}`, `out/beam{K}_{P}_{α}.{sequences, scores}`.
pub(super) fn decoding(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: DecodingSettings = vectors.config()?;
    let DecodingSettings { vocab_size: size, bos: begin, eos: end, .. } = settings;
    let vocabulary = Vocabulary { size, pad: 0, begin, end };
    let table = vectors.input::<4>("logits_table", device)?;
    let mut produced = greedy(&table, &vocabulary, device);
    let names = vectors.output_names().filter_map(|name| name.strip_suffix(".scores"));
    for name in names {
        let Some(config) = beam_config(name) else { continue };
        produced.extend(beams(vectors, name, &config, &table, &vocabulary)?);
    }
    Ok(produced)
}

fn greedy(table: &Tensor<4>, vocabulary: &Vocabulary, device: &Device) -> Vec<Produced> {
    let [rows, length, _, _] = table.dims();
    let language = TableLanguage::new(table, 1);
    // The language has no features.
    let read = |tokens| (language.read(tokens), Tensor::zeros([rows, 1, 1], device));
    let generated = write_by(read, most_probable, true, rows, length, vocabulary, device);
    vec![
        Produced::float("greedy.log_probs", generated.scores, Tolerance::FEATURES),
        Produced::integers("greedy.tokens", generated.tokens),
    ]
}

/// `beam{K}_{P}_{α}`.
fn beam_config(name: &str) -> Option<BeamConfig> {
    let mut numbers = name.strip_prefix("beam")?.splitn(3, '_');
    let config = BeamConfig {
        beams: numbers.next()?.parse().ok()?,
        candidates_per_beam: numbers.next()?.parse().ok()?,
        length_penalty: numbers.next()?.parse().ok()?,
        suppress_repeats: false,
    };
    config.validate().is_empty().then_some(config)
}

fn beams(
    vectors: &Vectors,
    name: &str,
    config: &BeamConfig,
    table: &Tensor<4>,
    vocabulary: &Vocabulary,
) -> Result<Vec<Produced>> {
    let [rows, length, _, _] = table.dims();
    let language = TableLanguage::new(table, config.beams);
    // The next token depends on the last alone, whichever beam it comes from.
    let read = |_: Option<Tensor<1, Int>>, tokens| language.read(tokens);
    let device = table.device();
    let found = beam_search_by(read, rows, length, vocabulary, config, &device);
    let sequences = format!("{name}.sequences");
    let scores = format!("{name}.scores");
    let tokens = found.tokens.into_data().convert_dtype(DType::F64);
    let tokens = if_filled(tokens, &vectors.output(&sequences)?, &vectors.output(&scores)?);
    Ok(vec![
        Produced { name: sequences, values: tokens, tolerance: Tolerance::Exact },
        Produced::float(scores, found.scores, Tolerance::FEATURES),
    ])
}

/// The tokens `[R, K, M]` that were found; the expected ones in slots `[R, K]` that were never filled.
pub(super) fn if_filled(
    found: TensorData,
    expected: &TensorData,
    scores: &TensorData,
) -> TensorData {
    let shape = found.shape();
    let length = shape.last().copied().unwrap_or(1).max(1);
    let scores: Vec<f64> = scores.iter::<f64>().collect();
    let pairs = found.iter::<f64>().zip(expected.iter::<f64>()).enumerate();
    let tokens = pairs.map(|(index, (found, expected))| {
        let is_filled = scores.get(index / length).is_none_or(|&score| score > UNFILLED);
        if is_filled { found } else { expected }
    });
    TensorData::new(tokens.collect::<Vec<f64>>(), shape.clone())
}

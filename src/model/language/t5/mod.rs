//! T5 1.1 and Flan-T5 with low-rank adapters (`spec/model.md` §8): visual tokens and context are read
//! by an encoder, the text by a decoder.
//!
//! The decoder appends to a cache, so that one function serves teacher forcing and decoding token by
//! token. One thing sets them apart: in the reference a token that is followed by padding neither
//! looks nor is looked at (its row of attention is level over all columns), and what follows the
//! newest token of a text in progress is not known. The reference writes into texts that are full of
//! end tokens; so here a newest token counts as followed, until the next one is read.
//!
//! | file | subject |
//! |---|---|
//! | [`config`] | sizes and settings |
//! | `attention`, `layer` | the layers of both stacks |
//! | `relative_positions` | the bias of a distance |
//! | [`state`] | what is remembered, and what is seen of it |
//! | `dropout` | T5's dropout |
//!
//! Letters: `R` rows, `Q` visual tokens, `C` context tokens, `S = Q + C` prefix, `L` text tokens,
//! `T` text tokens up to now, `D` width, `V` vocabulary.

mod attention;
pub mod config;
mod dropout;
mod layer;
mod relative_positions;
pub mod state;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, EmbeddingConfig, Linear, RmsNorm};
use burn::tensor::{DType, Device, Int, Tensor};

use super::Vocabulary;
use super::lora::train_adapters_only;
use super::visual_projection::VisualProjection;
use crate::model::dense::dense_without_bias;
use crate::model::matrix_product::{apply, product};
use crate::model::storage::store;
pub use config::T5Config;
use config::{Masking, Trained};
use dropout::LengthDropout;
use layer::{DecoderLayer, EncoderLayer, norm};
use relative_positions::RelativePositions;
pub use state::T5State;
use state::{After, Prefix, encoder_mask};

impl T5Config {
    /// A language model for visual tokens of width `visual_width`, with fresh weights.
    pub fn init(&self, visual_width: usize, vocabulary: Vocabulary, device: &Device) -> T5Language {
        let width = self.dimensions().width;
        let projection = || VisualProjection::new(visual_width, width, self.visual_norm, device);
        T5Language {
            visual_projection: self.visual_projection.then(projection),
            t5: self.init_t5(vocabulary, device),
        }
    }

    /// T5 alone, with fresh weights.
    pub fn init_t5(&self, vocabulary: Vocabulary, device: &Device) -> T5 {
        let width = self.dimensions().width;
        let size = self.num_words.unwrap_or(0).max(vocabulary.size);
        let vocabulary = Vocabulary { size, ..vocabulary };
        let output = || dense_without_bias(width, vocabulary.size, device);
        let t5 = T5 {
            // N(0, 1), as in T5X.
            words: EmbeddingConfig::new(vocabulary.size, width).init(device),
            encoder: Encoder::new(self, device),
            decoder: Decoder::new(self, device),
            output: (!self.tied_output).then(output),
            dropout: LengthDropout::new(self.dropout),
            masking: self.masking,
            vocabulary,
        };
        let t5 = match self.trained {
            Trained::Lora => train_adapters_only(t5),
            Trained::All => t5,
        };
        store(t5, self.storage)
    }
}

/// T5 behind the projection of visual tokens.
#[derive(Module, Debug)]
pub struct T5Language {
    visual_projection: Option<VisualProjection>,
    t5: T5,
}

impl T5Language {
    /// Reads the prefix.
    ///
    /// # Shapes
    /// - `visual`: `[R, Q, visual width]`
    /// - `context`: `[R, C]`, padded
    pub fn begin(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> T5State {
        self.begin_projected(self.project(visual), context)
    }

    /// Visual tokens `[R, Q, visual width]` to the width of words, `[R, Q, D]`.
    pub fn project(&self, visual: Tensor<3>) -> Tensor<3> {
        match &self.visual_projection {
            Some(projection) => projection.forward(visual),
            None => visual,
        }
    }

    /// As [`Self::begin`], of what [`Self::project`] gave: `visual` `[R, Q, D]`.
    pub fn begin_projected(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> T5State {
        self.t5.begin(visual, context)
    }

    /// As [`T5::read`].
    pub fn read(&self, state: &mut T5State, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.t5.read(state, tokens)
    }

    /// As [`T5::read_text`].
    pub fn read_text(&self, state: T5State, text: Tensor<2, Int>) -> Tensor<3> {
        self.t5.read_text(state, text)
    }

    /// As [`T5::logits`].
    pub fn logits(&self, features: Tensor<3>) -> Tensor<3> {
        self.t5.logits(features)
    }

    /// The same with adapters merged into what they adapt, for inference.
    pub fn merge_adapters(self) -> Self {
        Self { t5: self.t5.merge_adapters(), ..self }
    }

    /// T5 itself.
    pub fn t5(&self) -> &T5 {
        &self.t5
    }

    /// The vocabulary that it writes in.
    pub fn vocabulary(&self) -> Vocabulary {
        self.t5.vocabulary
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.t5.device()
    }
}

/// The encoder–decoder.
#[derive(Module, Debug)]
pub struct T5 {
    words: Embedding,
    encoder: Encoder,
    decoder: Decoder,
    /// `None` where the output is tied to `words`.
    output: Option<Linear>,
    dropout: LengthDropout,
    #[module(skip)]
    masking: Masking,
    #[module(skip)]
    vocabulary: Vocabulary,
}

/// Reads the prefix.
#[derive(Module, Debug)]
struct Encoder {
    positions: RelativePositions,
    layers: Vec<EncoderLayer>,
    norm: RmsNorm,
    dropout: Dropout,
}

/// Reads and writes the text.
#[derive(Module, Debug)]
struct Decoder {
    positions: RelativePositions,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
}

impl Encoder {
    fn new(config: &T5Config, device: &Device) -> Self {
        let depth = config.dimensions().encoder_depth;
        Self {
            positions: RelativePositions::new(config, true, device),
            layers: (0..depth).map(|_| EncoderLayer::new(config, device)).collect(),
            norm: norm(config, device),
            dropout: DropoutConfig::new(config.dropout).init(),
        }
    }

    /// # Shapes
    /// - `rows`, output: `[R, S, D]`
    /// - `mask`: `[R, 1, S or 1, S]`
    fn forward(&self, mut rows: Tensor<3>, mask: Option<Tensor<4>>) -> Tensor<3> {
        let length = rows.dims()[1];
        let bias = self.positions.bias(0..length, length);
        let bias = match mask {
            Some(mask) => bias + mask,
            None => bias,
        };
        for layer in &self.layers {
            rows = layer.forward(rows, bias.clone());
        }
        self.dropout.forward(self.norm.forward(rows))
    }
}

impl Decoder {
    fn new(config: &T5Config, device: &Device) -> Self {
        let depth = config.dimensions().decoder_depth;
        Self {
            positions: RelativePositions::new(config, false, device),
            layers: (0..depth).map(|_| DecoderLayer::new(config, device)).collect(),
            norm: norm(config, device),
        }
    }
}

impl T5 {
    /// Reads the prefix: encodes it, and keeps what the decoder looks at.
    ///
    /// # Shapes
    /// - `visual`: `[R, Q, D]`
    /// - `context`: `[R, C]`, padded
    pub fn begin(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> T5State {
        let prefix = self.prefix(visual, context);
        self.begin_encoded(self.encode(&prefix), prefix.real)
    }

    /// Visual tokens `[R, Q, D]`, then the embedded context `[R, C]`.
    pub fn prefix(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> Prefix {
        let Some(context) = context else { return Prefix { embeddings: visual, real: None } };
        let [num_rows, num_visual, _] = visual.dims();
        let shown = Tensor::ones([num_rows, num_visual], &context.device());
        let real = context.clone().not_equal_elem(self.vocabulary.pad).float();
        Prefix {
            embeddings: Tensor::cat(vec![visual, self.embed(context)], 1),
            real: Some(Tensor::cat(vec![shown, real], 1)),
        }
    }

    /// `tokens`: `[R, L]` → `[R, L, D]`.
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.dropout.forward(self.words.forward(tokens).cast(DType::F32))
    }

    /// The encoder's output, `[R, S, D]`.
    pub fn encode(&self, prefix: &Prefix) -> Tensor<3> {
        let mask = prefix.real.clone().map(|real| encoder_mask(real, self.masking));
        self.encoder.forward(prefix.embeddings.clone(), mask)
    }

    /// A text about to begin after a prefix that was encoded, `[R, S, D]`; `real` as in [`Prefix`].
    pub fn begin_encoded(&self, encoded: Tensor<3>, real: Option<Tensor<2>>) -> T5State {
        T5State {
            num_rows: encoded.dims()[0],
            layers: self.decoder.layers.iter().map(|layer| layer.begin(encoded.clone())).collect(),
            masking: self.masking,
            real,
            followed: None,
            num_text: 0,
        }
    }

    /// Reads the next tokens of texts in progress and appends them to `state`.
    ///
    /// # Shapes
    /// - `tokens`: `[R, L]`
    /// - output: features, `[R, L, D]`: the final norm's output
    pub fn read(&self, state: &mut T5State, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.advance(state, tokens, After::More)
    }

    /// Reads whole texts `[R, L]`, padded; nothing follows their last token. Output as in
    /// [`Self::read`].
    pub fn read_text(&self, mut state: T5State, text: Tensor<2, Int>) -> Tensor<3> {
        self.advance(&mut state, text, After::Nothing)
    }

    /// The same with adapters merged into what they adapt, for inference.
    pub fn merge_adapters(self) -> Self {
        let Encoder { layers, .. } = self.encoder;
        let layers = layers.into_iter().map(EncoderLayer::merge_adapters).collect();
        let encoder = Encoder { layers, ..self.encoder };
        let Decoder { layers, .. } = self.decoder;
        let layers = layers.into_iter().map(DecoderLayer::merge_adapters).collect();
        let decoder = Decoder { layers, ..self.decoder };
        Self { encoder, decoder, ..self }
    }

    /// Number of words, and their width.
    pub fn words_shape(&self) -> [usize; 2] {
        self.words.weight.lazy_shape().dims()
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.words.weight.device()
    }

    /// As [`Self::read`], where `after` says what follows `tokens`.
    fn advance(&self, state: &mut T5State, tokens: Tensor<2, Int>, after: After) -> Tensor<3> {
        let start = state.num_text;
        let masks = state.read(&tokens, self.vocabulary.pad, after);
        let end = state.num_text;
        let bias = self.decoder.positions.bias(start..end, end) + masks.text;
        let mut rows = self.embed(tokens);
        for (layer, memory) in self.decoder.layers.iter().zip(&mut state.layers) {
            rows = layer.forward(rows, memory, bias.clone(), masks.prefix.clone());
        }
        self.decoder.norm.forward(rows)
    }

    /// `features`: `[R, L, D]` → scores of the token that follows, `[R, L, V]`.
    pub fn logits(&self, features: Tensor<3>) -> Tensor<3> {
        let features = self.dropout.forward(features);
        match &self.output {
            Some(output) => apply(output, features),
            None => {
                // Rows of the table have the length √D; without the scale so would logits.
                let width = features.dims()[2] as f64;
                let table = self.words.weight.val().transpose();
                product(features.div_scalar(width.sqrt()), table, None)
            }
        }
    }
}

#[cfg(test)]
mod tests;

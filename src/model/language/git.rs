//! GIT-style decoder (`spec/model.md` §7): a post-norm BERT with visual tokens as a prefix.
//!
//! Prefix rows (visual tokens, then context) never see text. So the prefix is read first, on its
//! own, and leaves each layer's keys and values in a [`GitState`]; text is read after it, all at
//! once under teacher forcing or token by token when decoding, by the same function. Of the last
//! layer the prefix needs keys and values only: nobody reads its output there.
//!
//! Letters: `R` rows, `Q` visual tokens, `C` context tokens, `P = Q + C` prefix, `L` text tokens,
//! `T` text tokens up to now, `D` width, `V` vocabulary.

mod layer;

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Embedding, EmbeddingConfig, Initializer, Linear};
use burn::tensor::{Bool, Device, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Vocabulary;
use super::hidden_states::HiddenFusion;
use super::key_value::{KeyValue, RowChange};
use crate::model::ConfigProblem;
use crate::model::activation::Activation;
use crate::model::kernels::dropout::dropout;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::matrix_product::apply;
use crate::model::mixed_precision::linear;
use layer::GitLayer;

/// Added to the score of a column that a row must not see. Finite, because shaders need not
/// support infinities; far below any score, so that its probability is exactly 0.
const HIDDEN: f32 = -1.0e9;

/// Sizes of the decoder; defaults are the paper's small variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GitConfig {
    /// Width of a token.
    pub width: usize,
    /// Number of layers.
    pub depth: usize,
    /// Number of attention heads; divides `width`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Longest text, in tokens.
    pub max_positions: usize,
    /// Dropout on embeddings, attention and hidden states.
    pub dropout: f64,
    /// Activation of the feed-forward.
    pub activation: Activation,
    /// Standard deviation of initial kernels and tables. The paper's 0.02 belongs to its width; a
    /// narrow decoder learns faster from scratch with about `1 / √width`.
    pub initial_deviation: f64,
    /// Which hidden states the features for the point head are made of. Scores of the next token are
    /// always read from the last layer.
    pub fusion: HiddenFusion,
}

impl Default for GitConfig {
    fn default() -> Self {
        Self {
            width: 768,
            depth: 6,
            num_heads: 12,
            mlp_width: 3072,
            max_positions: 1024,
            dropout: 0.1,
            activation: Activation::Gelu,
            initial_deviation: 0.02,
            fusion: HiddenFusion::default(),
        }
    }
}

impl GitConfig {
    /// A decoder with fresh weights.
    pub fn init(&self, visual_width: usize, vocabulary: Vocabulary, device: &Device) -> GitDecoder {
        let table = |rows| {
            let table = EmbeddingConfig::new(rows, self.width);
            table.with_initializer(self.initializer()).init(device)
        };
        GitDecoder {
            visual_projection: self.linear(visual_width, self.width, device),
            visual_norm: layer_norm(self.width, 1e-5, device),
            words: table(vocabulary.size),
            positions: table(self.max_positions),
            embedding_norm: layer_norm(self.width, 1e-8, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            layers: (0..self.depth).map(|_| GitLayer::new(self, device)).collect(),
            output: self.linear(self.width, vocabulary.size, device),
            vocabulary,
            fusion: (!self.fusion.is_last_alone(self.depth + 1)).then(|| self.fusion.clone()),
        }
    }

    /// What every kernel and table starts from.
    fn initializer(&self) -> Initializer {
        Initializer::Normal { mean: 0.0, std: self.initial_deviation }
    }

    /// A linear layer; its bias starts at 0.
    fn linear(&self, input: usize, output: usize, device: &Device) -> Linear {
        let bias: Param<Tensor<1>> = Initializer::Zeros.init([output], device);
        Linear { weight: self.initializer().init([input, output], device), bias: Some(bias) }
    }

    /// What cannot be built; keys are relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let counts = [
            ("width", self.width),
            ("depth", self.depth),
            ("mlp_width", self.mlp_width),
            ("max_positions", self.max_positions),
        ];
        let mut problems: Vec<_> = counts
            .into_iter()
            .filter(|(_, count)| *count == 0)
            .map(|(key, _)| ConfigProblem {
                key: key.to_string(),
                problem: "is 0".to_string(),
                allowed: "at least 1".to_string(),
            })
            .collect();
        problems.extend(ConfigProblem::heads("num_heads", self.num_heads, self.width));
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(ConfigProblem {
                key: "dropout".to_string(),
                problem: format!("{} is not a probability below 1", self.dropout),
                allowed: "at least 0 and below 1".to_string(),
            });
        }
        problems.extend(ConfigProblem::under("fusion", self.fusion.validate(self.depth + 1)));
        problems
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct GitDecoder {
    visual_projection: Linear,
    visual_norm: LayerNorm,
    words: Embedding,
    positions: Embedding,
    embedding_norm: LayerNorm,
    dropout: Dropout,
    layers: Vec<GitLayer>,
    output: Linear,
    #[module(skip)]
    vocabulary: Vocabulary,
    /// `None` where the last layer is all that is read.
    #[module(skip)]
    fusion: Option<HiddenFusion>,
}

/// What the decoder remembers of prefix and text: one entry per layer.
#[derive(Debug, Clone)]
pub struct GitState {
    layers: Vec<KeyValue>,
    /// 0 or [`HIDDEN`] per prefix column, `[R, 1, 1, P]`; `None` where every column is real.
    prefix_mask: Option<Tensor<4>>,
    num_rows: usize,
    num_prefix: usize,
    num_text: usize,
}

impl GitState {
    /// Row `r` of the prefix becomes rows `r·count ..`, for `count` texts that share it.
    pub fn repeat_rows(self, count: usize) -> Self {
        self.change(&RowChange::Repeat(count))
    }

    /// Row `indices[i]` becomes row `i`; `indices`: `[R']`.
    pub fn select_rows(self, indices: Tensor<1, Int>) -> Self {
        self.change(&RowChange::Select(indices))
    }

    fn change(self, change: &RowChange) -> Self {
        Self {
            layers: self.layers.into_iter().map(|layer| layer.change_rows(change)).collect(),
            prefix_mask: self.prefix_mask.map(|mask| change.apply(mask)),
            num_rows: change.num_rows(self.num_rows),
            ..self
        }
    }

    /// Number of texts, `R`.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }
}

impl GitDecoder {
    /// Reads the prefix.
    ///
    /// # Shapes
    /// - `visual`: `[R, Q, visual width]`
    /// - `context`: `[R, C]`, padding hidden from every row
    pub fn begin(&self, visual: Tensor<3>, context: Option<Tensor<2, Int>>) -> GitState {
        self.read_prefix(visual, context, self.layers.len().saturating_sub(1)).0
    }

    /// Reads the prefix as [`Self::begin`], shapes too; also its last layer's output, `[R, P, D]`.
    pub fn begin_with_features(
        &self,
        visual: Tensor<3>,
        context: Option<Tensor<2, Int>>,
    ) -> (GitState, Tensor<3>) {
        self.read_prefix(visual, context, self.layers.len())
    }

    /// Every layer remembers the prefix, the first `depth` layers compute their output of it. Shapes as in
    /// [`Self::begin_with_features`].
    fn read_prefix(
        &self,
        visual: Tensor<3>,
        context: Option<Tensor<2, Int>>,
        depth: usize,
    ) -> (GitState, Tensor<3>) {
        let [rows, num_visual, _] = visual.dims();
        let visual = self.visual_norm.forward(linear(&self.visual_projection, visual));
        let (mut prefix, prefix_mask) = match context {
            None => (visual, None),
            Some(context) => {
                let mask = self.prefix_mask(&context, rows, num_visual);
                (Tensor::cat(vec![visual, self.embed(context, 0)], 1), Some(mask))
            }
        };
        let num_prefix = prefix.dims()[1];
        let mut memories = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let memory = layer.remember(prefix.clone());
            if index < depth {
                prefix = layer.forward(prefix, &memory, prefix_mask.clone());
            }
            memories.push(memory);
        }
        let state =
            GitState { layers: memories, prefix_mask, num_rows: rows, num_prefix, num_text: 0 };
        (state, prefix)
    }

    /// Reads the next tokens of every text and appends them to `state`.
    ///
    /// # Shapes
    /// - `tokens`: `[R, L]`
    /// - output: features, `[R, L, D]`: the last layer's output. Where several layers make the
    ///   features of the point head, these follow it on the last axis.
    pub fn read(&self, state: &mut GitState, tokens: Tensor<2, Int>) -> Tensor<3> {
        let mask = self.text_mask(state, &tokens);
        let mut text = self.embed(tokens, state.num_text);
        state.num_text += text.dims()[1];
        // Kept only where they are read: what nobody else holds is changed in place.
        let mut states = Vec::new();
        let memories = std::mem::take(&mut state.layers);
        for (layer, memory) in self.layers.iter().zip(memories) {
            if self.fusion.is_some() {
                states.push(text.clone());
            }
            let memory = memory.append(layer.remember(text.clone()));
            text = layer.forward(text, &memory, mask.clone());
            state.layers.push(memory);
        }
        states.push(text.clone());
        let fused = self.fusion.as_ref().and_then(|fusion| fusion.fuse(&states));
        match fused {
            Some(fused) => Tensor::cat(vec![text, fused], 2),
            None => text,
        }
    }

    /// Features as [`Self::read`] gives them → scores of the token that follows, `[R, L, V]`.
    pub fn logits(&self, features: Tensor<3>) -> Tensor<3> {
        let [width, _] = self.output.weight.dims();
        let features = if self.fusion.is_some() { features.narrow(2, 0, width) } else { features };
        apply(&self.output, features)
    }

    /// Features as [`Self::read`] gives them → those of the point head, `[B, N, L, D]`.
    pub fn point_features(&self, features: Tensor<4>) -> Tensor<4> {
        if self.fusion.is_none() {
            return features;
        }
        let [width, _] = self.output.weight.dims();
        let fused = features.dims()[3] - width;
        features.narrow(3, width, fused)
    }

    /// The vocabulary that the decoder writes in.
    pub fn vocabulary(&self) -> Vocabulary {
        self.vocabulary
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        self.output.weight.device()
    }

    /// Longest text, in tokens.
    pub fn max_positions(&self) -> usize {
        self.positions.weight.dims()[0]
    }

    /// `tokens`: `[R, L]`, the first at position `start` → `[R, L, D]`. Context and text share the
    /// tables, and both begin at position 0.
    fn embed(&self, tokens: Tensor<2, Int>, start: usize) -> Tensor<3> {
        let length = tokens.dims()[1];
        let positions = self.positions.weight.val().slice(start..start + length);
        let embedding = self.words.forward(tokens) + positions.unsqueeze::<3>();
        dropout(&self.dropout, self.embedding_norm.forward(embedding))
    }

    /// 0 at visual tokens and real context, [`HIDDEN`] at padding: `[R, 1, 1, Q + C]`.
    fn prefix_mask(&self, context: &Tensor<2, Int>, rows: usize, num_visual: usize) -> Tensor<4> {
        let padding = context.clone().equal_elem(self.vocabulary.pad);
        let visual = Tensor::zeros([rows, num_visual], &context.device());
        Tensor::cat(vec![visual, hidden_where(padding)], 1).unsqueeze_dims(&[1, 1])
    }

    /// What text rows see: the prefix but for padding, and text up to themselves. Text padding
    /// needs no mask, as it comes after everything real. `tokens` `[R, L]` →
    /// `[R or 1, 1, L, P + T]`; `None` where everything is seen.
    fn text_mask(&self, state: &GitState, tokens: &Tensor<2, Int>) -> Option<Tensor<4>> {
        let device = tokens.device();
        let length = tokens.dims()[1];
        if length == 1 && state.prefix_mask.is_none() {
            return None;
        }
        let num_columns = state.num_text + length;
        let text = hidden_where(Tensor::<2, Bool>::tril_mask(
            [length, num_columns],
            state.num_text as i64,
            &device,
        ))
        .unsqueeze::<4>();
        let prefix = match &state.prefix_mask {
            Some(mask) => mask.clone().repeat_dim(2, length),
            None => Tensor::zeros([1, 1, length, state.num_prefix], &device),
        };
        let text = text.repeat_dim(0, prefix.dims()[0]);
        Some(Tensor::cat(vec![prefix, text], 3))
    }
}

/// [`HIDDEN`] where true, else 0; of the shape of `mask`.
fn hidden_where(mask: Tensor<2, Bool>) -> Tensor<2> {
    mask.float().mul_scalar(HIDDEN)
}

/// A layer norm; the published decoder has a different epsilon at each place.
fn layer_norm(width: usize, epsilon: f64, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(epsilon).init(device)
}

#[cfg(test)]
pub(super) mod tests;

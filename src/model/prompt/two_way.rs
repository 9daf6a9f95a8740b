//! Two-way transformer (`spec/model.md` §6.1), shared by the adapter and the mask decoder: queries
//! read the image, and the image reads the queries.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Bool, Device, Tensor, activation};

use crate::model::ConfigProblem;
use crate::model::dense::dense;
use crate::model::kernels::layer_norm::{LayerNorm, LayerNormConfig};
use crate::model::kernels::softmax::softmax;
use crate::model::mixed_precision::{linear, matmul};

/// Cross-attention works on the width divided by this, in every published model.
pub const CROSS_ATTENTION_REDUCTION: usize = 2;

/// Score of a key that is not looked at: its softmax is 0 in 32 bits.
const HIDDEN: f32 = -1e9;

/// Sizes of a two-way transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwoWayConfig {
    /// Number of layers.
    pub depth: usize,
    /// Width of queries and keys.
    pub width: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Cross-attention works on `width` divided by this.
    pub cross_attention_reduction: usize,
}

impl TwoWayConfig {
    /// What cannot be built, with keys of the table that holds these sizes.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let Self { width, cross_attention_reduction: reduction, .. } = *self;
        // Cross-attention is the narrower of the two attentions.
        let inner = width.checked_div(reduction).unwrap_or(0);
        let mut problems: Vec<_> =
            ConfigProblem::heads("num_heads", self.num_heads, inner).into_iter().collect();
        if reduction == 0 || !width.is_multiple_of(reduction) {
            problems.push(ConfigProblem {
                key: "cross_attention_reduction".into(),
                problem: format!("{reduction} does not divide a width of {width}"),
                allowed: format!("a divisor of {width}"),
            });
        }
        problems
    }

    /// Builds the transformer on `device`.
    pub fn init(&self, device: &Device) -> TwoWayTransformer {
        TwoWayTransformer {
            layers: (0..self.depth).map(|index| Layer::new(self, index, device)).collect(),
            final_attention: self.cross_attention(device),
            final_norm: self.norm(device),
        }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(1e-5).init(device)
    }

    fn cross_attention(&self, device: &Device) -> Attention {
        let inner = self.width / self.cross_attention_reduction;
        Attention::new(self.width, inner, self.num_heads, device)
    }
}

/// Queries and keys that update each other.
#[derive(Module, Debug)]
pub struct TwoWayTransformer {
    layers: Vec<Layer>,
    final_attention: Attention,
    final_norm: LayerNorm,
}

impl TwoWayTransformer {
    /// # Shapes
    /// - `queries`: `[R, Q, D]`; as they are here they are also their own position
    /// - `keys`: `[R, K, D]`
    /// - `key_positions`: `[1, K, D]`
    /// - result: queries `[R, Q, D]` and keys `[R, K, D]`
    pub fn forward(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        key_positions: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        self.forward_masked(queries, keys, key_positions, None)
    }

    /// As [`Self::forward`], where some queries are padding: what nobody looks at changes nothing.
    ///
    /// # Shapes
    /// - `hidden`: `[R, Q]`, true for padding, of which a row must have less than `Q`; `None` for none
    pub fn forward_masked(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        key_positions: Tensor<3>,
        hidden: Option<Tensor<2, Bool>>,
    ) -> (Tensor<3>, Tensor<3>) {
        let hidden = hidden.map(|hidden| hidden.unsqueeze_dims(&[1, 2]));
        let positions = Positions { queries: queries.clone(), keys: key_positions, hidden };
        let (queries, keys) = self
            .layers
            .iter()
            .fold((queries, keys), |(q, k), layer| layer.forward(q, k, &positions));
        let read = self.final_attention.forward(
            queries.clone() + positions.queries,
            keys.clone() + positions.keys,
            keys.clone(),
            None,
        );
        (self.final_norm.forward(queries + read), keys)
    }
}

/// What every layer is told: what is added to queries and keys before every attention, and what is
/// hidden from it.
struct Positions {
    /// `[R, Q, D]`
    queries: Tensor<3>,
    /// `[1, K, D]`
    keys: Tensor<3>,
    /// Queries that are not looked at, `[R, 1, 1, Q]`.
    hidden: Option<Tensor<4, Bool>>,
}

#[derive(Module, Debug)]
struct Layer {
    self_attention: Attention,
    norm_1: LayerNorm,
    token_to_image: Attention,
    norm_2: LayerNorm,
    expand: Linear,
    contract: Linear,
    norm_3: LayerNorm,
    image_to_token: Attention,
    norm_4: LayerNorm,
    /// The first layer sees queries that are nothing but their positions: it replaces them.
    #[module(skip)]
    is_first: bool,
}

impl Layer {
    fn new(config: &TwoWayConfig, index: usize, device: &Device) -> Self {
        let TwoWayConfig { width, num_heads, mlp_width, .. } = *config;
        Self {
            self_attention: Attention::new(width, width, num_heads, device),
            norm_1: config.norm(device),
            token_to_image: config.cross_attention(device),
            norm_2: config.norm(device),
            expand: dense(width, mlp_width, device),
            contract: dense(mlp_width, width, device),
            norm_3: config.norm(device),
            image_to_token: config.cross_attention(device),
            norm_4: config.norm(device),
            is_first: index == 0,
        }
    }

    /// Queries `[R, Q, D]` and keys `[R, K, D]` to the same.
    fn forward(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        positions: &Positions,
    ) -> (Tensor<3>, Tensor<3>) {
        let placed = |queries: &Tensor<3>| queries.clone() + positions.queries.clone();
        let hidden = positions.hidden.as_ref();
        let queries = if self.is_first {
            self.self_attention.forward(queries.clone(), queries.clone(), queries, hidden)
        } else {
            let query = placed(&queries);
            queries.clone() + self.self_attention.forward(query.clone(), query, queries, hidden)
        };
        let queries = self.norm_1.forward(queries);

        let placed_keys = keys.clone() + positions.keys.clone();
        let read =
            self.token_to_image.forward(placed(&queries), placed_keys.clone(), keys.clone(), None);
        let queries = self.norm_2.forward(queries + read);

        let expanded = activation::relu(linear(&self.expand, queries.clone()));
        let queries = self.norm_3.forward(queries + linear(&self.contract, expanded));

        let written =
            self.image_to_token.forward(placed_keys, placed(&queries), queries.clone(), hidden);
        (queries, self.norm_4.forward(keys + written))
    }
}

/// Multi-head attention whose inner width may be smaller than its outer one.
#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    num_heads: usize,
}

impl Attention {
    fn new(width: usize, inner: usize, num_heads: usize, device: &Device) -> Self {
        let projection = || dense(width, inner, device);
        Self {
            query: projection(),
            key: projection(),
            value: projection(),
            output: dense(inner, width, device),
            num_heads,
        }
    }

    /// `query`: `[R, Q, D]`; `key`, `value`: `[R, K, D]`; `hidden`: `[R, 1, 1, K]`, true for keys that
    /// are not looked at; result: `[R, Q, D]`.
    fn forward(
        &self,
        query: Tensor<3>,
        key: Tensor<3>,
        value: Tensor<3>,
        hidden: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        let heads = |x: Tensor<3>| {
            let [rows, count, inner] = x.dims();
            x.reshape([rows, count, self.num_heads, inner / self.num_heads]).swap_dims(1, 2)
        };
        let query = heads(linear(&self.query, query));
        let key = heads(linear(&self.key, key));
        let value = heads(linear(&self.value, value));
        let [rows, num_heads, count, head_width] = query.dims();
        let logits = matmul(query * (head_width as f64).powf(-0.5), key.swap_dims(2, 3));
        let logits = match hidden {
            Some(hidden) => logits.clone().mask_fill(hidden.clone().expand(logits.dims()), HIDDEN),
            None => logits,
        };
        let attended = matmul(softmax(logits), value);
        let attended = attended.swap_dims(1, 2).reshape([rows, count, num_heads * head_width]);
        linear(&self.output, attended)
    }
}

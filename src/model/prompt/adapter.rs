//! Prompt adapter (`spec/model.md` §6): learned queries and prompt tokens read the image map.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::points::PromptTokens;
use super::two_way::{CROSS_ATTENTION_REDUCTION, TwoWayConfig, TwoWayTransformer};
use crate::model::ConfigProblem;
use crate::model::dense::dense;
use crate::model::mixed_precision::linear;

/// Sizes of the prompt adapter; defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterConfig {
    /// Number of two-way layers.
    pub depth: usize,
    /// Width inside the two-way transformer.
    pub width: usize,
    /// Number of attention heads; divides `width / cross_attention_reduction`.
    pub num_heads: usize,
    /// Hidden width of the feed-forward.
    pub mlp_width: usize,
    /// Attention between queries and image works on `width` divided by this.
    pub cross_attention_reduction: usize,
    /// Number of learned queries.
    pub num_queries: usize,
    /// Width of a visual token handed to the language model.
    pub output_width: usize,
    /// Which tokens are handed to the language model where the prompt is the whole image.
    pub features: PromptFeatures,
    /// Which tokens are handed to the language model where the prompt is a region of it.
    pub region_features: PromptFeatures,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            depth: 6,
            width: 512,
            num_heads: 8,
            mlp_width: 2048,
            cross_attention_reduction: CROSS_ATTENTION_REDUCTION,
            num_queries: 32,
            output_width: 1024,
            features: PromptFeatures::Sparse,
            region_features: PromptFeatures::Sparse,
        }
    }
}

/// What prompts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptScope {
    /// The whole image.
    Image,
    /// A region of it.
    Region,
}

/// Which tokens of the adapter the language model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptFeatures {
    /// The learned queries, each through its own output head (the paper).
    Sparse,
    /// Every cell of the image map, as the prompt has updated it.
    Dense,
    /// Queries, then cells.
    Both,
}

impl PromptFeatures {
    fn has_queries(self) -> bool {
        self != Self::Dense
    }

    fn has_cells(self) -> bool {
        self != Self::Sparse
    }
}

impl AdapterConfig {
    /// What cannot be built, with keys relative to this table.
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = self.two_way().validate();
        if self.num_queries == 0 {
            problems.push(ConfigProblem {
                key: "num_queries".into(),
                problem: "no query reads the image".into(),
                allowed: "at least 1".into(),
            });
        }
        problems
    }

    fn two_way(&self) -> TwoWayConfig {
        TwoWayConfig {
            depth: self.depth,
            width: self.width,
            num_heads: self.num_heads,
            mlp_width: self.mlp_width,
            cross_attention_reduction: self.cross_attention_reduction,
        }
    }

    /// Builds the adapter on `device`, for a fused map of `image_channels` and prompt tokens of
    /// `prompt_width`.
    pub fn init(
        &self,
        image_channels: usize,
        prompt_width: usize,
        device: &Device,
    ) -> PromptAdapter {
        let linear = |from, to| dense(from, to, device);
        let queries = [self.num_queries, self.width];
        let both = [self.features, self.region_features];
        let sparse = both.iter().any(|features| features.has_queries());
        let dense = both.iter().any(|features| features.has_cells());
        // As in the reference, prompts that have the width already are not projected.
        let projection = || (prompt_width != self.width).then(|| linear(prompt_width, self.width));
        PromptAdapter {
            queries: Param::from_tensor(Tensor::random(
                queries,
                Distribution::Normal(0.0, 1.0),
                device,
            )),
            image_projection: linear(image_channels, self.width),
            prompt_projection: projection(),
            position_projection: projection(),
            two_way: self.two_way().init(device),
            query_heads: sparse.then(|| QueryHeads::new(self, device)),
            cell_head: dense.then(|| linear(self.width, self.output_width)),
            features: self.features,
            region_features: self.region_features,
        }
    }
}

/// Reads the image for each prompt.
#[derive(Module, Debug)]
pub struct PromptAdapter {
    /// `[Q, D]`
    queries: Param<Tensor<2>>,
    image_projection: Linear,
    /// For sparse prompt tokens and for the "no mask" vector alike; `None` where they have the width
    /// of the adapter.
    prompt_projection: Option<Linear>,
    position_projection: Option<Linear>,
    two_way: TwoWayTransformer,
    query_heads: Option<QueryHeads>,
    cell_head: Option<Linear>,
    #[module(skip)]
    features: PromptFeatures,
    #[module(skip)]
    region_features: PromptFeatures,
}

impl PromptAdapter {
    /// # Shapes
    /// - `features`: `[B, C, H, W]`, the fused map
    /// - `prompts`: the tokens of each prompt, `[B, N, K, P]`
    /// - `grid`: `[P, H, W]`, the encoding of the cells' places
    /// - `no_mask`: `[P]`
    /// - result: `[B, N, Q, D]`: one token per query, per cell, or both
    pub fn forward(
        &self,
        features: Tensor<4>,
        prompts: impl Into<PromptTokens>,
        grid: Tensor<3>,
        no_mask: Tensor<1>,
        scope: PromptScope,
    ) -> Tensor<4> {
        let PromptTokens { tokens: prompts, hidden } = prompts.into();
        let [batch, rows, num_prompts, prompt_width] = prompts.dims();
        let [num_queries, width] = self.queries.dims();
        let count = batch * rows;

        let prompts = prompts.reshape([count, num_prompts, prompt_width]);
        let learned = self.queries.val().unsqueeze::<3>().expand([count, num_queries, width]);
        let queries = Tensor::cat(vec![learned, project(&self.prompt_projection, prompts)], 1);

        let no_mask = project(&self.prompt_projection, no_mask.unsqueeze::<3>());
        let keys = linear(&self.image_projection, cells(features)) + no_mask;
        let [_, num_cells, _] = keys.dims();
        let keys = keys.unsqueeze_dim::<4>(1).expand([batch, rows, num_cells, width]);
        let positions = project(&self.position_projection, cells(grid.unsqueeze()));

        let keys = keys.reshape([count, num_cells, width]);
        let hidden = hidden.map(|hidden| {
            let seen = Tensor::full([count, num_queries], false, &hidden.device());
            Tensor::cat(vec![seen, hidden.reshape([count, num_prompts])], 1)
        });
        let (queries, keys) = self.two_way.forward_masked(queries, keys, positions, hidden);
        let queries = queries.slice([0..count, 0..num_queries, 0..width]);
        let read = match scope {
            PromptScope::Image => self.features,
            PromptScope::Region => self.region_features,
        };
        let query_heads = self.query_heads.as_ref().filter(|_| read.has_queries());
        let cell_head = self.cell_head.as_ref().filter(|_| read.has_cells());
        let queries = query_heads.map(|heads| heads.forward(queries));
        let keys = cell_head.map(|head| head.forward(keys));
        let tokens = Tensor::cat([queries, keys].into_iter().flatten().collect(), 1);
        let [_, num_tokens, output_width] = tokens.dims();
        tokens.reshape([batch, rows, num_tokens, output_width])
    }
}

/// `x`: `[R, K, P]` → `[R, K, D]`
fn project(projection: &Option<Linear>, x: Tensor<3>) -> Tensor<3> {
    match projection {
        Some(projection) => linear(projection, x),
        None => x,
    }
}

/// `[B, C, H, W]` → `[B, H·W, C]`
fn cells(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

/// A linear layer of its own for every query.
#[derive(Module, Debug)]
struct QueryHeads {
    /// `[Q, D, output]`
    weight: Param<Tensor<3>>,
    /// `[Q, 1, output]`
    bias: Param<Tensor<3>>,
}

impl QueryHeads {
    fn new(config: &AdapterConfig, device: &Device) -> Self {
        let shape = [config.num_queries, config.width, config.output_width];
        // The variance of LeCun's initialisation, as every dense layer of the reference has.
        let deviation = (config.width as f64).powf(-0.5);
        let weight = Tensor::random(shape, Distribution::Normal(0.0, deviation), device);
        let bias = Tensor::zeros([config.num_queries, 1, config.output_width], device);
        Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) }
    }

    /// `[R, Q, D]` → `[R, Q, output]`
    fn forward(&self, queries: Tensor<3>) -> Tensor<3> {
        let per_query = queries.swap_dims(0, 1).matmul(self.weight.val()) + self.bias.val();
        per_query.swap_dims(0, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_model_reads_queries_cells_or_both() {
        let device = Device::flex();
        for (features, expected) in
            [(PromptFeatures::Sparse, 3), (PromptFeatures::Dense, 4), (PromptFeatures::Both, 7)]
        {
            let config = AdapterConfig {
                depth: 2,
                width: 16,
                num_heads: 2,
                mlp_width: 32,
                cross_attention_reduction: 2,
                num_queries: 3,
                output_width: 10,
                features,
                region_features: PromptFeatures::Sparse,
            };
            assert!(config.validate().is_empty());
            let adapter = config.init(5, 6, &device);
            for (scope, expected) in [(PromptScope::Image, expected), (PromptScope::Region, 3)] {
                let tokens = adapter.forward(
                    Tensor::ones([2, 5, 2, 2], &device),
                    Tensor::ones([2, 4, 5, 6], &device),
                    Tensor::ones([6, 2, 2], &device),
                    Tensor::ones([6], &device),
                    scope,
                );
                assert_eq!(tokens.dims(), [2, 4, expected, 10]);
            }
        }
    }

    #[test]
    fn prompts_of_the_adapter_s_own_width_are_not_projected() {
        let config =
            AdapterConfig { width: 16, num_heads: 2, depth: 1, ..AdapterConfig::default() };
        let device = Device::flex();
        assert!(config.init(5, 16, &device).prompt_projection.is_none());
        let projection = config.init(5, 6, &device).position_projection;
        assert!(projection.is_some_and(|layer| layer.weight.dims() == [6, 16]));
    }

    #[test]
    fn the_width_of_cross_attention_must_be_a_whole_number() {
        let config = AdapterConfig { cross_attention_reduction: 3, ..AdapterConfig::default() };
        assert!(config.validate().iter().any(|one| one.key == "cross_attention_reduction"));
    }
}

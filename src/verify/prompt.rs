//! Prompt encoders and the prompt adapter.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::two_way::TwoWaySettings;
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::prompt::adapter::{AdapterConfig, PromptFeatures, PromptScope};
use crate::model::prompt::location::{LocationConfig, LocationEncoder};
use crate::model::prompt::mask_prompt::{MaskPromptConfig, MaskPromptEncoder, Variance};
use crate::weights::prompt;

/// Settings of SAM's prompt encoder, and of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EncoderSettings {
    #[serde(default = "four")]
    num_point_embeddings: usize,
    embed_dim: usize,
    /// `(height, width)` of the grid.
    image_embedding_size: [usize; 2],
    /// `(height, width)` of the canvas.
    input_image_size: [usize; 2],
    mask_in_chans: usize,
    /// `(height, width)` of the canvas in outputs `…_imgsize` and `embed_points_nopad`.
    image_size: [usize; 2],
    /// `(height, width)` of the grid in the output `dense_pe_sized`.
    dense_pe_sized: [usize; 2],
}

fn four() -> usize {
    4
}

/// The two parts of SAM's prompt encoder.
#[derive(Module, Debug)]
struct PromptEncoders {
    location: LocationEncoder,
    masks: Option<MaskPromptEncoder>,
}

/// `[W, H, W]` → `[H, W, C]`
fn channels_last(grid: Tensor<3>) -> Tensor<3> {
    grid.permute([1, 2, 0])
}

/// Points, boxes and masks → sparse and dense tokens.
pub(super) fn encoders(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: EncoderSettings = vectors.config()?;
    vectors.require("num_point_embeddings", &settings.num_point_embeddings, &4)?;
    let width = settings.embed_dim;
    let masks =
        MaskPromptConfig { channels: settings.mask_in_chans, width, variance: Variance::Moments };
    let mut encoders = PromptEncoders {
        location: LocationConfig { width, ..LocationConfig::default() }.init(device),
        masks: vectors.has_input("masks").then(|| masks.init(device)),
    };
    let parts = [
        (&prompt::LOCATION_JAX, "param/", "location."),
        (&prompt::MASK_JAX, "param/mask_downscaling/", "masks."),
    ];
    vectors.load_parts(&mut encoders, &parts)?;

    let mut produced = sparse(vectors, &settings, &encoders.location, device)?;
    let count = vectors.input::<3>("points", device)?.dims()[0];
    produced.extend(dense(&settings, &encoders.location, count));
    if let Some(encoder) = &encoders.masks {
        let masks = vectors.input::<4>("masks", device)?.permute([0, 3, 1, 2]);
        let tokens = encoder.forward(masks).permute([0, 2, 3, 1]);
        produced.push(Produced::float("masks.dense", tokens, Tolerance::FEATURES));
    }
    Ok(produced)
}

/// Tokens of points and boxes; each prompt of the file is a row here.
fn sparse(
    vectors: &Vectors,
    settings: &EncoderSettings,
    encoder: &LocationEncoder,
    device: &Device,
) -> Result<Vec<Produced>> {
    let points = vectors.input::<3>("points", device)?.unsqueeze_dim::<4>(0);
    let labels = vectors.integers::<2>("labels", device)?.unsqueeze_dim::<3>(0);
    let boxes = vectors.input::<2>("boxes", device)?.unsqueeze_dim::<3>(0);
    let [canvas, other] =
        [settings.input_image_size, settings.image_size].map(|[height, width]| [width, height]);
    let placed = |canvas| encoder.points(points.clone(), labels.clone(), canvas);
    let padded = |canvas| encoder.padded_points(points.clone(), labels.clone(), canvas);
    let corners = |canvas| encoder.box_corners(boxes.clone(), canvas);
    let outputs = [
        ("embed_points_nopad", placed(other)),
        ("points_pad.sparse", padded(canvas)),
        ("points_pad_imgsize.sparse", padded(other)),
        ("points_boxes.sparse", Tensor::cat(vec![placed(canvas), corners(canvas)], 2)),
        ("boxes_only.sparse", corners(canvas)),
        ("boxes_only_imgsize.sparse", corners(other)),
    ];
    let produced = outputs.map(|(name, tokens)| {
        Produced::float(name, tokens.squeeze_dim::<3>(0), Tolerance::FEATURES)
    });
    Ok(produced.into())
}

/// Encodings of grids, and what stands for "no mask" in each of `count` prompts.
fn dense(settings: &EncoderSettings, encoder: &LocationEncoder, count: usize) -> Vec<Produced> {
    let grid = |[height, width]: [usize; 2]| channels_last(encoder.grid(height, width));
    let [height, width] = settings.image_embedding_size;
    let no_mask = encoder.no_mask().reshape([1, 1, 1, settings.embed_dim]);
    let no_mask = no_mask.expand([count, height, width, settings.embed_dim]);
    vec![
        Produced::float("dense_pe", grid([height, width]), Tolerance::FEATURES),
        Produced::float("dense_pe_sized", grid(settings.dense_pe_sized), Tolerance::FEATURES),
        Produced::float("points_pad.dense", no_mask.clone(), Tolerance::FEATURES),
        Produced::float("points_boxes.dense", no_mask, Tolerance::FEATURES),
    ]
}

/// Settings of the reference's prompt adapter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdapterSettings {
    depth: usize,
    /// Width of a prompt token.
    pub(super) input_embedding_dim: usize,
    transformer_dim: usize,
    num_outputs: usize,
    /// The heads have one layer, so nothing is hidden.
    #[serde(default)]
    #[allow(dead_code)]
    head_hidden_dim: usize,
    output_dim: usize,
    #[serde(default)]
    transformer: TwoWaySettings,
}

impl AdapterSettings {
    /// The same in our words, with `features` as the visual tokens.
    pub(super) fn config(
        &self,
        vectors: &Vectors,
        features: PromptFeatures,
    ) -> Result<AdapterConfig> {
        let transformer = &self.transformer;
        transformer.check(vectors, self.depth, self.transformer_dim)?;
        Ok(AdapterConfig {
            depth: self.depth,
            width: self.transformer_dim,
            num_heads: transformer.num_heads,
            mlp_width: transformer.mlp_dim,
            cross_attention_reduction: transformer.attention_downsample_rate,
            num_queries: self.num_outputs,
            output_width: self.output_dim,
            features,
            region_features: features,
        })
    }
}

/// One image, several prompts → `out/sparse`, `out/dense`.
pub(super) fn adapter(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: AdapterSettings = vectors.config()?;
    let config = settings.config(vectors, PromptFeatures::Both)?;
    let channels_first = |map: Tensor<3>| map.permute([2, 0, 1]);
    let image = vectors.input::<3>("image_embeddings", device)?;
    let [height, width, channels] = image.dims();
    let prompts = vectors.input::<3>("sparse_prompt_embeddings", device)?;
    let [count, _, _] = prompts.dims();
    let mut adapter = config.init(channels, settings.input_embedding_dim, device);
    vectors.load(&mut adapter, &prompt::ADAPTER_JAX, "param/")?;

    let tokens = adapter.forward(
        channels_first(image).unsqueeze(),
        prompts.unsqueeze_dim(0),
        channels_first(vectors.input("image_pe", device)?),
        vectors.input::<2>("dense_prompt_embeddings", device)?.squeeze_dim(0),
        PromptScope::Image,
    );
    let tokens = tokens.squeeze_dim::<3>(0);
    let cells = tokens.clone().narrow(1, settings.num_outputs, height * width);
    let cells = cells.reshape([count, height, width, settings.output_dim]);
    let queries = tokens.narrow(1, 0, settings.num_outputs);
    Ok(vec![
        Produced::float("sparse", queries, Tolerance::FEATURES),
        Produced::float("dense", cells, Tolerance::FEATURES),
    ])
}

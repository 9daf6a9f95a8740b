//! The image encoders.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::vision::Resampling;
use crate::model::vision::eva::EvaConfig;
use crate::model::vision::sam::SamConfig;
use crate::weights::{eva, sam};

/// Images `[B, H, W, 3]` → `[B, 3, H, W]`, and back for maps.
pub(super) fn channels_first(images: Tensor<4>) -> Tensor<4> {
    images.permute([0, 3, 1, 2])
}

fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

/// Settings of the reference's EVA-02.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EvaSettings {
    #[serde(default = "yes")]
    use_abs_pos: bool,
    #[serde(default = "yes")]
    pretrain_use_cls_token: bool,
    #[serde(default)]
    use_ln_pre: bool,
    #[serde(default = "yes")]
    pe_bias: bool,
    /// Training only: which patches are masked is drawn.
    #[serde(default = "minus_one")]
    token_mask_probability: f64,
    /// Training only.
    #[serde(default = "minus_one")]
    #[allow(dead_code)]
    freeze_vit_layer: f64,
    patch_size: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    #[serde(default = "eva_mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default = "yes")]
    use_ln_post: bool,
    pretrain_img_size: usize,
    /// Training only; the vectors are made without it.
    #[serde(default)]
    #[allow(dead_code)]
    drop_path_rate: f64,
    /// Of the file, not of the module: the sizes of its images.
    #[serde(default)]
    #[allow(dead_code)]
    sizes: Vec<usize>,
}

fn yes() -> bool {
    true
}

fn minus_one() -> f64 {
    -1.0
}

fn eva_mlp_ratio() -> f64 {
    EvaConfig::default().mlp_ratio
}

impl EvaSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<EvaConfig> {
        vectors.require("use_abs_pos", &self.use_abs_pos, &true)?;
        vectors.require("pretrain_use_cls_token", &self.pretrain_use_cls_token, &true)?;
        vectors.require("use_ln_pre", &self.use_ln_pre, &false)?;
        vectors.require("pe_bias", &self.pe_bias, &true)?;
        vectors.require("token_mask_probability", &self.token_mask_probability, &-1.0)?;
        Ok(EvaConfig {
            width: self.embed_dim,
            depth: self.depth,
            num_heads: self.num_heads,
            patch_px: self.patch_size,
            mlp_ratio: self.mlp_ratio,
            drop_path: 0.0,
            pretrain_image_px: self.pretrain_img_size,
            final_norm: self.use_ln_post,
            ..EvaConfig::default()
        })
    }
}

/// `in/images_{size}` → `out/tokens_{size}`.
pub(super) fn eva(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: EvaSettings = vectors.config()?;
    let mut encoder = settings.config(vectors)?.init(device);
    vectors.load(&mut encoder, &eva::JAX, "param/")?;
    let tolerance =
        if settings.use_ln_post { Tolerance::FEATURES } else { Tolerance::UNNORMALISED };
    vectors
        .input_names("images_")
        .map(|name| {
            let tokens = encoder.tokens(channels_first(vectors.input(name, device)?));
            Ok(Produced::float(name.replacen("images", "tokens", 1), tokens, tolerance))
        })
        .collect()
}

/// Settings of the reference's SAM encoder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SamSettings {
    #[serde(default = "yes")]
    qkv_bias: bool,
    #[serde(default)]
    beit_like_qkv_bias: bool,
    #[serde(default = "yes")]
    use_abs_pos: bool,
    #[serde(default = "yes")]
    use_rel_pos: bool,
    #[serde(default = "minus_one")]
    layer_scale_init_value: f64,
    /// Training only.
    #[serde(default = "minus_one")]
    #[allow(dead_code)]
    freeze_vit_layer: f64,
    #[serde(default)]
    use_ln_pre: bool,
    img_size: usize,
    patch_size: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    #[serde(default = "sam_mlp_ratio")]
    mlp_ratio: f64,
    out_chans: usize,
    window_size: usize,
    window_block_indexes: Vec<usize>,
    /// Training only; the vectors are made without it.
    #[serde(default)]
    #[allow(dead_code)]
    drop_path_rate: f64,
}

fn sam_mlp_ratio() -> f64 {
    SamConfig::default().mlp_ratio
}

impl SamSettings {
    /// The same in our words.
    pub(super) fn config(&self, vectors: &Vectors) -> Result<SamConfig> {
        vectors.require("qkv_bias", &self.qkv_bias, &true)?;
        vectors.require("beit_like_qkv_bias", &self.beit_like_qkv_bias, &false)?;
        vectors.require("use_abs_pos", &self.use_abs_pos, &true)?;
        vectors.require("use_rel_pos", &self.use_rel_pos, &true)?;
        vectors.require("layer_scale_init_value", &(self.layer_scale_init_value > 0.0), &false)?;
        vectors.require("use_ln_pre", &self.use_ln_pre, &false)?;
        let is_global = |block: &usize| !self.window_block_indexes.contains(block);
        Ok(SamConfig {
            width: self.embed_dim,
            depth: self.depth,
            num_heads: self.num_heads,
            patch_px: self.patch_size,
            mlp_ratio: self.mlp_ratio,
            window_tokens: self.window_size,
            global_blocks: (0..self.depth).filter(is_global).collect(),
            pretrain_image_px: self.img_size,
            output_channels: self.out_chans,
            drop_path: 0.0,
            ..SamConfig::default()
        })
    }
}

/// `in/images_{size}` → `out/features_{size}`.
pub(super) fn sam(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let mut encoder = vectors.config::<SamSettings>()?.config(vectors)?.init(device);
    vectors.load(&mut encoder, &sam::JAX, "param/")?;
    vectors
        .input_names("images_")
        .map(|name| {
            let map = encoder.forward(channels_first(vectors.input(name, device)?));
            let name = name.replacen("images", "features", 1);
            Ok(Produced::float(name, channels_last(map), Tolerance::FEATURES))
        })
        .collect()
}

/// Options of timm's `Eva`.
#[derive(Debug, Deserialize)]
struct TimmSettings {
    img_size: usize,
    patch_size: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    mlp_ratio: f64,
    scale_mlp: bool,
    ref_feat_shape: [usize; 2],
}

/// An EVA-02 of timm: its tokens before and after the final norm.
pub(super) fn timm_eva(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: TimmSettings = vectors.config()?;
    let config = EvaConfig {
        width: settings.embed_dim,
        depth: settings.depth,
        num_heads: settings.num_heads,
        patch_px: settings.patch_size,
        mlp_ratio: settings.mlp_ratio,
        inner_norm: settings.scale_mlp,
        inner_norm_epsilon: 1e-6,
        drop_path: 0.0,
        pretrain_image_px: settings.img_size,
        resampling: Resampling::Torch,
        ..EvaConfig::default()
    };
    // Raw indices and indices spread over a grid of the same side are the same.
    let rotary_reference_cells = Some(settings.ref_feat_shape[0]);
    let mut encoder = EvaConfig { rotary_reference_cells, ..config }.init(device);
    vectors.load(&mut encoder, &eva::TIMM, "")?;
    let images = vectors.input::<4>("images", device)?;
    let [tokens, normalised] = encoder.tokens_around_norm(images);
    Ok(vec![
        Produced::float("pre_norm_tokens", tokens, Tolerance::UNNORMALISED),
        Produced::float("forward_features", normalised, Tolerance::FEATURES),
    ])
}

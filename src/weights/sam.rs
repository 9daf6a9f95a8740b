//! Names of SAM's image encoder in public files (`spec/model.md` §3).

use super::name_map::Change::Permute;
use super::name_map::Kind::{Convolution, Linear, Norm, Table};
use super::name_map::Places::{Distances, Grid};
use super::name_map::{Change, Dialect, Entry, NameMap};

/// `[1, H, W, D]` → `[1, D, H, W]`.
const CHANNELS_FIRST: &[Change] = &[Permute(&[0, 3, 1, 2])];

/// The reference in JAX.
pub const JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[ENCODER] };

/// Meta's files, under `image_encoder.`.
pub const META: NameMap = NameMap { dialect: Dialect::Torch, entries: &[ENCODER] };

const ENCODER: &[Entry] = &[
    ("patch_embed.proj", "patch_embedding.convolutions.0", Convolution),
    ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
    ("blocks.{i}/norm1", "blocks.{i}.norm_1", Norm),
    ("blocks.{i}/attn/qkv", "blocks.{i}.attention.qkv", Linear),
    ("blocks.{i}/attn/proj", "blocks.{i}.attention.output", Linear),
    ("blocks.{i}/attn/rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
    ("blocks.{i}/attn/rel_pos_w", "blocks.{i}.attention.relative_columns", Table(Distances, &[])),
    ("blocks.{i}/norm2", "blocks.{i}.norm_2", Norm),
    ("blocks.{i}/mlp/lin1", "blocks.{i}.expand", Linear),
    ("blocks.{i}/mlp/lin2", "blocks.{i}.contract", Linear),
    ("neck/0", "neck.reduce", Convolution),
    ("neck/1", "neck.norm_1", Norm),
    ("neck/2", "neck.mix", Convolution),
    ("neck/3", "neck.norm_2", Norm),
];

/// Hugging Face's `SamModel`, under `vision_encoder.`.
pub const HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[&[
        ("patch_embed.projection", "patch_embedding.convolutions.0", Convolution),
        ("pos_embed", "positions", Table(Grid, CHANNELS_FIRST)),
        ("layers.{i}.layer_norm1", "blocks.{i}.norm_1", Norm),
        ("layers.{i}.attn.qkv", "blocks.{i}.attention.qkv", Linear),
        ("layers.{i}.attn.proj", "blocks.{i}.attention.output", Linear),
        ("layers.{i}.attn.rel_pos_h", "blocks.{i}.attention.relative_rows", Table(Distances, &[])),
        (
            "layers.{i}.attn.rel_pos_w",
            "blocks.{i}.attention.relative_columns",
            Table(Distances, &[]),
        ),
        ("layers.{i}.layer_norm2", "blocks.{i}.norm_2", Norm),
        ("layers.{i}.mlp.lin1", "blocks.{i}.expand", Linear),
        ("layers.{i}.mlp.lin2", "blocks.{i}.contract", Linear),
        ("neck.conv1", "neck.reduce", Convolution),
        ("neck.layer_norm1", "neck.norm_1", Norm),
        ("neck.conv2", "neck.mix", Convolution),
        ("neck.layer_norm2", "neck.norm_2", Norm),
    ]],
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::Device;

    use crate::model::heads::masks::mask_decoder::MaskDecoderConfig;
    use crate::model::prompt::location::LocationConfig;
    use crate::model::vision::sam::SamConfig;
    use crate::weights::layout;
    use crate::weights::load::parameter_shapes;

    /// Layers of the encoder of Hugging Face's `sam-vit-base`.
    const DEPTH: usize = 12;

    /// `layers` with the two parameters that each has.
    fn with_bias(layers: impl IntoIterator<Item = String>) -> Vec<String> {
        let parts = |layer: String| ["weight", "bias"].map(|part| format!("{layer}.{part}"));
        layers.into_iter().flat_map(parts).collect()
    }

    fn encoder_names() -> Vec<String> {
        let block = |i: usize| {
            let inner =
                ["layer_norm1", "attn.qkv", "attn.proj", "layer_norm2", "mlp.lin1", "mlp.lin2"];
            let mut names = with_bias(inner.map(|name| format!("layers.{i}.{name}")));
            names.extend(["h", "w"].map(|axis| format!("layers.{i}.attn.rel_pos_{axis}")));
            names
        };
        let mut names: Vec<String> = (0..DEPTH).flat_map(block).collect();
        let others = ["patch_embed.projection", "neck.layer_norm1", "neck.layer_norm2"];
        names.extend(with_bias(others.map(String::from)));
        names.extend(["pos_embed", "neck.conv1.weight", "neck.conv2.weight"].map(String::from));
        names.iter().map(|name| format!("vision_encoder.{name}")).collect()
    }

    fn decoder_names() -> Vec<String> {
        let attention = |name: String| {
            ["q_proj", "k_proj", "v_proj", "out_proj"].map(|part| format!("{name}.{part}"))
        };
        let layer = |i: usize| {
            let layer = format!("transformer.layers.{i}");
            let attentions =
                ["self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"];
            let attentions = attentions.map(|name| format!("{layer}.{name}"));
            let others = ["mlp.lin1", "mlp.lin2"].map(String::from);
            let norms = (1..=4).map(|norm| format!("layer_norm{norm}"));
            let others = others.into_iter().chain(norms).map(move |name| format!("{layer}.{name}"));
            attentions.into_iter().flat_map(attention).chain(others).collect::<Vec<_>>()
        };
        let mut layers: Vec<String> = (0..2).flat_map(layer).collect();
        layers.extend(attention("transformer.final_attn_token_to_image".into()));
        let others = [
            "transformer.layer_norm_final_attn",
            "upscale_conv1",
            "upscale_layer_norm",
            "upscale_conv2",
        ];
        layers.extend(others.map(String::from));
        let networks = (0..4).map(|i| format!("output_hypernetworks_mlps.{i}"));
        for network in networks.chain(["iou_prediction_head".into()]) {
            layers.extend(
                ["proj_in", "layers.0", "proj_out"].map(|part| format!("{network}.{part}")),
            );
        }
        let mut names = with_bias(layers);
        names.extend(["iou_token.weight", "mask_tokens.weight"].map(String::from));
        names.iter().map(|name| format!("mask_decoder.{name}")).collect()
    }

    fn prompt_names() -> Vec<String> {
        let mut names: Vec<String> =
            (0..4).map(|i| format!("prompt_encoder.point_embed.{i}.weight")).collect();
        let others = ["not_a_point_embed.weight", "no_mask_embed.weight"];
        names.extend(others.map(|name| format!("prompt_encoder.{name}")));
        names.push("shared_image_embedding.positional_embedding".into());
        names
    }

    /// What is a copy of something else, and what reads masks as prompts.
    fn unused_names() -> Vec<String> {
        let layers = ["conv1", "layer_norm1", "conv2", "layer_norm2", "conv3"];
        let mut names = with_bias(layers.map(|name| format!("prompt_encoder.mask_embed.{name}")));
        names.push("prompt_encoder.shared_embedding.positional_embedding".into());
        names
    }

    #[test]
    fn every_tensor_of_the_published_base_model_has_its_parameter() {
        let file = layout::tests::file(
            [encoder_names(), decoder_names(), prompt_names(), unused_names()].concat(),
        );
        let fitted = layout::guess(&file).unwrap();
        assert_eq!(fitted.layout.name, "hf-sam");
        for name in unused_names() {
            assert_eq!(fitted.targets(&name), [], "{name}");
        }
        let sizes = SamConfig { depth: DEPTH, ..SamConfig::default() };
        let device = Device::flex();
        let modules = [
            ("vision.sam.", parameter_shapes(&sizes.init(&device)), encoder_names()),
            (
                "location.",
                parameter_shapes(&LocationConfig::default().init(&device)),
                prompt_names(),
            ),
            (
                "masks.decoder.",
                parameter_shapes(&MaskDecoderConfig::default().init(&device)),
                decoder_names(),
            ),
        ];
        for (prefix, parameters, names) in modules {
            let mut found = BTreeSet::new();
            for name in names {
                let targets = fitted.targets(&name);
                assert_eq!(targets.len(), 1, "{name}");
                assert!(found.insert((targets[0].path.clone(), targets[0].row)), "{name}");
            }
            let found: BTreeSet<String> = found.into_iter().map(|(path, _)| path).collect();
            let expected = parameters.into_keys().map(|path| format!("{prefix}{path}"));
            assert_eq!(found, expected.collect());
        }
    }
}

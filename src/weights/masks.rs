//! Names of SAM's mask decoder and of the mask adapter in public files (`spec/model.md` §11).

use super::name_map::Kind::{Linear, Norm, Tensor, Transposed};
use super::name_map::{Dialect, Entry, NameMap};
use super::two_way;

/// The mask decoder of the reference in JAX.
pub const DECODER_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: DECODER };

/// The mask decoder of Meta's files, under `mask_decoder.`.
pub const DECODER_META: NameMap = NameMap { dialect: Dialect::Torch, entries: DECODER };

/// The mask decoder of Hugging Face's `SamModel`, under `mask_decoder.`; its networks have three layers,
/// of which the one in the middle has a number.
pub const DECODER_HUGGING_FACE: NameMap = NameMap {
    dialect: Dialect::Torch,
    entries: &[
        two_way::LAYERS,
        two_way::NORMS_HUGGING_FACE,
        DECODER_TOKENS,
        &[
            ("upscale_conv1", "upscaling.first", Transposed),
            ("upscale_layer_norm", "upscaling.norm", Norm),
            ("upscale_conv2", "upscaling.second", Transposed),
            ("output_hypernetworks_mlps.{i}/proj_in", "hyper_networks.{i}.layers.0", Linear),
            ("output_hypernetworks_mlps.{i}/layers.0", "hyper_networks.{i}.layers.1", Linear),
            ("output_hypernetworks_mlps.{i}/proj_out", "hyper_networks.{i}.layers.2", Linear),
            ("iou_prediction_head/proj_in", "iou_head.layers.0", Linear),
            ("iou_prediction_head/layers.0", "iou_head.layers.1", Linear),
            ("iou_prediction_head/proj_out", "iou_head.layers.2", Linear),
        ],
    ],
};

/// The mask adapter of the reference in JAX.
pub const ADAPTER_JAX: NameMap = NameMap {
    dialect: Dialect::Flax,
    entries: &[
        two_way::LAYERS,
        two_way::NORMS,
        &[
            ("output_tokens.weight", "tokens", Tensor(&[])),
            ("alpha_output.weight", "gate", Tensor(&[])),
            ("visual_projection_mlp/LayerNorm_0", "visual_projection.norm", Norm),
            ("visual_projection_mlp/layers.0", "visual_projection.linear", Linear),
            ("textual_projection_mlp/LayerNorm_0", "text_projection.norm", Norm),
            ("textual_projection_mlp/layers.0", "text_projection.linear", Linear),
        ],
    ],
};

const DECODER: &[&[Entry]] = &[
    two_way::LAYERS,
    two_way::NORMS,
    DECODER_TOKENS,
    &[
        ("output_upscaling/0", "upscaling.first", Transposed),
        ("output_upscaling/1", "upscaling.norm", Norm),
        ("output_upscaling/3", "upscaling.second", Transposed),
        ("output_hypernetworks_mlps.{i}/layers.{j}", "hyper_networks.{i}.layers.{j}", Linear),
        ("iou_prediction_head/layers.{j}", "iou_head.layers.{j}", Linear),
    ],
];

const DECODER_TOKENS: &[Entry] = &[
    ("iou_token.weight", "iou_token", Tensor(&[])),
    ("mask_tokens.weight", "mask_tokens", Tensor(&[])),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::Device;

    use super::*;
    use crate::model::heads::masks::mask_decoder::MaskDecoderConfig;
    use crate::weights::load::parameter_shapes;

    /// Names of the layers of a decoder with one two-way layer and two masks.
    fn hugging_face_layers() -> Vec<String> {
        let first = "transformer.layers.0";
        let attentions = [
            format!("{first}.self_attn"),
            format!("{first}.cross_attn_token_to_image"),
            format!("{first}.cross_attn_image_to_token"),
            "transformer.final_attn_token_to_image".to_string(),
        ];
        let projections = ["q_proj", "k_proj", "v_proj", "out_proj"];
        let mut layers: Vec<String> = attentions
            .iter()
            .flat_map(|attention| projections.map(|name| format!("{attention}.{name}")))
            .collect();
        layers.extend(["lin1", "lin2"].map(|name| format!("{first}.mlp.{name}")));
        layers.extend((1..=4).map(|i| format!("{first}.layer_norm{i}")));
        layers.push("transformer.layer_norm_final_attn".into());
        layers.extend(["upscale_conv1", "upscale_layer_norm", "upscale_conv2"].map(String::from));
        let networks =
            ["output_hypernetworks_mlps.0", "output_hypernetworks_mlps.1", "iou_prediction_head"];
        let parts = ["proj_in", "layers.0", "proj_out"];
        layers.extend(networks.iter().flat_map(|name| parts.map(|part| format!("{name}.{part}"))));
        layers
    }

    #[test]
    fn every_parameter_of_a_decoder_has_one_name_at_hugging_face() {
        let config = MaskDecoderConfig {
            width: 8,
            depth: 1,
            num_heads: 1,
            mlp_width: 4,
            num_multiple: 1,
            ..MaskDecoderConfig::default()
        };
        let parameters = parameter_shapes(&config.init(&Device::flex()));
        let map = DECODER_HUGGING_FACE.compile("mask_decoder.", "");
        let mut names: Vec<String> = hugging_face_layers()
            .iter()
            .flat_map(|layer| ["weight", "bias"].map(|part| format!("{layer}.{part}")))
            .collect();
        names.extend(["iou_token.weight", "mask_tokens.weight"].map(String::from));
        let targets: Vec<String> = names
            .iter()
            .flat_map(|name| map.targets(&format!("mask_decoder.{name}")))
            .map(|target| target.path)
            .collect();
        assert_eq!(targets.len(), names.len());
        let found: BTreeSet<&String> = targets.iter().collect();
        assert_eq!(found, parameters.keys().collect());
    }
}

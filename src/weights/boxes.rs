//! Names of the box decoder's parameters in the reference (`spec/model.md` §10).

use super::name_map::Change::{Permute, Reverse};
use super::name_map::Kind::{Convolution, Linear, Norm, Tensor};
use super::name_map::{Change, Dialect, Entry, NameMap};

/// `[h, w, in, out]` → `[in, out, h, w]`. The reference's transposed convolution is written as a
/// convolution of the spread-out map, whose kernel lies the other way round.
const TRANSPOSED: &[Change] = &[Permute(&[2, 3, 0, 1]), Reverse(2), Reverse(3)];

/// The feature pyramid. Its modules are called by the level and their place in it.
const PYRAMID: [Entry; 25] = [
    ("simfp_2.0/kernel", "quadruple.upscale_1.weight", Tensor(TRANSPOSED)),
    ("simfp_2.0/bias", "quadruple.upscale_1.bias", Tensor(&[])),
    ("simfp_2.1", "quadruple.upscale_norm", Norm),
    ("simfp_2.3/kernel", "quadruple.upscale_2.weight", Tensor(TRANSPOSED)),
    ("simfp_2.3/bias", "quadruple.upscale_2.bias", Tensor(&[])),
    ("simfp_2.4", "quadruple.reduce", Convolution),
    ("simfp_2.4.norm", "quadruple.norm_1", Norm),
    ("simfp_2.5", "quadruple.mix", Convolution),
    ("simfp_2.5.norm", "quadruple.norm_2", Norm),
    ("simfp_3.0/kernel", "double.upscale_1.weight", Tensor(TRANSPOSED)),
    ("simfp_3.0/bias", "double.upscale_1.bias", Tensor(&[])),
    ("simfp_3.1", "double.reduce", Convolution),
    ("simfp_3.1.norm", "double.norm_1", Norm),
    ("simfp_3.2", "double.mix", Convolution),
    ("simfp_3.2.norm", "double.norm_2", Norm),
    ("simfp_4.0", "same.reduce", Convolution),
    ("simfp_4.0.norm", "same.norm_1", Norm),
    ("simfp_4.1", "same.mix", Convolution),
    ("simfp_4.1.norm", "same.norm_2", Norm),
    ("simfp_5.1", "half.reduce", Convolution),
    ("simfp_5.1.norm", "half.norm_1", Norm),
    ("simfp_5.2", "half.mix", Convolution),
    ("simfp_5.2.norm", "half.norm_2", Norm),
    ("top_block/p6", "extra_1", Convolution),
    ("top_block/p7", "extra_2", Convolution),
];

/// The first stage. Convolution, norm and ReLU of a layer count on, three by three.
const HEAD: [Entry; 19] = [
    ("bbox_tower/0", "tower.0.convolution", Convolution),
    ("bbox_tower/1", "tower.0.norm", Norm),
    ("bbox_tower/3", "tower.1.convolution", Convolution),
    ("bbox_tower/4", "tower.1.norm", Norm),
    ("bbox_tower/6", "tower.2.convolution", Convolution),
    ("bbox_tower/7", "tower.2.norm", Norm),
    ("bbox_tower/9", "tower.3.convolution", Convolution),
    ("bbox_tower/10", "tower.3.norm", Norm),
    ("bbox_tower/12", "tower.4.convolution", Convolution),
    ("bbox_tower/13", "tower.4.norm", Norm),
    ("bbox_tower/15", "tower.5.convolution", Convolution),
    ("bbox_tower/16", "tower.5.norm", Norm),
    ("bbox_tower/18", "tower.6.convolution", Convolution),
    ("bbox_tower/19", "tower.6.norm", Norm),
    ("bbox_tower/21", "tower.7.convolution", Convolution),
    ("bbox_tower/22", "tower.7.norm", Norm),
    ("agn_hm", "heatmap", Convolution),
    ("bbox_pred", "distances", Convolution),
    ("scales.{i}/scale", "scales.{i}", Tensor(&[])),
];

/// The second stage.
const ROI_HEAD: [Entry; 6] = [
    ("fc1", "hidden.0", Linear),
    ("fc2", "hidden.1", Linear),
    ("fc3", "hidden.2", Linear),
    ("fc4", "hidden.3", Linear),
    ("cls_score", "classes", Linear),
    ("bbox_pred", "deltas", Linear),
];

/// The feature pyramid of the reference in JAX, under `fpn/`.
pub const PYRAMID_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[&PYRAMID] };
/// The first stage, under `proposal_generator/`.
pub const HEAD_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[&HEAD] };
/// The second stage, under `roi_heads/box_head.0/`.
pub const ROI_HEAD_JAX: NameMap = NameMap { dialect: Dialect::Flax, entries: &[&ROI_HEAD] };

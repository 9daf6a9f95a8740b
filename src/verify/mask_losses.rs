//! The mask loss.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::heads::masks::Masks;
use crate::model::loss::mask::{MaskLossConfig, MaskTargets, mask_loss};

/// Those of the settings of the reference's losses that are about masks.
#[derive(Debug, Deserialize)]
struct Settings {
    focal_alpha: f64,
    focal_gamma: f64,
    focal_loss_weight: f64,
    dice_loss_weight: f64,
    iou_pred_loss_weight: f64,
}

/// `in/pred_masks`, `in/pred_ious`, `in/gt_masks`, `in/gt_mask_valid` and `in/padding_mask` →
/// `out/sam_mask.*`.
///
/// # Errors
/// [`crate::error::Error::Format`] where a setting or an input is missing.
pub fn mask_losses(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: Settings = vectors.config()?;
    let config = MaskLossConfig {
        focal_weight: settings.focal_loss_weight,
        dice_weight: settings.dice_loss_weight,
        iou_weight: settings.iou_pred_loss_weight,
        focal_alpha: settings.focal_alpha,
        focal_gamma: settings.focal_gamma,
        ..MaskLossConfig::default()
    };
    let masks = Masks {
        logits: vectors.input("pred_masks", device)?,
        ious: vectors.input("pred_ious", device)?,
    };
    let targets = MaskTargets {
        masks: vectors.input::<5>("gt_masks", device)?.squeeze_dim(4),
        row_valid: vectors.input("gt_mask_valid", device)?,
        padding_mask: vectors.input("padding_mask", device)?,
    };
    let losses = mask_loss(masks, &targets, &config);
    // The reference's sum forgets the weight of the overlap; the paper's is 1.
    let total = losses.total(&MaskLossConfig { iou_weight: 1.0, ..config.clone() });
    let loss = |name: &str, value: Tensor<1>| {
        Produced::float(format!("sam_mask.{name}"), value, Tolerance::LOSS)
    };
    Ok(vec![
        loss("mask_loss", total),
        loss("mask_focal_loss", losses.focal * config.focal_weight),
        loss("mask_dice_loss", losses.dice * config.dice_weight),
        loss("mask_iou_pred_loss", losses.iou * config.iou_weight),
    ])
}

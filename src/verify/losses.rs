//! Losses of text and points.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::compare::{Produced, Tolerance};
use super::vectors::Vectors;
use crate::error::Result;
use crate::model::language::Vocabulary;
use crate::model::loss::point::{PointDistance, point_loss};
use crate::model::loss::text::text_loss;

/// Sizes of the file and settings of the losses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct LossSettings {
    #[serde(rename = "B")]
    batch: usize,
    #[serde(rename = "N")]
    rows: usize,
    #[serde(rename = "T")]
    length: usize,
    vocab_size: usize,
    end_token_id: i64,
    num_points: usize,
    mask_hw: usize,
    focal_alpha: f64,
    focal_gamma: f64,
    focal_loss_weight: f64,
    dice_loss_weight: f64,
    iou_pred_loss_weight: f64,
}

/// Label smoothing where the name of an output says none.
const SMOOTHING: f64 = 0.1;

/// `out/text_loss.…`, `out/point_loss.…`: the name of an output says which.
pub(super) fn losses(vectors: &Vectors, device: &Device) -> Result<Vec<Produced>> {
    let settings: LossSettings = vectors.config()?;
    let mut produced = Vec::new();
    for name in vectors.output_names() {
        let loss = if let Some(case) = name.strip_prefix("text_loss.") {
            text(vectors, &settings, case, device)?
        } else if let Some(case) = name.strip_prefix("point_loss.") {
            point(vectors, case, device)?
        } else {
            None
        };
        produced.extend(loss.map(|loss| Produced::float(name, loss, Tolerance::LOSS)));
    }
    produced.extend(super::mask_losses::mask_losses(vectors, device)?);
    Ok(produced)
}

/// `smooth{s}.mask`, `smooth{s}.nomask`, `allmasked`; `.4d` says how the file's logits are laid out
/// there, and changes nothing.
fn text(
    vectors: &Vectors,
    settings: &LossSettings,
    case: &str,
    device: &Device,
) -> Result<Option<Tensor<1>>> {
    let case = case.strip_suffix(".4d").unwrap_or(case);
    let mask = vectors.input::<2>("mask", device)?;
    let (smoothing, mask) = match case.rsplit_once('.') {
        None if case == "allmasked" => (SMOOTHING, mask.zeros_like()),
        Some((smoothing, which)) => {
            let smoothing = smoothing.strip_prefix("smooth").and_then(|text| text.parse().ok());
            match (smoothing, which) {
                (Some(smoothing), "mask") => (smoothing, mask),
                (Some(smoothing), "nomask") => (smoothing, mask.ones_like()),
                _ => return Ok(None),
            }
        }
        None => return Ok(None),
    };
    let tokens = vectors.integers::<3>("gt_text", device)?;
    let [batch, rows, length] = tokens.dims();
    let size = settings.vocab_size;
    let logits = vectors.input::<3>("text_outputs", device)?.reshape([batch, rows, length, size]);
    // The loss asks for padding and end only.
    let vocabulary = Vocabulary { size, pad: 0, begin: 0, end: settings.end_token_id };
    Ok(Some(text_loss(logits, tokens, mask, &vocabulary, smoothing)))
}

/// `l1`, `l2`, `l1_nonzero`; then nothing, `.4d` for a target per row that holds for all its tokens, or
/// `.novalid` for targets of which none is valid.
fn point(vectors: &Vectors, case: &str, device: &Device) -> Result<Option<Tensor<1>>> {
    let (distance, case) = case.split_once('.').unwrap_or((case, ""));
    let distance = match distance {
        "l1" => PointDistance::L1,
        "l2" => PointDistance::L2,
        "l1_nonzero" => PointDistance::L1Nonzero,
        _ => return Ok(None),
    };
    let predicted = vectors.input::<5>("pred_points", device)?;
    let valid = vectors.input::<3>("pred_valid", device)?;
    let (target, target_valid) = match case {
        "" => (vectors.input("gt_points", device)?, vectors.input::<3>("gt_valid", device)?),
        "novalid" => (vectors.input("gt_points", device)?, valid.zeros_like()),
        "4d" => {
            let target = vectors.input::<4>("gt_points_4d", device)?.unsqueeze_dim::<5>(2);
            let valid = vectors.input::<2>("gt_valid_2d", device)?.unsqueeze_dim(2);
            (target.expand(predicted.dims()), valid)
        }
        _ => return Ok(None),
    };
    Ok(Some(point_loss(predicted, target, valid * target_valid, distance)))
}

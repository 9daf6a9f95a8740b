//! The reference's evaluators: points, dense captions, located expressions, captions of places.

mod dense_captions;
mod located_captions;
mod points;
mod referring;

use std::path::Path;

use serde::Deserialize;

use super::compare::{Comparison, Tolerance};
use crate::error::Result;
use crate::geometry::BoundingBox;
use crate::metrics::meteor::Meteor;

/// Metrics.
const METRIC: Tolerance = Tolerance::Close { absolute: 1e-6, relative: 0.0 };

/// What was found, beside what should have been.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example<P, T> {
    prediction: P,
    target: T,
}

/// Every expected value of the folder.
pub(super) fn all(folder: &Path, meteor: Option<&Meteor>) -> Result<Vec<Comparison>> {
    let mut comparisons = points::compare(folder)?;
    comparisons.extend(dense_captions::compare(folder, meteor)?);
    comparisons.extend(referring::compare(folder)?);
    comparisons.extend(located_captions::compare(folder, meteor)?);
    Ok(comparisons)
}

/// Whether texts are the same, in order.
fn texts<T: AsRef<str>>(output: &str, found: &[T], expected: &[T]) -> Comparison {
    let [found, expected] =
        [found, expected].map(|texts| texts.iter().map(T::as_ref).collect::<Vec<_>>());
    let differs = found != expected;
    Comparison::of_truth(output, differs.then(|| format!("{found:?}, not {expected:?}")))
}

/// A box of the network's image in pixels of the original one, within it. Sizes are
/// `[height, width]`.
fn in_original(corners: [f32; 4], size: [f32; 2], original: [f32; 2]) -> BoundingBox {
    let [x0, y0, x1, y1] = corners;
    let ([height, width], [original_height, original_width]) = (size, original);
    BoundingBox::new(x0, y0, x1, y1)
        .scale(original_width / width, original_height / height)
        .clip(original_width, original_height)
}

/// All the numbers of boxes, one after the other.
fn numbers(boxes: impl IntoIterator<Item = [f32; 4]>) -> Vec<f64> {
    boxes.into_iter().flatten().map(f64::from).collect()
}

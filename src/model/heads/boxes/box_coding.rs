//! A box as what changes another box into it (`spec/model.md` §10.5; Girshick et al., CVPR 2014).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::BoundingBox;

/// Largest log of a ratio of sides: `ln(1000 / 16)` (`spec/model.md` §10.5), so that a wild
/// prediction does not overflow.
pub const MAX_LOG_RATIO: f32 = 4.135_166_6;

/// What the four changes are multiplied by, so that all have about unit variance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BoxCoding {
    /// Of the centre's x and y, and of the logs of width and height.
    pub weights: [f32; 4],
}

impl Default for BoxCoding {
    fn default() -> Self {
        Self { weights: [10.0, 10.0, 5.0, 5.0] }
    }
}

impl BoxCoding {
    /// What changes `anchor` into `target`. Not finite where either has no area.
    pub fn encode(&self, target: BoundingBox, anchor: BoundingBox) -> [f32; 4] {
        let [x, y, width, height] = self.weights;
        let (from, to) = (anchor.center(), target.center());
        [
            x * (to.x - from.x) / anchor.width(),
            y * (to.y - from.y) / anchor.height(),
            width * (target.width() / anchor.width()).ln(),
            height * (target.height() / anchor.height()).ln(),
        ]
    }

    /// `anchor`, changed by `deltas`.
    pub fn decode(&self, deltas: [f32; 4], anchor: BoundingBox) -> BoundingBox {
        let [dx, dy, dw, dh] = [0, 1, 2, 3].map(|index| deltas[index] / self.weights[index]);
        let (size, center) = ([anchor.width(), anchor.height()], anchor.center());
        let (x, y) = (center.x + dx * size[0], center.y + dy * size[1]);
        let half_width = 0.5 * size[0] * dw.min(MAX_LOG_RATIO).exp();
        let half_height = 0.5 * size[1] * dh.min(MAX_LOG_RATIO).exp();
        BoundingBox::new(x - half_width, y - half_height, x + half_width, y + half_height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coded_box_comes_back_and_a_wild_ratio_is_cut() {
        let coding = BoxCoding::default();
        let anchor = BoundingBox::new(10.0, 10.0, 20.0, 30.0);
        let target = BoundingBox::new(12.0, 5.0, 32.0, 45.0);
        let deltas = coding.encode(target, anchor);
        // Centre from (15, 20) to (22, 25), both sides doubled.
        let expected = [7.0, 2.5, 5.0 * 2.0f32.ln(), 5.0 * 2.0f32.ln()];
        for (found, expected) in deltas.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5);
        }
        let back = coding.decode(deltas, anchor).to_array();
        for (found, expected) in back.into_iter().zip(target.to_array()) {
            assert!((found - expected).abs() < 1e-4);
        }
        let wild = coding.decode([0.0, 0.0, 100.0, 0.0], anchor);
        assert!((wild.width() - 625.0).abs() < 1e-2);
    }
}

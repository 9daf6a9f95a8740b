//! Two-dimensional rotary position embedding of EVA-02 (`spec/model.md` §2).

use burn::tensor::{Device, Tensor, TensorData};

use crate::model::kernels::rotation::{can_turn, turn};

/// Base of the frequencies.
const THETA: f64 = 10_000.0;

/// Cosines and sines of every token and channel of a head, and the pairwise swap.
pub struct Rotary {
    /// `[1, 1, 1 + H·W, head]`
    cos: Tensor<4>,
    /// `[1, 1, 1 + H·W, head]`
    sin: Tensor<4>,
    /// `[1, 1, head, head]`: `x · swap` sends each pair `(a, b)` to `(−b, a)`
    swap: Tensor<4>,
}

impl Rotary {
    /// For a CLS token (not rotated) and a grid. Positions are the raw indices of its cells (the
    /// reference, `spec/model.md` Quirk 4) or, with `reference_cells`, the same spread over a grid of
    /// that side, as EVA-02's own fine-tuning has them. Rows of the grid turn the first half of a
    /// head's channels, columns the second.
    pub fn new(
        [height, width]: [usize; 2],
        reference_cells: Option<usize>,
        head_width: usize,
        device: &Device,
    ) -> Self {
        let position = |index: usize, side: usize| {
            let reference = reference_cells.unwrap_or(side);
            index as f64 / side as f64 * reference as f64
        };
        let pairs = head_width / 4;
        let frequencies: Vec<f64> =
            (0..pairs).map(|i| THETA.powf(-(i as f64) / pairs as f64)).collect();
        let mut angles = vec![0.0; head_width];
        for y in 0..height {
            for x in 0..width {
                for position in [position(y, height), position(x, width)] {
                    for frequency in &frequencies {
                        angles.extend([position * frequency; 2]);
                    }
                }
            }
        }
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| f(angle) as f32).collect();
            let shape = [1, 1, 1 + height * width, head_width];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), swap: swap(head_width, device) }
    }

    /// Turns every pair of channels by its angle.
    ///
    /// # Shapes
    /// - `x`: `[B, 1 + H·W, heads · head]`
    /// - result: `[B, heads, 1 + H·W, head]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<4> {
        match can_turn(&x, &self.cos, &self.sin) {
            true => self.heads(turn(x, &self.cos, &self.sin)),
            false => self.by_matrix(self.heads(x)),
        }
    }

    /// `[B, 1 + H·W, heads · head]` → `[B, heads, 1 + H·W, head]`.
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, count, width] = x.dims();
        let [.., head_width] = self.cos.dims();
        x.reshape([batch, count, width / head_width, head_width]).swap_dims(1, 2)
    }

    /// `x`: `[B, heads, 1 + H·W, head]`
    fn by_matrix(&self, x: Tensor<4>) -> Tensor<4> {
        let swapped = x.clone().matmul(self.swap.clone());
        x * self.cos.clone() + swapped * self.sin.clone()
    }
}

fn swap(head_width: usize, device: &Device) -> Tensor<4> {
    let mut values = vec![0.0f32; head_width * head_width];
    for first in (0..head_width).step_by(2) {
        let second = first + 1;
        values[second * head_width + first] = -1.0;
        values[first * head_width + second] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [1, 1, head_width, head_width]), device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn pairs_turn_by_row_then_by_column_and_cls_stays() {
        let device = Device::flex();
        let rotary = Rotary::new([1, 2], None, 4, &device);
        // Three tokens (CLS, (0, 0), (0, 1)), each (1, 0, 1, 0).
        let x = Tensor::<1>::from_data([1.0, 0.0, 1.0, 0.0].repeat(3).as_slice(), &device);
        let turned: Vec<f32> =
            rotary.forward(x.reshape([1, 3, 4])).into_data().try_to_vec().unwrap();
        assert_eq!(turned[..8], [1.0, 0.0, 1.0, 0.0].repeat(2)[..]);
        // The last token is in column 1: its second pair turns by one radian.
        let expected = [1.0, 0.0, 1f32.cos(), 1f32.sin()];
        assert!(turned[8..].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
        // Spread over one cell, column 1 of 2 is at a half.
        let spread = Rotary::new([1, 2], Some(1), 4, &device);
        let sin: Vec<f32> = spread.sin.into_data().try_to_vec().unwrap();
        assert!((sin[11] - 0.5f32.sin()).abs() < 1e-6);
    }

    #[test]
    fn values_and_gradients_are_those_of_the_matrix() {
        let device = Device::flex().autodiff();
        let rotary = Rotary::new([5, 7], None, 8, &device);
        let random = |shape: [usize; 3]| {
            let normal = Distribution::Normal(0.0, 1.0);
            Tensor::<3>::random(shape, normal, &device)
        };
        let x = random([2, 36, 24]).require_grad();
        let along = random([2, 36, 24]);
        let of = |turned: Tensor<4>| {
            let output = turned.swap_dims(1, 2).reshape([2, 36, 24]);
            let gradients = (output.clone() * along.clone()).sum().backward();
            [output.into_data(), x.grad(&gradients).unwrap().into_data()]
        };
        let found = of(rotary.forward(x.clone() * 1.0));
        let expected = of(rotary.by_matrix(rotary.heads(x.clone() * 1.0)));
        for (found, expected) in found.into_iter().zip(expected) {
            found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        }
    }
}

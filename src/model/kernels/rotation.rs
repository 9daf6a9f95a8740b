//! Turning pairs of channels by angles, as rotary position embeddings do (Su et al., *RoFormer*, 2021).

use burn::tensor::Tensor;
use pixelllm_kernels::rotation::Angles;

use crate::backend::host::{HostArray, HostInput, HostOperation, apply, is_here};

/// Whether [`turn`] can have `x` and the angles; otherwise Burn's own operations have to do it.
pub fn can_turn<const N: usize>(x: &Tensor<3>, cos: &Tensor<N>, sin: &Tensor<N>) -> bool {
    is_here(x) && is_here(cos) && is_here(sin)
}

/// Every pair of channels of every head, turned by the angle of its token.
///
/// # Shapes
/// - `x`: `[B, L, heads · head]`
/// - `cos`, `sin`: `[…, L, head]`, the same for both channels of a pair
pub fn turn<const N: usize>(x: Tensor<3>, cos: &Tensor<N>, sin: &Tensor<N>) -> Tensor<3> {
    let inputs = [HostInput::take(x), HostInput::take(cos.clone()), HostInput::take(sin.clone())];
    apply(inputs, |[x, cos, sin]| {
        let angles = Turn { cos, sin };
        (angles.turn(x, 1.0), angles)
    })
}

#[derive(Debug, Clone)]
struct Turn {
    /// `[L, head]`
    cos: HostArray,
    /// `[L, head]`
    sin: HostArray,
}

impl Turn {
    /// Turns forwards by a `direction` of 1, back by −1. `x`: `[B, L, heads · head]`.
    fn turn(&self, x: HostArray, direction: f32) -> HostArray {
        let (shape, width) = (x.shape(), x.last());
        let (cos, sin, head) = (self.cos.values(), self.sin.values(), self.cos.last());
        let mut values = x.into_values();
        Angles { cos, sin, head }.turn(&mut values, width, direction);
        HostArray::new(values, shape)
    }
}

impl HostOperation<3> for Turn {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 3] {
        [Some(self.turn(gradient, -1.0)), None, None]
    }
}

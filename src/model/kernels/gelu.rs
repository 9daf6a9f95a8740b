//! GELU, `x · Φ(x)`, with the normal distribution `Φ` to 32 bits.

use burn::tensor::{Tensor, activation};
use pixelllm_kernels::gelu::{backward, forward};

use crate::backend::host::{HostArray, HostInput, HostOperation, apply};

/// GELU of every number of `x`, of any shape.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let Some(input) = HostInput::of(&x) else { return activation::gelu(x) };
    apply([input], |[x]| {
        let mut output = vec![0.0; x.values().len()];
        forward(x.values(), &mut output);
        (HostArray::new(output, x.shape()), Gelu { x })
    })
}

#[derive(Debug, Clone)]
struct Gelu {
    x: HostArray,
}

impl HostOperation<1> for Gelu {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 1] {
        let shape = gradient.shape();
        let mut values = gradient.into_values();
        backward(self.x.values(), &mut values);
        [Some(HostArray::new(values, shape))]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;
    use crate::model::kernels::testing::{compare, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        let x = random([7, 300], 3.0);
        compare([x], |[x]| gelu(x), |[x]| activation::gelu(x));
    }

    #[test]
    fn without_gradients_it_is_the_same() {
        let x = random([3, 50], 2.0);
        let plain = gelu(x.clone());
        let expected = activation::gelu(x).into_data();
        assert_eq!(plain.device(), Device::flex());
        plain.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }
}

//! The gate of SwiGLU (Shazeer, *GLU variants improve Transformer*, 2020): `silu(gate) · up`.

use burn::tensor::{Tensor, activation};
use pixelllm_kernels::swiglu::{backward, forward};

use crate::backend::host::{HostArray, HostInput, HostOperation, apply};

/// `silu(gate) · up`; all of one shape, whichever it is.
pub fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let [Some(of_gate), Some(of_up)] = [&gate, &up].map(HostInput::of) else {
        return activation::silu(gate) * up;
    };
    apply([of_gate, of_up], |[gate, up]| {
        let mut output = vec![0.0; gate.values().len()];
        forward(gate.values(), up.values(), &mut output);
        (HostArray::new(output, gate.shape()), SiluGate { gate, up })
    })
}

#[derive(Debug, Clone)]
struct SiluGate {
    gate: HostArray,
    up: HostArray,
}

impl HostOperation<2> for SiluGate {
    fn backward(self, gradient: HostArray) -> [Option<HostArray>; 2] {
        let shape = gradient.shape();
        let mut of_gate = gradient.into_values();
        let mut of_up = vec![0.0; of_gate.len()];
        backward(self.gate.values(), self.up.values(), &mut of_gate, &mut of_up);
        [of_gate, of_up].map(|values| Some(HostArray::new(values, shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::testing::{compare, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        let inputs = [random([5, 300], 3.0), random([5, 300], 1.0)];
        compare(inputs, |[gate, up]| silu_gate(gate, up), |[gate, up]| activation::silu(gate) * up);
    }
}

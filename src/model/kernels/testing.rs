//! Operations on the host beside Burn's: values and gradients.

use burn::tensor::{Device, Distribution, Tensor, Tolerance};

/// Normal numbers of the deviation.
pub(super) fn random<const D: usize>(shape: [usize; D], deviation: f64) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, deviation), &Device::flex())
}

/// Asserts that `ours` and `theirs` give the same for `inputs`, and the same gradients for any of the output.
#[track_caller]
pub(super) fn compare<const D: usize, const E: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    ours: impl Fn([Tensor<D>; N]) -> Tensor<E>,
    theirs: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) {
    let shape = theirs(inputs.clone()).dims();
    let along = random::<E>(shape, 1.0).into_data();
    // The output, then the gradient of each input.
    let of = |operation: &dyn Fn([Tensor<D>; N]) -> Tensor<E>, device: &Device| {
        let leaf = |input: Tensor<D>| Tensor::from_data(input.into_data(), device).require_grad();
        let inputs = inputs.clone().map(leaf);
        // Results of another operation, so that gradients have to go on from this one.
        let output = operation(inputs.clone().map(|input| input * 1.0));
        let gradients =
            (output.clone() * Tensor::from_data(along.clone(), device)).sum().backward();
        let of_input = |input: &Tensor<D>| match input.grad(&gradients) {
            Some(gradient) => gradient.into_data(),
            None => unreachable!("every input has a gradient"),
        };
        [output.into_data()].into_iter().chain(inputs.iter().map(of_input)).collect::<Vec<_>>()
    };
    let device = Device::flex().autodiff();
    let found = of(&ours, &device);
    for (found, expected) in found.iter().zip(of(&theirs, &device)) {
        found.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(2e-5, 2e-5));
    }
    // What is computed again with checkpointing is the same to the last bit.
    assert_eq!(found, of(&ours, &device.gradient_checkpointing()));
}

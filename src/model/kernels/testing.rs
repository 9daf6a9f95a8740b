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
    let device = Device::flex().autodiff();
    let inputs = inputs.map(|input| Tensor::from_data(input.into_data(), &device).require_grad());
    let output = theirs(inputs.clone());
    let along = Tensor::<E>::from_data(random(output.dims(), 1.0).into_data(), &device);
    let of = |operation: &dyn Fn([Tensor<D>; N]) -> Tensor<E>| {
        // Results of another operation, so that gradients have to go on from this one.
        let output = operation(inputs.clone().map(|input| input * 1.0));
        let gradients = (output.clone() * along.clone()).sum().backward();
        let gradients = inputs.each_ref().map(|input| input.grad(&gradients));
        (output.into_data(), gradients.map(|gradient| gradient.map(Tensor::into_data)))
    };
    let (value, gradients) = of(&ours);
    let (expected, expected_gradients) = of(&theirs);
    let tolerance = Tolerance::<f32>::rel_abs(2e-5, 2e-5);
    value.assert_approx_eq::<f32>(&expected, tolerance);
    for (gradient, expected) in gradients.into_iter().zip(expected_gradients) {
        let (Some(gradient), Some(expected)) = (gradient, expected) else {
            unreachable!("every input has a gradient")
        };
        gradient.assert_approx_eq::<f32>(&expected, tolerance);
    }
}

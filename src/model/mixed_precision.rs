//! Mixed precision: matrix products in 16 bits, everything else in 32 (Micikevicius et al., *Mixed
//! precision training*, ICLR 2018; what other frameworks call autocast).
//!
//! Parameters stay in 32 bits. Within [`computing_in`], both sides of a product are rounded to the type,
//! multiplied, and the result is widened; the roundings are part of the graph, so gradients come back in
//! 32 bits. Linear layers and attention go through here; norms, softmaxes, convolutions, embeddings and
//! losses do not, and keep 32 bits.

use std::cell::Cell;

use burn::nn::Linear;
use burn::tensor::{DType, Tensor};

#[cfg(doc)]
use super::storage::Storage;

thread_local! {
    static COMPUTED_IN: Cell<Option<DType>> = const { Cell::new(None) };
}

/// Takes what was before back, whatever ends the work.
struct Restore(Option<DType>);

impl Drop for Restore {
    fn drop(&mut self) {
        COMPUTED_IN.set(self.0);
    }
}

/// Runs `work` with the matrix products of this thread in `dtype`; `None` for that of their operands.
pub fn computing_in<T>(dtype: Option<DType>, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(COMPUTED_IN.replace(dtype));
    work()
}

/// What matrix products are computed in, where that is not the type of their operands.
pub(super) fn dtype() -> Option<DType> {
    COMPUTED_IN.get()
}

/// `a · b`, of the type of `a`.
///
/// # Shapes
/// - `a`: `[…, rows, K]`
/// - `b`: `[…, K, columns]`
/// - result: `[…, rows, columns]`
pub fn matmul<const N: usize>(a: Tensor<N>, b: Tensor<N>) -> Tensor<N> {
    let Some(dtype) = dtype() else { return a.matmul(b) };
    let wide = a.dtype();
    a.cast(dtype).matmul(b.cast(dtype)).cast(wide)
}

/// What `layer` makes of `x`. Its matrix may be kept in half precision ([`Storage`]); then it is widened
/// here, all of it at once: for many rows, that costs little beside the product.
///
/// # Shapes
/// - `x`: `[…, inputs]`
/// - result: `[…, outputs]`
pub fn linear<const N: usize>(layer: &Linear, x: Tensor<N>) -> Tensor<N> {
    let (weight, bias) = (layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()));
    match dtype() {
        Some(dtype) => product(x, weight, bias, dtype),
        None if weight.dtype() == x.dtype() => layer.forward(x),
        None => {
            let weight = weight.cast(x.dtype());
            burn::tensor::module::linear(x, weight, bias)
        }
    }
}

/// `x · weight` in `dtype`, plus `bias` in the type of `x`.
///
/// # Shapes
/// - `x`: `[…, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `bias`: `[outputs]`
/// - result: `[…, outputs]`
pub(super) fn product<const N: usize>(
    x: Tensor<N>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    dtype: DType,
) -> Tensor<N> {
    let mut shape = x.dims();
    let [inputs, outputs] = weight.dims();
    let rows = shape[..N - 1].iter().product::<usize>();
    let wide = x.dtype();
    let rows = x.cast(dtype).reshape([rows, inputs]);
    let product = rows.matmul(weight.cast(dtype)).cast(wide);
    let product = match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    };
    shape[N - 1] = outputs;
    product.reshape(shape)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn factors_are_rounded_and_the_rest_keeps_32_bits() {
        let device = Device::flex();
        // Of 1 + 2⁻¹⁰, bfloat16 (8 bits) keeps 1 and float16 (11 bits) all; the bias is never rounded.
        let near_one = 1.0 + 2f32.powi(-10);
        let mut layer = LinearConfig::new(1, 1).init(&device);
        layer.weight = layer.weight.map(|weight| weight.zeros_like() + 2.0);
        layer.bias = layer.bias.map(|bias| bias.map(|bias| bias.zeros_like() + near_one));
        let x = || Tensor::<2>::from_data([[near_one]], &device);
        let of = |dtype| values(computing_in(dtype, || linear(&layer, x())));
        assert_eq!(of(None), [3.0 * near_one]);
        assert_eq!(of(Some(DType::F16)), [3.0 * near_one]);
        assert_eq!(of(Some(DType::BF16)), [2.0 + near_one]);
        let squared = |dtype| values(computing_in(dtype, || matmul(x(), x())));
        assert_eq!(squared(Some(DType::BF16)), [1.0]);
        assert_eq!(squared(None), [near_one * near_one]);
    }

    #[test]
    fn the_type_is_that_of_the_innermost_work_on_this_thread_and_goes_with_it() {
        computing_in(Some(DType::BF16), || {
            computing_in(Some(DType::F16), || assert_eq!(dtype(), Some(DType::F16)));
            assert_eq!(dtype(), Some(DType::BF16));
            std::thread::scope(|scope| scope.spawn(|| assert_eq!(dtype(), None)).join().unwrap());
        });
        let panic = std::panic::catch_unwind(|| {
            computing_in(Some(DType::F16), || std::panic::resume_unwind(Box::new(())))
        });
        assert!(panic.is_err() && dtype().is_none());
    }

    #[test]
    fn gradients_come_back_in_32_bits_and_are_near_those_of_32_bits() {
        let device = Device::flex().autodiff();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (x, weight) = (random([5, 16]), random([16, 7]).require_grad());
        let gradient = |dtype| {
            let product = computing_in(dtype, || matmul(x.clone(), weight.clone()));
            weight.grad(&product.square().mean().backward()).unwrap()
        };
        let (wide, half) = (gradient(None), gradient(Some(DType::BF16)));
        assert_eq!(half.dtype(), DType::F32);
        let largest = wide.clone().abs().max().into_scalar::<f32>();
        let off = (wide - half).abs().max().into_scalar::<f32>();
        // Eight bits of each factor, and of the gradient of the product.
        assert!(off > 0.0 && off < largest / 32.0, "{off} of {largest}");
    }
}

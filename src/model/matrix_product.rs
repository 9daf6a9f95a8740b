//! Rows times the matrix of a linear layer.
//!
//! A text in progress is read a row at a time. Then every matrix comes from memory for a product that is
//! over as soon as it is there, and how fast memory is read decides. Burn's CPU backend computes such
//! products on one thread, which cannot read as fast as several. So what is one product for Burn is handed
//! to it here in parts: some of the inputs each, on a thread each. Elsewhere, Burn's linear layer it is.
//!
//! A matrix may be kept in half precision beside rows in `float32`
//! ([`Storage`](super::storage::Storage)); then it is widened here: on a CPU a block at a
//! time, so that the wide copy stays in the cache. Within [`mixed_precision::computing_in`] the product
//! itself is one in half precision.

use std::ops::Range;

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::module::linear;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::mixed_precision;
use crate::backend;

/// Multiplications from which on Burn's CPU backend uses all threads (but for a single row).
const BURN_USES_THREADS: usize = 192 * 192 * 192;
/// Elements of a matrix from which on reading it outweighs waking a thread.
const WORTH_A_THREAD: usize = 1 << 18;
/// Elements that are widened at once: 512 KiB, half of what the second cache of a usual core holds.
const WIDENED_AT_ONCE: usize = 1 << 17;
/// Outputs that are added up at once where there are many more of them than inputs: so many sums, 16 KiB,
/// stay in the first cache.
const OUTPUTS_AT_ONCE: usize = 1 << 12;
/// Inputs of a block, at least: with fewer, adding the blocks up would cost as much as they do.
const LEAST_INPUTS: usize = 16;

/// `x · W + b`, as the layer says itself.
///
/// # Shapes
/// - `x`: `[…, inputs]`
/// - output: `[…, outputs]`
pub fn apply<const N: usize>(layer: &Linear, x: Tensor<N>) -> Tensor<N> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    product(x, layer.weight.val(), bias)
}

/// `x · weight + bias`.
///
/// # Shapes
/// - `x`: `[…, inputs]`
/// - `weight`: `[inputs, outputs]`, of the type of `x` or a narrower one
/// - `bias`: `[outputs]`
/// - output: `[…, outputs]`
pub fn product<const N: usize>(
    x: Tensor<N>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<N> {
    if let Some(dtype) = mixed_precision::dtype() {
        return mixed_precision::product(x, weight, bias, dtype);
    }
    let mut shape = x.dims();
    let [inputs, outputs] = weight.dims();
    let rows = shape[..N - 1].iter().product::<usize>();
    let is_wide = weight.dtype() == x.dtype();
    let is_alone = rows == 1 || rows * inputs * outputs < BURN_USES_THREADS;
    let pays = inputs * outputs >= WORTH_A_THREAD && (is_alone || !is_wide);
    if !pays || x.is_autodiff() || !backend::is_host(&x.device()) {
        let weight = weight.cast(x.dtype());
        return linear(x, weight, bias);
    }
    let sum = in_parts(x.reshape([rows, inputs]), weight);
    let sum = match bias {
        Some(bias) => sum + bias.unsqueeze(),
        None => sum,
    };
    shape[N - 1] = outputs;
    sum.reshape(shape)
}

/// `x` `[R, inputs]` times `weight` `[inputs, outputs]`, `[R, outputs]`: some inputs (of a matrix like
/// that of a vocabulary, some outputs) on each thread.
fn in_parts(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [inputs, outputs] = weight.dims();
    if outputs > 2 * OUTPUTS_AT_ONCE && weight.dtype() == x.dtype() {
        let parts = on_threads(outputs, OUTPUTS_AT_ONCE, |outputs| {
            x.clone().matmul(weight.clone().narrow(1, outputs.start, outputs.len()))
        });
        return Tensor::cat(parts, 1);
    }
    let length = inputs.div_ceil(rayon::current_num_threads()).max(LEAST_INPUTS);
    let parts = on_threads(inputs, length, |inputs| part(&x, &weight, inputs));
    total(&x, outputs, parts.into_iter())
}

/// What `work` makes of each `length` of `count`, in order, a thread each.
pub(super) fn on_threads<const N: usize>(
    count: usize,
    length: usize,
    work: impl Fn(Range<usize>) -> Tensor<N> + Sync,
) -> Vec<Tensor<N>> {
    let starts: Vec<usize> = (0..count).step_by(length).collect();
    let part = |start: usize| work(start..count.min(start + length));
    starts.into_par_iter().with_max_len(1).map(part).collect()
}

/// The share of `inputs` in the product of `x` `[R, inputs]` and `weight` `[inputs, outputs]`:
/// `[R, outputs]`.
fn part(x: &Tensor<2>, weight: &Tensor<2>, inputs: Range<usize>) -> Tensor<2> {
    let outputs = weight.dims()[1];
    let length = match weight.dtype() == x.dtype() {
        true => inputs.len(),
        false => (WIDENED_AT_ONCE / outputs).max(LEAST_INPUTS),
    };
    let blocks = inputs.clone().step_by(length.max(1)).map(|start| {
        let length = length.min(inputs.end - start);
        let block = weight.clone().narrow(0, start, length).cast(x.dtype());
        x.clone().narrow(1, start, length).matmul(block)
    });
    total(x, outputs, blocks)
}

/// The sum of `parts`, in order, each `[R, outputs]` for the rows of `x` `[R, inputs]`.
fn total(x: &Tensor<2>, outputs: usize, parts: impl Iterator<Item = Tensor<2>>) -> Tensor<2> {
    let nothing = Tensor::zeros([x.dims()[0], outputs], &x.device());
    parts.fold(nothing, |sum, part| sum + part)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution, Tolerance};

    use super::*;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    /// Compares with Burn's own layer, to `tolerance` where the sum of squares of outputs is about 1000.
    fn compare(shape: [usize; 3], outputs: usize, bias: Option<Tensor<1>>) {
        let (x, weight) = (random(shape), random([shape[2], outputs]));
        let expected = linear(x.clone(), weight.clone(), bias.clone());
        let found = product(x, weight, bias);
        assert_eq!(found.dims(), [shape[0], shape[1], outputs]);
        let tolerance = Tolerance::<f32>::absolute(1e-3);
        found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
    }

    #[test]
    fn products_in_parts_are_those_of_the_linear_layer() {
        // Below and above every threshold, and inputs that threads cannot share out evenly.
        compare([1, 1, 1031], 509, None);
        compare([1, 1, 1031], 509, Some(random([509])));
        compare([3, 1, 1031], 509, Some(random([509])));
        compare([2, 2, 7], 5, Some(random([5])));
        compare([1, 40, 512], 512, None);
        compare([1, 1, 40], 9000, Some(random([9000])));
        compare([3, 1, 40], 9000, None);
    }

    #[test]
    fn a_transposed_matrix_is_read_as_it_is_laid_out() {
        let (x, table) = (random([1, 1, 600]), random([700, 600]));
        let expected = linear(x.clone(), table.clone().transpose(), None);
        let found = product(x, table.transpose(), None);
        let tolerance = Tolerance::<f32>::absolute(1e-3);
        found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
    }

    #[test]
    fn a_matrix_in_half_precision_counts_as_the_wide_one_of_its_numbers() {
        for narrow in [DType::BF16, DType::F16] {
            for shape in [[1, 1, 1031], [2, 40, 1031], [1, 1, 9]] {
                let (x, weight) = (random(shape), random([shape[2], 509]).cast(narrow));
                let expected = linear(x.clone(), weight.clone().cast(DType::F32), None);
                let found = product(x, weight, None);
                let tolerance = Tolerance::<f32>::absolute(1e-3);
                found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
            }
        }
    }
}

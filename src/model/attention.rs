//! Scaled dot-product attention.

use burn::tensor::Tensor;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use super::kernels::softmax::softmax;
use super::matrix_product::on_threads;
use super::mixed_precision::matmul;
use crate::backend;

/// `softmax(query · keyᵀ) · value`, with whatever scale `query` carries already.
///
/// Where gradients may be asked for, the scores are formed and kept, which is what a backward pass
/// needs; elsewhere Burn's fused attention never holds more than a tile of them.
///
/// # Shapes
/// - `query`: `[B, heads, Q, head]`
/// - `key`: `[B, heads, K, head]`
/// - `value`: `[B, heads, K, value]`
/// - result: `[B, heads, Q, value]`
pub fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
    if query.is_autodiff() {
        return matmul(softmax(matmul(query, key.swap_dims(2, 3))), value);
    }
    let options = AttentionModuleOptions { scale: Some(1.0), ..Default::default() };
    attention(query, key, value, None, None, options)
}

/// Multiplications of an attention from which on several rows are worth several threads.
const WORTH_THREADS: usize = 1 << 18;

/// `softmax(query · keyᵀ + bias) · value` of a few queries per row, as when texts are written: with `drop`
/// on the weights. Burn's CPU backend computes many small products one after the other; there, rows are
/// handed to it from several threads.
///
/// # Shapes
/// - `query`: `[R, heads, L, head]`, with whatever scale
/// - `key`, `value`: `[R, heads, S, head]`
/// - `bias`: `[R or 1, heads or 1, L or 1, S or 1]`
/// - `drop`: `[R, heads, L, S]` → the same, of some of the rows
/// - result: `[R, heads, L, head]`
pub fn attend_with_bias(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    drop: impl Fn(Tensor<4>) -> Tensor<4> + Sync,
) -> Tensor<4> {
    let [rows, heads, length, head] = query.dims();
    let attend = |query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, bias: Option<Tensor<4>>| {
        let scores = matmul(query, key.swap_dims(2, 3));
        let scores = match bias {
            Some(bias) => scores + bias,
            None => scores,
        };
        matmul(drop(softmax(scores)), value)
    };
    let work = rows * heads * length * head * key.dims()[2];
    let threads = rayon::current_num_threads().min(rows);
    if threads < 2
        || work < WORTH_THREADS
        || query.is_autodiff()
        || !backend::is_host(&query.device())
    {
        return attend(query, key, value, bias);
    }
    let each = rows.div_ceil(threads);
    let parts = on_threads(rows, each, |rows| {
        let part = |all: &Tensor<4>| match all.dims()[0] {
            1 => all.clone(),
            _ => all.clone().narrow(0, rows.start, rows.len()),
        };
        attend(part(&query), part(&key), part(&value), bias.as_ref().map(part))
    });
    Tensor::cat(parts, 0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};

    use super::*;

    #[test]
    fn fused_and_formed_scores_agree_also_where_values_are_of_another_width() {
        let device = Device::flex();
        // Short and long: Burn's CPU backend has a kernel for each.
        for count in [5, 700] {
            let random = |width| {
                let normal = Distribution::Normal(0.0, 1.0);
                Tensor::<4>::random([1, 2, count, width], normal, &device)
            };
            let (query, key, value) = (random(12), random(12), random(8));
            let training = device.clone().autodiff();
            let [q, k, v] = [&query, &key, &value].map(|x| x.clone().to_device(&training));
            let formed = attend(q, k, v).inner();
            let fused = attend(query, key, value);
            fused.into_data().assert_approx_eq::<f32>(&formed.into_data(), Tolerance::default());
        }
    }

    #[test]
    fn rows_on_threads_are_what_each_is_alone() {
        let device = Device::flex();
        let random =
            |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (rows, heads, columns, head) = (5, 4, 100, 32);
        let query = random([rows, heads, 5, head]);
        let (key, value) =
            (random([rows, heads, columns, head]), random([rows, heads, columns, head]));
        assert!(rows * heads * 5 * head * columns > WORTH_THREADS);
        for bias in
            [None, Some(random([1, heads, 5, columns])), Some(random([rows, 1, 1, columns]))]
        {
            let row = |all: &Tensor<4>, row: usize| {
                if all.dims()[0] == 1 { all.clone() } else { all.clone().narrow(0, row, 1) }
            };
            let alone = (0..rows).map(|at| {
                let bias = bias.as_ref().map(|bias| row(bias, at));
                attend_with_bias(row(&query, at), row(&key, at), row(&value, at), bias, |x| x)
            });
            let alone = Tensor::cat(alone.collect(), 0).into_data();
            let together =
                attend_with_bias(query.clone(), key.clone(), value.clone(), bias.clone(), |x| x);
            together.into_data().assert_approx_eq::<f32>(&alone, Tolerance::absolute(1e-5));
        }
    }
}

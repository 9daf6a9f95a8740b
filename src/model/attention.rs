//! Scaled dot-product attention.

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, activation};

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
        return activation::softmax(query.matmul(key.swap_dims(2, 3)), 3).matmul(value);
    }
    let options = AttentionModuleOptions { scale: Some(1.0), ..Default::default() };
    attention(query, key, value, None, None, options)
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
}

//! AdamW (Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR 2019) in one pass over a
//! parameter where it is on the processor.
//!
//! Burn's own is some fifteen operations on whole tensors, one after the other and most of them on one thread;
//! each reads and writes memory that does not fit into a cache. Here, each number of a parameter, its
//! gradient and its moments are read once and written once, in blocks on every thread. The operations on a number
//! are Burn's, in its order, so that the results are the same to the last bit; so is what a checkpoint holds.
//! On every other device, Burn's own does the work.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pixelllm_kernels::adamw::{AdamW as Settings, Parameter};

use crate::backend;

/// AdamW for parameters on any device.
#[derive(Clone)]
pub(super) struct OnePassAdamW {
    settings: Settings,
    elsewhere: AdamW,
}

impl OnePassAdamW {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { beta_1, beta_2, epsilon, weight_decay } = settings;
        let config = AdamWConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon)
            .with_weight_decay(weight_decay);
        Self { settings, elsewhere: config.build() }
    }
}

impl Optimizer for OnePassAdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let moments = state
            .iter()
            .flat_map(|AdamWState { momentum }| [&momentum.moment_1, &momentum.moment_2]);
        let is_single = |one: &Tensor<D>| one.dtype() == DType::F32;
        let are_single = moments.chain([&tensor, &gradient]).all(is_single);
        if !are_single || !backend::is_host(&tensor.device()) {
            return self.elsewhere.step(learning_rate, tensor, gradient, state);
        }
        let device = tensor.device();
        let (time, moments) = match state.map(|state| state.momentum) {
            Some(AdaptiveMomentumState { time, moment_1, moment_2, .. }) => {
                (time + 1, [moment_1, moment_2].map(Tensor::into_data))
            }
            // What is added to it stays as it is, also a zero below zero.
            None => (1, [(); 2].map(|()| TensorData::full::<f32, _>(tensor.shape(), -0.0))),
        };
        let [mut moment_1, mut moment_2] = moments;
        let (mut values, gradient) = (tensor.into_data(), gradient.into_data());
        let slices = (
            values.as_mut_slice::<f32>(),
            gradient.as_slice::<f32>(),
            moment_1.as_mut_slice::<f32>(),
            moment_2.as_mut_slice::<f32>(),
        );
        let (Ok(numbers), Ok(gradient), Ok(first), Ok(second)) = slices else {
            unreachable!("types were looked at before")
        };
        let parameter = Parameter { values: numbers, moment_1: first, moment_2: second };
        self.settings.step(learning_rate, time, parameter, gradient);
        let tensor = |data| Tensor::from_data(data, &device);
        let momentum = AdaptiveMomentumState::new(time, tensor(moment_1), tensor(moment_2));
        (tensor(values), Some(AdamWState::new(momentum)))
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamW::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn steps_are_those_of_burn_to_the_last_bit() {
        let device = Device::flex();
        let settings = Settings { beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.05 };
        for settings in [settings, Settings { weight_decay: 0.0, ..settings }] {
            let ours = OnePassAdamW::new(settings);
            // More than a block, and no whole number of them.
            let shape = [300, 311];
            let normal = Distribution::Normal(0.0, 1.0);
            let start = Tensor::<2>::random(shape, normal, &device);
            let (mut one, mut other) = (start.clone(), start.clone());
            let (mut state, mut state_of_other) = (None, None);
            for rate in [1e-3, 3e-3, 1e-4] {
                // A part of every other gradient is 0, as for words that a batch does not have.
                let gradient = Tensor::<2>::random(shape, normal, &device);
                let gradient = gradient.clone() * gradient.greater_elem(-0.5).float();
                // A parameter that somebody else holds, too, stays as it is for them.
                let held = one.clone();
                let before = held.to_data();
                (one, state) = ours.step(rate, one, gradient.clone(), state);
                (other, state_of_other) =
                    ours.elsewhere.step(rate, other, gradient, state_of_other);
                assert_eq!(held.into_data(), before);
                assert_eq!(one.to_data(), other.to_data());
            }
            assert_ne!(one.to_data(), start.into_data());
            let moments = |state: Option<AdamWState<2>>| {
                state.map(|AdamWState { momentum }| {
                    let moments = [momentum.moment_1, momentum.moment_2];
                    (momentum.time, moments.map(Tensor::into_data))
                })
            };
            assert_eq!(moments(state), moments(state_of_other));
        }
    }
}

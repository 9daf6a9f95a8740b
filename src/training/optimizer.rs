//! AdamW and the learning rate over the steps (`spec/training.md` §1).

use burn::module::{Module, ParamGroup};
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer};

use super::learning_rates::RateGroup;
use super::parameters::{Parameter, parameters};
use super::paths::is_under;
use super::training_model::in_model;
use crate::error::{Error, Result};
use crate::experiment::schema::{OptimizerConfig, ScheduleConfig};

/// AdamW; parameters with one axis (biases, norms) do not decay, nor those under `no_decay`.
pub fn optimizer<M: Module>(config: &OptimizerConfig, model: &M) -> ModuleOptimizer {
    let adam = AdamWConfig::new()
        .with_beta_1(config.beta_1 as f32)
        .with_beta_2(config.beta_2 as f32)
        .with_epsilon(config.epsilon as f32)
        .with_weight_decay(config.weight_decay as f32);
    if config.weight_decay == 0.0 {
        return adam.init();
    }
    let group = ParamGroup::from_paths(kept(model, &config.no_decay));
    adam.init().with_group(group, adam.with_weight_decay(0.0).build(), None)
}

/// Paths of the parameters that do not decay.
fn kept<M: Module>(model: &M, no_decay: &[String]) -> Vec<String> {
    let parameters = parameters(model).into_iter();
    let kept = parameters.filter(|parameter| !decays(parameter, no_decay));
    kept.map(|parameter| parameter.path()).collect()
}

/// Whether a parameter has weight decay where there is any.
pub(super) fn decays(parameter: &Parameter, no_decay: &[String]) -> bool {
    let path = parameter.path();
    parameter.num_axes > 1 && !no_decay.iter().any(|kept| is_under(in_model(&path), kept))
}

/// Step `s` (from 0) has `peak · (s + 1) / warmup` while warming up, then a cosine from the peak
/// that ends at `final_share · peak` with the last step. The peak is the optimiser's learning rate,
/// multiplied for each of the `groups`.
///
/// # Errors
/// [`Error::Experiment`] where Burn's schedulers refuse the numbers.
pub fn schedule(
    peak: f64,
    config: &ScheduleConfig,
    max_steps: usize,
    groups: &[RateGroup],
) -> Result<ModuleLrScheduler> {
    let of = |peak: f64| scheduler(peak, config, max_steps);
    let changed = groups.iter().filter(|group| group.multiplier != 1.0);
    let scheduler = changed.fold(ModuleLrSchedulerConfig::new(of(peak)), |scheduler, group| {
        let paths = ParamGroup::from_paths(group.paths.clone());
        scheduler.with_group(paths, of(peak * group.multiplier))
    });
    scheduler.init().map_err(|problem| Error::Experiment {
        origin: "optimizer".into(),
        key: "optimizer.learning_rate".into(),
        problem,
        help: "Use learning rates above 0 and at most 1, with their multipliers.".into(),
    })
}

/// The schedule of one peak.
fn scheduler(peak: f64, config: &ScheduleConfig, max_steps: usize) -> LrSchedulerConfig {
    let warmup = config.warmup_steps.min(max_steps);
    let decay_steps = (max_steps - warmup).max(1);
    let cosine = CosineAnnealingLrSchedulerConfig::new(peak, decay_steps)
        .with_min_lr(peak * config.final_share);
    let linear = match warmup {
        0 => return cosine.into(),
        1 => LinearLrSchedulerConfig::new(peak, peak, 1),
        _ => LinearLrSchedulerConfig::new(peak / warmup as f64, peak, warmup - 1),
    };
    SequentialLrSchedulerConfig::new(vec![linear.into(), cosine.into()], vec![warmup]).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::nn::{LayerNormConfig, LinearConfig};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::training::learning_rates::{self, groups};

    #[test]
    fn the_rate_rises_in_a_line_and_falls_along_a_cosine() {
        let config = ScheduleConfig { warmup_steps: 4, final_share: 0.1 };
        let mut schedule = schedule(0.8, &config, 12, &[]).unwrap();
        let rates: Vec<f64> = (0..12).map(|_| schedule.step().base()).collect();
        let expected = [0.2, 0.4, 0.6, 0.8, 0.8];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-9, "{rates:?}");
        }
        // Half way down: the mean of both ends.
        assert!((rates[8] - 0.44).abs() < 1e-9, "{rates:?}");
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[11] > 0.08 && rates[11] < 0.12);
    }

    #[test]
    fn without_warm_up_or_with_nothing_else_it_still_works() {
        for warmup_steps in [0, 1, 2, 5] {
            let config = ScheduleConfig { warmup_steps, final_share: 0.0 };
            let mut schedule = schedule(0.5, &config, 2, &[]).unwrap();
            let rates = [schedule.step().base(), schedule.step().base()];
            assert!(rates.iter().all(|rate| *rate > 0.0 && *rate <= 0.5), "{rates:?}");
        }
        assert!(schedule(0.0, &ScheduleConfig::default(), 5, &[]).is_err());
    }

    #[derive(Module, Debug)]
    struct Small {
        norm: burn::nn::LayerNorm,
        linear: burn::nn::Linear,
    }

    fn small(device: &Device) -> Small {
        Small {
            norm: LayerNormConfig::new(2).init(device),
            linear: LinearConfig::new(2, 2).init(device),
        }
    }

    #[test]
    fn only_parameters_with_more_than_one_axis_decay() {
        let device = Device::flex().autodiff();
        let small = small(&device);
        assert_eq!(kept(&small, &[]), ["norm.gamma", "norm.beta", "linear.bias"]);
        let all = ["norm.gamma", "norm.beta", "linear.weight", "linear.bias"];
        assert_eq!(kept(&small, &["linear.weight".into()]), all);

        // With gradients of zero, what changes is decay alone.
        let config = OptimizerConfig { weight_decay: 0.5, ..OptimizerConfig::default() };
        let mut optimizer = optimizer(&config, &small);
        let output = small.linear.forward(small.norm.forward(Tensor::<2>::ones([1, 2], &device)));
        let loss = (output * 0.0).sum();
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &small);
        let weight = small.linear.weight.val().into_data();
        let gamma = small.norm.gamma.val().into_data();
        let trained = optimizer.step(0.1, small, gradients);
        assert_ne!(trained.linear.weight.val().into_data(), weight);
        assert_eq!(trained.norm.gamma.val().into_data(), gamma);
    }

    #[test]
    fn a_group_of_parameters_moves_by_its_own_learning_rate() {
        let device = Device::flex().autodiff();
        let small = small(&device);
        let rate_multipliers = std::collections::BTreeMap::from([("linear".to_string(), 10.0)]);
        let config = OptimizerConfig { rate_multipliers, ..OptimizerConfig::default() };
        let groups = groups(&config, &small);
        assert_eq!(groups.iter().map(|group| group.multiplier).collect::<Vec<_>>(), [1.0, 10.0]);
        let constant = ScheduleConfig { warmup_steps: 0, final_share: 1.0 };
        let mut schedule = schedule(0.01, &constant, 10, &groups).unwrap();
        let rates = schedule.step();
        assert!((rates.base() - 0.01).abs() < 1e-9);
        let output =
            small.linear.forward(small.norm.forward(Tensor::<2>::from_data([[1.0, 3.0]], &device)));
        let loss = output.square().sum();
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &small);
        let bias = |small: &Small| small.linear.bias.as_ref().unwrap().val();
        let (bias_before, gamma_before) = (bias(&small), small.norm.gamma.val());
        let trained = optimizer(&config, &small).step(rates, small, gradients);
        // Adam's first step is the learning rate, whatever the gradient.
        let moved =
            |after: Tensor<1>, before: Tensor<1>| (after - before).abs().max().into_scalar::<f32>();
        let of_bias = moved(bias(&trained), bias_before);
        let of_gamma = moved(trained.norm.gamma.val(), gamma_before);
        assert!((of_bias - 0.1).abs() < 1e-4, "{of_bias}");
        assert!((of_gamma - 0.01).abs() < 1e-4, "{of_gamma}");
    }

    #[derive(Module, Debug)]
    struct Groups {
        plain: burn::nn::Linear,
        fast: burn::nn::Linear,
        kept: burn::nn::Linear,
        frozen: burn::nn::Linear,
    }

    /// Two steps of AdamW for one number that starts at `w` (Loshchilov and Hutter, *Decoupled weight
    /// decay regularization*, ICLR 2019, algorithm 2).
    fn by_hand(
        config: &OptimizerConfig,
        rate: f64,
        decay: f64,
        w: f64,
        gradients: [f64; 2],
    ) -> f64 {
        let OptimizerConfig { beta_1, beta_2, epsilon, .. } = *config;
        let (mut w, mut m, mut v) = (w, 0.0, 0.0);
        for (gradient, step) in gradients.into_iter().zip(1..) {
            m = beta_1 * m + (1.0 - beta_1) * gradient;
            v = beta_2 * v + (1.0 - beta_2) * gradient * gradient;
            let m_hat = m / (1.0 - beta_1.powi(step));
            let v_hat: f64 = v / (1.0 - beta_2.powi(step));
            w = w - rate * decay * w - rate * m_hat / (v_hat.sqrt() + epsilon);
        }
        w
    }

    #[test]
    fn two_steps_in_every_group_are_those_of_adamw_by_hand() {
        let device = Device::flex().autodiff();
        let linear = || LinearConfig::new(2, 2).init(&device);
        let groups = Groups { plain: linear(), fast: linear(), kept: linear(), frozen: linear() };
        let mut model = crate::training::frozen::freeze(groups, &["fr*".into()]).unwrap();
        let config = OptimizerConfig {
            weight_decay: 0.5,
            no_decay: vec!["ke*.weight".into()],
            rate_multipliers: [("f*t".to_string(), 10.0)].into(),
            ..OptimizerConfig::default()
        };
        let rates = learning_rates::groups(&config, &model);
        let constant = ScheduleConfig { warmup_steps: 0, final_share: 1.0 };
        let mut schedule = schedule(0.01, &constant, 10, &rates).unwrap();
        let mut optimizer = optimizer(&config, &model);
        let values = |model: &Groups| {
            let first = |linear: &burn::nn::Linear| {
                let bias = linear.bias.as_ref().unwrap().val().into_data();
                let weight = linear.weight.val().into_data();
                [weight, bias].map(|data| f64::from(data.iter::<f32>().next().unwrap()))
            };
            [&model.plain, &model.fast, &model.kept, &model.frozen].map(first)
        };
        let before = values(&model);
        let gradients = [0.25, -2.0];
        for gradient in gradients {
            let all = [&model.plain, &model.fast, &model.kept, &model.frozen];
            let sum = all.map(|linear| {
                linear.weight.val().sum() + linear.bias.as_ref().unwrap().val().sum()
            });
            let loss = Tensor::cat(sum.to_vec(), 0).sum() * gradient;
            let found = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(schedule.step(), model, found);
        }
        // Rates and decays of weight and bias.
        let expected = [
            [(0.01, 0.5), (0.01, 0.0)],
            [(0.1, 0.5), (0.1, 0.0)],
            [(0.01, 0.0), (0.01, 0.0)],
            [(0.0, 0.0), (0.0, 0.0)],
        ];
        for ((found, before), expected) in values(&model).iter().zip(before).zip(expected) {
            for ((found, before), (rate, decay)) in found.iter().zip(before).zip(expected) {
                let wanted = by_hand(&config, rate, decay, before, gradients);
                assert!((found - wanted).abs() < 1e-6, "{found} {wanted} ({rate}, {decay})");
            }
        }
    }
}

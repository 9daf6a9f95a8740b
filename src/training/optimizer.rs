//! AdamW and the learning rate over the steps (`spec/training.md` §1).

use burn::module::{Module, ParamGroup};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::LrSchedulerConfig;
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::{AdjustLrFn, ModuleOptimizer, MuonConfig};
use pixelllm_kernels::adamw::AdamW as Settings;

use super::adamw::OnePassAdamW;
use super::learning_rates::RateGroup;
use super::parameters::{Parameter, parameters};
use super::paths::is_under;
use super::training_model::in_model;
use crate::error::{Error, Result};
use crate::experiment::schema::{OptimizerConfig, ScheduleConfig};

/// AdamW; parameters with one axis (biases, norms) do not decay, nor those under `no_decay`.
pub fn optimizer<M: Module>(config: &OptimizerConfig, model: &M) -> ModuleOptimizer {
    let adam = |weight_decay: f64| {
        OnePassAdamW::new(Settings {
            beta_1: config.beta_1 as f32,
            beta_2: config.beta_2 as f32,
            epsilon: config.epsilon as f32,
            weight_decay: weight_decay as f32,
        })
    };
    let mut optimizer = ModuleOptimizer::from(adam(config.weight_decay));
    if config.weight_decay != 0.0 {
        let group = ParamGroup::from_paths(kept(model, &config.no_decay));
        optimizer = optimizer.with_group(group, adam(0.0), None);
    }
    for (paths, weight_decay) in orthogonal(config, model) {
        let muon = muon(weight_decay).build();
        optimizer = optimizer.with_group(ParamGroup::from_paths(paths), muon, None);
    }
    optimizer
}

/// Muon with steps as large as AdamW's, so that both share a learning rate and its schedule (Liu et al. 2025,
/// "Muon is scalable for LLM training", §2.2).
fn muon(weight_decay: f64) -> MuonConfig {
    let config = MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
    match weight_decay {
        0.0 => config,
        penalty => config.with_weight_decay(Some(WeightDecayConfig::new(penalty as f32))),
    }
}

/// Paths of the matrices that Muon moves, with their decay: those that decay and those that do not.
fn orthogonal<M: Module>(config: &OptimizerConfig, model: &M) -> Vec<(Vec<String>, f64)> {
    let chosen = |path: &str| config.muon.iter().any(|part| is_under(in_model(path), part));
    let kept = kept(model, &config.no_decay);
    let matrices = parameters(model).into_iter().filter(|parameter| parameter.num_axes == 2);
    let paths = matrices.map(|parameter| parameter.path()).filter(|path| chosen(path));
    let (kept, decaying): (Vec<_>, Vec<_>) = paths.partition(|path| kept.contains(path));
    let groups = [(decaying, config.weight_decay), (kept, 0.0)];
    groups.into_iter().filter(|(paths, _)| !paths.is_empty()).collect()
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
    fn muon_moves_matrices_by_orthogonal_steps_and_leaves_the_rest_to_adam() {
        let device = Device::flex().autodiff();
        let mut small = small(&device);
        let weight = Tensor::<2>::from_data([[0.5, -0.2], [0.3, 0.4]], &device);
        small.linear.weight = burn::module::Param::from_tensor(weight);
        // Not a random one, with which the gradient may be so nearly of rank 1 that five iterations are few.
        small.linear.bias = Some(burn::module::Param::from_tensor(Tensor::zeros([2], &device)));
        let config = OptimizerConfig { muon: vec!["linear".into()], ..OptimizerConfig::default() };
        // The second column of the gradient is many times the first: far from orthogonal.
        let input = Tensor::<2>::from_data([[1.0, 0.5], [0.2, 3.0]], &device);
        let scale = Tensor::<2>::from_data([[1.0, 4.0]], &device);
        let loss = (small.linear.forward(input) * scale).square().sum();
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &small);
        let (weight, bias) = (small.linear.weight.val(), small.linear.bias.clone().unwrap().val());
        let trained = optimizer(&config, &small).step(0.1, small, gradients);
        let step = (trained.linear.weight.val() - weight) / 0.1;
        // Both singular values of the step are 0.2 · √2, as far as five iterations bring them: 0.68 to
        // 1.2 of it. Their sum of squares and their product:
        let squares = step.clone().square().sum().into_scalar::<f32>();
        let s: Vec<f32> = step.into_data().try_to_vec().unwrap();
        let product = (s[0] * s[3] - s[1] * s[2]).abs();
        let unit = 0.08;
        assert!(squares > 2.0 * 0.46 * unit && squares < 2.0 * 1.44 * unit, "{s:?}");
        assert!(product > 0.46 * unit && product < 1.44 * unit, "{s:?}");
        let moved = trained.linear.bias.unwrap().val() - bias;
        let moved = moved.abs().into_data().try_to_vec::<f32>().unwrap();
        assert!(moved.iter().all(|moved| (moved - 0.1).abs() < 1e-4), "{moved:?}");
    }

    #[test]
    fn what_muon_moves_decays_unless_it_is_kept() {
        let small = small(&Device::flex().autodiff());
        let named = |no_decay: &[&str]| OptimizerConfig {
            weight_decay: 0.5,
            muon: vec!["linear".into()],
            no_decay: no_decay.iter().map(|path| (*path).into()).collect(),
            ..OptimizerConfig::default()
        };
        let weight = || vec!["linear.weight".to_string()];
        assert_eq!(orthogonal(&named(&[]), &small), [(weight(), 0.5)]);
        assert_eq!(orthogonal(&named(&["linear"]), &small), [(weight(), 0.0)]);
        let none = OptimizerConfig { muon: vec!["norm".into()], ..OptimizerConfig::default() };
        assert_eq!(orthogonal(&none, &small), []);
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

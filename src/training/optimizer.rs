//! AdamW and the learning rate over the steps (`spec/training.md` §1).

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::experiment::schema::{OptimizerConfig, ScheduleConfig};

/// AdamW; parameters with one axis (biases, norms) do not decay.
pub fn optimizer<M: Module>(config: &OptimizerConfig, model: &M) -> ModuleOptimizer {
    let adam = AdamWConfig::new()
        .with_beta_1(config.beta_1 as f32)
        .with_beta_2(config.beta_2 as f32)
        .with_epsilon(config.epsilon as f32)
        .with_weight_decay(config.weight_decay as f32);
    if config.weight_decay == 0.0 {
        return adam.init();
    }
    let mut vectors = VectorPaths::default();
    model.visit(&mut vectors);
    let group = ParamGroup::from_paths(vectors.found);
    adam.init().with_group(group, adam.with_weight_decay(0.0).build(), None)
}

/// Paths of the parameters with one axis.
#[derive(Default)]
struct VectorPaths {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for VectorPaths {
    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        if D == 1 {
            self.found.push(self.path.join("."));
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Step `s` (from 0) has `peak · (s + 1) / warmup` while warming up, then a cosine from the peak
/// that ends at `final_share · peak` with the last step.
///
/// # Errors
/// [`Error::Experiment`] where Burn's schedulers refuse the numbers.
pub fn schedule(peak: f64, config: &ScheduleConfig, max_steps: usize) -> Result<ModuleLrScheduler> {
    let warmup = config.warmup_steps.min(max_steps);
    let decay_steps = (max_steps - warmup).max(1);
    let cosine = CosineAnnealingLrSchedulerConfig::new(peak, decay_steps)
        .with_min_lr(peak * config.final_share);
    let scheduler = match warmup {
        0 => cosine.init(),
        1 => SequentialLrSchedulerConfig::new(
            vec![LinearLrSchedulerConfig::new(peak, peak, 1).into(), cosine.into()],
            vec![1],
        )
        .init(),
        _ => {
            let first = peak / warmup as f64;
            let linear = LinearLrSchedulerConfig::new(first, peak, warmup - 1);
            SequentialLrSchedulerConfig::new(vec![linear.into(), cosine.into()], vec![warmup])
                .init()
        }
    };
    scheduler.map_err(|problem| Error::Experiment {
        origin: "optimizer".into(),
        key: "optimizer.learning_rate".into(),
        problem,
        help: "Use a learning rate above 0 and at most 1.".into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::nn::{LayerNormConfig, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_rate_rises_in_a_line_and_falls_along_a_cosine() {
        let config = ScheduleConfig { warmup_steps: 4, final_share: 0.1 };
        let mut schedule = schedule(0.8, &config, 12).unwrap();
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
            let mut schedule = schedule(0.5, &config, 2).unwrap();
            let rates = [schedule.step().base(), schedule.step().base()];
            assert!(rates.iter().all(|rate| *rate > 0.0 && *rate <= 0.5), "{rates:?}");
        }
        assert!(schedule(0.0, &ScheduleConfig::default(), 5).is_err());
    }

    #[derive(Module, Debug)]
    struct Small {
        norm: burn::nn::LayerNorm,
        linear: burn::nn::Linear,
    }

    #[test]
    fn only_parameters_with_more_than_one_axis_decay() {
        let device = Device::flex().autodiff();
        let small = Small {
            norm: LayerNormConfig::new(2).init(&device),
            linear: LinearConfig::new(2, 2).init(&device),
        };
        let mut vectors = VectorPaths::default();
        small.visit(&mut vectors);
        assert_eq!(vectors.found, ["norm.gamma", "norm.beta", "linear.bias"]);

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
}

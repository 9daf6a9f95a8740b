//! How each part of the model is updated: what `--dry-run` shows.

use burn::module::Module;

use super::learning_rates::multipliers;
use super::optimizer::decays;
use crate::experiment::schema::OptimizerConfig;

/// How the trained parameters of one part are updated.
#[derive(Debug, Clone, PartialEq)]
pub struct PartUpdate {
    /// Dotted path of the part, as in [`ParameterCount`](super::parameters::ParameterCount).
    pub module: String,
    /// Trained parameters.
    pub trained: usize,
    /// Lowest and highest learning rate among them, as multiples of the schedule's.
    pub rates: [f64; 2],
    /// Those of them that decay; 0 where nothing does.
    pub decayed: usize,
}

/// The parts of `module` that are trained at all, in the order of their paths.
pub fn part_updates<M: Module>(config: &OptimizerConfig, module: &M) -> Vec<PartUpdate> {
    let mut parts: Vec<PartUpdate> = Vec::new();
    for (parameter, rate) in multipliers(config, module) {
        let has_decay = config.weight_decay > 0.0 && decays(&parameter, &config.no_decay);
        let decayed = if has_decay { parameter.count } else { 0 };
        let (part, count) = (parameter.part(), parameter.count);
        match parts.iter_mut().find(|known| known.module == part) {
            Some(known) => {
                known.trained += count;
                known.decayed += decayed;
                known.rates = [known.rates[0].min(rate), known.rates[1].max(rate)];
            }
            None => {
                parts.push(PartUpdate { module: part, trained: count, rates: [rate; 2], decayed })
            }
        }
    }
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::testing::{VOCABULARY, tiny_config};
    use crate::training::frozen::freeze;
    use crate::training::parameters::count_parameters;

    #[test]
    fn parts_have_their_range_of_rates_and_what_decays() {
        let model = tiny_config().init(VOCABULARY, &Device::flex().autodiff());
        let model = freeze(model, &["vision.sam".into(), "adapter.**.norm*".into()]).unwrap();
        let config = OptimizerConfig {
            weight_decay: 0.05,
            layer_decay: Some(0.5),
            no_decay: vec!["points".into()],
            rate_multipliers: [("**.norm*".to_string(), 2.0)].into(),
            ..OptimizerConfig::default()
        };
        let updates = part_updates(&config, &model);
        let of = |part: &str| updates.iter().find(|update| update.module == part);
        assert!(of("vision.sam").is_none(), "frozen");
        // One block: its stem at 0.5², norms of everything twice as fast.
        assert_eq!(of("vision.eva").unwrap().rates, [0.25, 2.0]);
        assert_eq!(of("adapter").unwrap().rates, [1.0, 1.0], "its norms are frozen");
        assert_eq!(of("points").unwrap().decayed, 0);
        let counts = count_parameters(&model);
        for update in &updates {
            let count = counts.iter().find(|count| count.module == update.module).unwrap();
            assert_eq!(update.trained, count.trainable, "{}", update.module);
        }
        let eva = of("vision.eva").unwrap();
        assert!(eva.decayed > 0 && eva.decayed < eva.trained, "vectors do not decay");

        let none = OptimizerConfig { weight_decay: 0.0, ..config };
        assert!(part_updates(&none, &model).iter().all(|update| update.decayed == 0));
    }
}

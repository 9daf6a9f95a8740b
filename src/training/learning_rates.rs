//! Learning rates of parameters beside each other: by their paths, and by the depth of the blocks of
//! EVA-02 (`spec/training.md` §2).

use std::collections::BTreeMap;

use burn::module::Module;

use super::parameters::{Parameter, parameters};
use super::paths::is_under;
use super::training_model::in_model;
use crate::experiment::schema::OptimizerConfig;

/// The blocks of EVA-02, and what comes before them.
const BLOCKS: &str = "vision.eva.blocks";
const STEM: [&str; 2] = ["vision.eva.patch_embedding", "vision.eva.positions"];

/// Trained parameters that share a learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct RateGroup {
    /// Their rate, as a multiple of the schedule's.
    pub multiplier: f64,
    /// As Burn knows them.
    pub paths: Vec<String>,
    /// How many numbers they are.
    pub num_parameters: usize,
}

/// The trained parameters of `module` by their rates, the lowest first.
pub fn groups<M: Module>(config: &OptimizerConfig, module: &M) -> Vec<RateGroup> {
    let mut groups: Vec<RateGroup> = Vec::new();
    for (parameter, multiplier) in multipliers(config, module) {
        let (path, count) = (parameter.path(), parameter.count);
        match groups.iter_mut().find(|group| group.multiplier == multiplier) {
            Some(group) => {
                group.paths.push(path);
                group.num_parameters += count;
            }
            None => groups.push(RateGroup { multiplier, paths: vec![path], num_parameters: count }),
        }
    }
    groups.sort_by(|a, b| a.multiplier.total_cmp(&b.multiplier));
    groups
}

/// Every trained parameter of `module` in the order of their paths, with its rate as a multiple of the
/// schedule's.
pub(super) fn multipliers<M: Module>(
    config: &OptimizerConfig,
    module: &M,
) -> impl Iterator<Item = (Parameter, f64)> {
    let trained = parameters(module).into_iter().filter(|parameter| parameter.is_trained);
    let trained: BTreeMap<_, _> = trained.map(|parameter| (parameter.path(), parameter)).collect();
    let num_blocks = trained.keys().filter_map(|path| block(in_model(path))).max();
    let num_blocks = num_blocks.map_or(0, |last| last + 1);
    trained
        .into_iter()
        .map(move |(path, parameter)| (parameter, multiplier(config, in_model(&path), num_blocks)))
}

/// Of the paths that name a parameter, the longest counts; the decay over layers comes on top.
fn multiplier(config: &OptimizerConfig, path: &str, num_blocks: usize) -> f64 {
    let named = config.rate_multipliers.iter().filter(|(prefix, _)| is_under(path, prefix));
    let named = named.max_by_key(|(prefix, _)| prefix.len()).map_or(1.0, |(_, rate)| *rate);
    named * config.layer_decay.map_or(1.0, |decay| layer_decay(decay, path, num_blocks))
}

/// `decay` to the power of the number of steps from the end: the last block has one, what comes before
/// the first block one more than it, and everything else none. (The class token and the last norm are
/// of everything else, as in the reference: Quirk 9.)
fn layer_decay(decay: f64, path: &str, num_blocks: usize) -> f64 {
    let steps = match block(path) {
        Some(index) => num_blocks - index,
        None if STEM.iter().any(|stem| is_under(path, stem)) => num_blocks + 1,
        None => 0,
    };
    decay.powi(steps as i32)
}

/// The index of the block that a parameter is in.
fn block(path: &str) -> Option<usize> {
    let rest = path.strip_prefix(BLOCKS)?.strip_prefix('.')?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::testing::{VOCABULARY, tiny_config};

    fn decayed(path: &str) -> f64 {
        let config = OptimizerConfig { layer_decay: Some(0.8), ..OptimizerConfig::default() };
        multiplier(&config, path, 24)
    }

    #[test]
    fn the_rates_of_eva_02_fall_from_block_to_block_as_in_the_paper() {
        let near = |path: &str, expected: f64| {
            let found = decayed(path);
            assert!((found - expected).abs() < 1e-4, "{path}: {found} is not {expected}");
        };
        // spec/training.md §2: block 23 0.8, block 0 0.0047, stem 0.0038.
        near("vision.eva.blocks.23.attention.query.weight", 0.8);
        near("vision.eva.blocks.0.norm_1.gamma", 0.0047);
        near("vision.eva.patch_embedding.projection.weight", 0.0038);
        near("vision.eva.positions", 0.0038);
        for path in ["vision.eva.class_token", "vision.eva.norm.gamma", "adapter.queries"] {
            near(path, 1.0);
        }
    }

    #[test]
    fn the_longest_path_that_names_a_parameter_counts() {
        let rate_multipliers =
            BTreeMap::from([("masks".into(), 2.0), ("masks.adapter".into(), 10.0)]);
        let config = OptimizerConfig { rate_multipliers, ..OptimizerConfig::default() };
        let of = |path: &str| multiplier(&config, path, 0);
        assert_eq!(of("masks.adapter.gate"), 10.0);
        assert_eq!(of("masks.decoder.iou_token"), 2.0);
        assert_eq!(of("masks_too.gate"), 1.0);
    }

    #[test]
    fn every_trained_parameter_is_in_one_group() {
        let model = tiny_config().init(VOCABULARY, &Device::flex().autodiff());
        let config = OptimizerConfig { layer_decay: Some(0.5), ..OptimizerConfig::default() };
        let groups = groups(&config, &model);
        // One block: the stem, the block, everything else.
        let rates: Vec<f64> = groups.iter().map(|group| group.multiplier).collect();
        assert_eq!(rates, [0.25, 0.5, 1.0]);
        let counts = crate::training::parameters::count_parameters(&model);
        let trained = crate::training::parameters::total(&counts).trainable;
        assert_eq!(groups.iter().map(|group| group.num_parameters).sum::<usize>(), trained);
        assert!(
            !groups.iter().flat_map(|group| &group.paths).any(|path| path.contains("frequencies"))
        );
    }
}

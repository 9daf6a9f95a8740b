//! Parts of the model that are never trained, by their paths.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::parameters::parameters;
use super::paths::{self, is_under};
use crate::backend;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::model::language::t5::config::Trained;
use crate::model::language::{LanguageConfig, Vocabulary};
use crate::model::pixel_llm::PixelLlm;

/// Where the weights of T5 are in the model.
pub(super) const T5: &str = "language.T5.t5";

/// Checks that every path of `training.frozen` and of `optimizer` names something, before anything is
/// written.
///
/// # Errors
/// [`Error::Experiment`](crate::Error::Experiment) for the first that does not,
/// [`Error::Device`](crate::Error::Device) where there is none.
pub fn check(experiment: &Experiment) -> Result<()> {
    let optimizer = &experiment.optimizer;
    let rates = optimizer.rate_multipliers.keys();
    let rates = rates.map(|path| (format!("optimizer.rate_multipliers.{path}"), path));
    let no_decay = optimizer.no_decay.iter().enumerate();
    let no_decay = no_decay.map(|(index, path)| (format!("optimizer.no_decay.{index}"), path));
    let muon = optimizer.muon.iter().enumerate();
    let muon = muon.map(|(index, path)| (format!("optimizer.muon.{index}"), path));
    let optimizer = rates.chain(no_decay).chain(muon);
    let named: Vec<_> = keys(&experiment.training.frozen).chain(optimizer).collect();
    if named.is_empty() {
        return Ok(());
    }
    // Parameters are made when they are first needed, which is never.
    let vocabulary = Vocabulary { size: 1, pad: 0, begin: 0, end: 0 };
    let model = experiment.model.init(vocabulary, &backend::device("cpu")?);
    paths::check(&model, named)
}

/// The paths of `training.frozen` with their keys.
fn keys(frozen: &[String]) -> impl Iterator<Item = (String, &String)> {
    frozen.iter().enumerate().map(|(index, path)| (format!("training.frozen.{index}"), path))
}

/// `module` with everything under `frozen` taken out of training. Dropout stays as it is.
///
/// # Errors
/// [`Error::Experiment`](crate::Error::Experiment) for a path that names nothing.
pub fn freeze<M: Module>(module: M, frozen: &[String]) -> Result<M> {
    paths::check(&module, keys(frozen))?;
    Ok(module.map(&mut Freeze { frozen, path: Vec::new() }))
}

struct Freeze<'a> {
    frozen: &'a [String],
    path: Vec<String>,
}

impl ModuleMapper for Freeze<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let is_frozen = self.frozen.iter().any(|frozen| is_under(&path, frozen));
        if is_frozen { param.no_grad() } else { param }
    }
}

/// The parameters that checkpoints leave out: what is frozen by the experiment, and T5 under its
/// adapters. Constants of a module that is trained, such as the frequencies of a position code, are
/// none of them: they are small, and stay with their module. `model` is one for training.
pub fn left_out(experiment: &Experiment, model: &PixelLlm) -> BTreeSet<String> {
    let mut places = experiment.training.frozen.clone();
    if let LanguageConfig::T5(config) = &experiment.model.language
        && config.trained == Trained::Lora
    {
        places.push(T5.into());
    }
    let untrained = parameters(model).into_iter().filter(|parameter| !parameter.is_trained);
    let paths = untrained.map(|parameter| parameter.path());
    paths.filter(|path| places.iter().any(|place| is_under(path, place))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use miette::Diagnostic;

    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        one: Linear,
        one_more: Linear,
    }

    fn two() -> Two {
        let linear = || LinearConfig::new(2, 3).init(&Device::flex().autodiff());
        Two { one: linear(), one_more: linear() }
    }

    #[test]
    fn what_is_under_a_path_is_frozen_and_what_only_begins_like_it_is_not() {
        let frozen = freeze(two(), &["one".into(), "one_more.bias".into()]).unwrap();
        let trained = |linear: &Linear| {
            let bias = linear.bias.as_ref().is_some_and(|bias| bias.is_require_grad());
            [linear.weight.is_require_grad(), bias]
        };
        assert_eq!(trained(&frozen.one), [false, false]);
        assert_eq!(trained(&frozen.one_more), [true, false]);
    }

    #[test]
    fn a_path_that_names_nothing_is_an_error_with_a_guess() {
        let error = freeze(two(), &["one".into(), "one_mor".into()]).unwrap_err();
        assert!(error.to_string().contains("training.frozen.1"), "{error}");
        let help = error.help().unwrap().to_string();
        assert!(help.starts_with("Did you mean \"one_more\"? "), "{help}");
        assert!(freeze(two(), &[String::new()]).is_err());
    }
}

//! What a cache of features needs: encoders that never change, and images that do not either.

use super::{ConfigProblem, Experiment, problem};
use crate::experiment::path_pattern::is_under;

/// Whether what the encoders see and what they make of it is the same at every step.
pub(super) fn validate(experiment: &Experiment) -> Option<ConfigProblem> {
    experiment.data.cache_features.as_ref()?;
    let vision = &experiment.model.vision;
    let encoders = [
        ("eva", vision.eva.as_ref().map(|eva| eva.drop_path)),
        ("sam", vision.sam.as_ref().map(|sam| sam.drop_path)),
    ];
    let key = "data.cache_features";
    for (encoder, drop_path) in encoders {
        let Some(drop_path) = drop_path else { continue };
        let path = format!("vision.{encoder}");
        let is_frozen = |frozen: &String| is_under(&path, frozen);
        if !experiment.training.frozen.iter().any(is_frozen) {
            let found = format!("is set, but {path} is trained, so that its features change");
            let allowed = format!("no cache, or {path:?} in training.frozen");
            return Some(problem(key, found, allowed));
        }
        if drop_path != 0.0 {
            let found = format!("is set, but model.{path}.drop_path makes features random");
            return Some(problem(key, found, format!("no cache, or model.{path}.drop_path = 0.0")));
        }
    }
    let is_changed = |index: &usize| {
        let source = experiment.data.sources.get(*index);
        source.is_some_and(|source| !source.augmentation.is_off())
    };
    let index = (0..experiment.data.sources.len()).find(is_changed)?;
    let found = format!("is set, but data.sources.{index}.augmentation changes images at random");
    Some(problem(key, found, "no cache, or sources without augmentation"))
}

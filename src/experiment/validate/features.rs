//! What needs encoders that never change: a cache of features (with images that do not change either), and
//! matrices in half precision.

use super::{ConfigProblem, Experiment, problem};
use crate::experiment::path_pattern::is_under;
use crate::model::storage::Storage;

/// Whether nothing of `encoder`, `eva` or `sam`, is trained.
fn is_frozen(experiment: &Experiment, encoder: &str) -> bool {
    let path = format!("vision.{encoder}");
    experiment.training.frozen.iter().any(|frozen| is_under(&path, frozen))
}

/// Matrices that are trained need 32 bits.
pub(super) fn storage(experiment: &Experiment) -> Vec<ConfigProblem> {
    let vision = &experiment.model.vision;
    let encoders = [
        ("eva", vision.eva.as_ref().map(|eva| eva.storage)),
        ("sam", vision.sam.as_ref().map(|sam| sam.storage)),
    ];
    let is_wrong = |(encoder, storage): &(&str, Option<Storage>)| {
        storage.is_some_and(|storage| storage != Storage::F32) && !is_frozen(experiment, encoder)
    };
    let problem = |(encoder, _): (&str, _)| {
        let allowed = format!("\"f32\", or \"vision.{encoder}\" in training.frozen");
        let key = format!("model.vision.{encoder}.storage");
        problem(&key, "matrices that are trained need 32 bits", allowed)
    };
    encoders.into_iter().filter(is_wrong).map(problem).collect()
}

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
        if !is_frozen(experiment, encoder) {
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

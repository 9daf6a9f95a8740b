//! Masks of expressions: what has to go together for them to be learnt.

use super::{not_negative, number, problem};
use crate::data::sample::Task;
use crate::data::source::SourceConfig;
use crate::experiment::Experiment;
use crate::model::ConfigProblem;
use crate::model::loss::mask::MaskLossConfig;

impl Experiment {
    /// Whether training changes the mask branch: there is one, a source has masks, and they weigh
    /// something.
    pub fn teaches_masks(&self) -> bool {
        let has_masks = self.data.sources.iter().any(|source| source.masks && source.weight > 0.0);
        self.model.masks.is_some() && has_masks && self.losses.mask.weight > 0.0
    }
}

/// Masks without a branch to learn them, or of something that has none; with dotted keys.
pub(super) fn without_masks(experiment: &Experiment) -> Vec<ConfigProblem> {
    let sources = experiment.data.sources.iter().enumerate().filter(|(_, source)| source.masks);
    let found = sources.filter_map(|(index, source)| {
        let (what, allowed) = source_problem(experiment, source)?;
        Some(problem(&format!("data.sources.{index}.masks"), what, allowed))
    });
    found.collect()
}

fn source_problem(
    experiment: &Experiment,
    source: &SourceConfig,
) -> Option<(String, &'static str)> {
    if source.task != Task::Locate || !source.format.has_masks() {
        let (task, format) = (source.task.name(), source.format.name());
        let what = format!("annotations of {format} for {task} have no masks of expressions");
        return Some((what, "true for locate with refexp_mdetr only"));
    }
    experiment.model.masks.is_none().then(|| {
        let what = "masks are to be learnt, but the model has none".to_string();
        (what, "[model.masks], or masks = false")
    })
}

/// With keys relative to `[losses.mask]`.
pub(super) fn losses(config: &MaskLossConfig) -> Vec<ConfigProblem> {
    let is_share = |x| (0.0..=1.0).contains(&x);
    [
        not_negative("weight", config.weight),
        not_negative("focal_weight", config.focal_weight),
        not_negative("dice_weight", config.dice_weight),
        not_negative("iou_weight", config.iou_weight),
        number("focal_alpha", config.focal_alpha, is_share, "from 0 to 1"),
        not_negative("focal_gamma", config.focal_gamma),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::formats::Format;
    use crate::model::heads::masks::MaskConfig;

    /// An experiment that teaches masks.
    fn valid() -> Experiment {
        let mut experiment = crate::experiment::validate::tests::valid();
        experiment.data.sources[0].masks = true;
        experiment.model.masks = Some(MaskConfig::default());
        experiment
    }

    fn keys(change: impl Fn(&mut Experiment)) -> Vec<String> {
        let mut experiment = valid();
        change(&mut experiment);
        experiment.validate().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn masks_need_a_branch_that_learns_them_and_annotations_that_have_them() {
        assert_eq!(valid().validate(), []);
        assert_eq!(keys(|e| e.model.masks = None), ["data.sources.0.masks"]);
        let describe = |e: &mut Experiment| e.data.sources[0].task = Task::Describe;
        assert_eq!(keys(describe), ["data.sources.0.masks"]);
        let regions = |e: &mut Experiment| e.data.sources[0].format = Format::VisualGenomeCoco;
        assert_eq!(keys(regions), ["data.sources.0.masks"]);
    }

    #[test]
    fn weights_and_the_share_of_the_inside_are_in_range() {
        assert_eq!(keys(|e| e.losses.mask.weight = -1.0), ["losses.mask.weight"]);
        assert_eq!(keys(|e| e.losses.mask.dice_weight = f64::NAN), ["losses.mask.dice_weight"]);
        assert_eq!(keys(|e| e.losses.mask.focal_alpha = 1.5), ["losses.mask.focal_alpha"]);
        let masks_alone = |e: &mut Experiment| {
            e.losses.text.weight = 0.0;
            e.losses.point.weight = 0.0;
        };
        assert_eq!(keys(masks_alone), [""; 0]);
    }

    #[test]
    fn a_branch_is_taught_by_sources_with_masks_that_weigh_something() {
        assert!(valid().teaches_masks());
        for change in [
            (|e| e.data.sources[0].masks = false) as fn(&mut Experiment),
            |e| e.data.sources[0].weight = 0.0,
            |e| e.losses.mask.weight = 0.0,
            |e| e.model.masks = None,
        ] {
            let mut experiment = valid();
            change(&mut experiment);
            assert!(!experiment.teaches_masks());
        }
    }
}

//! Weights and shapes of the losses.

use super::{below_one, masks, not_negative, number, problem};
use crate::data::sample::Task;
use crate::data::source::SourceConfig;
use crate::experiment::Experiment;
use crate::model::ConfigProblem;
use crate::model::loss::detection::DetectionLossConfig;

/// With keys relative to `[losses]`.
pub(super) fn validate(experiment: &Experiment) -> Vec<ConfigProblem> {
    let config = &experiment.losses;
    let checks = [
        not_negative("text.weight", config.text.weight),
        below_one("text.label_smoothing", config.text.label_smoothing),
        not_negative("point.weight", config.point.weight),
        not_negative("overlap.weight", config.overlap.weight),
    ];
    let mut problems: Vec<_> = checks.into_iter().flatten().collect();
    problems.extend(ConfigProblem::under("detection", detection(&config.detection)));
    problems.extend(ConfigProblem::under("mask", masks::losses(&config.mask)));
    problems.extend(nothing_learnt(experiment));
    problems
}

fn detection(config: &DetectionLossConfig) -> Vec<ConfigProblem> {
    let focal = &config.focal;
    let share = |x| (0.0..=1.0).contains(&x);
    // At a half, every probability would be kept at a half.
    let margin = |x| x > 0.0 && x < 0.5;
    let checks = [
        not_negative("weight", config.weight),
        not_negative("heatmap_weight", config.heatmap_weight),
        not_negative("distance_weight", config.distance_weight),
        not_negative("class_weight", config.class_weight),
        not_negative("box_weight", config.box_weight),
        number("focal.alpha", focal.alpha, share, "from 0 to 1"),
        not_negative("focal.beta", focal.beta),
        not_negative("focal.gamma", focal.gamma),
        number("focal.epsilon", focal.epsilon, margin, "above 0 and below 0.5"),
    ];
    checks.into_iter().flatten().collect()
}

/// Weights of 0 everywhere, as far as a source could teach something.
fn nothing_learnt(experiment: &Experiment) -> Option<ConfigProblem> {
    let config = &experiment.losses;
    let is_placed = |source: &SourceConfig| source.task == Task::Locate && source.has_places();
    let learns = config.text.weight > 0.0
        || config.point.weight > 0.0
        || experiment.data.sources.iter().any(is_placed) && config.overlap.weight > 0.0
        || experiment.detects() && config.detection.weight > 0.0
        || experiment.teaches_masks();
    (!learns).then(|| {
        let allowed = "a weight above 0 here, or of another loss that a source teaches";
        problem("text.weight", "every loss of the sources has a weight of 0", allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::validate::tests::valid;

    fn keys(change: impl Fn(&mut Experiment)) -> Vec<String> {
        let mut experiment = valid();
        change(&mut experiment);
        experiment.validate().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_focal_loss_of_detection_has_a_shape() {
        let focal = |name: &str| vec![format!("losses.detection.focal.{name}")];
        assert_eq!(keys(|e| e.losses.detection.focal.alpha = 1.5), focal("alpha"));
        assert_eq!(keys(|e| e.losses.detection.focal.beta = -1.0), focal("beta"));
        assert_eq!(keys(|e| e.losses.detection.focal.gamma = f64::NAN), focal("gamma"));
        for epsilon in [0.0, 0.5, -1e-4] {
            assert_eq!(keys(|e| e.losses.detection.focal.epsilon = epsilon), focal("epsilon"));
        }
    }

    #[test]
    fn the_overlap_of_expressions_alone_is_something_to_learn() {
        let overlap_alone = |task: Task| {
            move |e: &mut Experiment| {
                e.losses.text.weight = 0.0;
                e.losses.point.weight = 0.0;
                e.losses.overlap.weight = 1.0;
                e.data.sources[0].task = task;
            }
        };
        assert!(keys(overlap_alone(Task::Locate)).is_empty());
        assert!(keys(overlap_alone(Task::Narrate)).contains(&"losses.text.weight".to_string()));
    }
}

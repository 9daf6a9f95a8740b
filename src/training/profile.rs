//! How long the parts of a training step take.
//!
//! A device may still compute when a function has returned, so that while steps are profiled, and only then,
//! the device is waited for after each part; and parts of a batch that are else computed at the same time are
//! computed one after another. Both make a step slower than it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Steps before the first that counts: what is compiled or allocated on first use is no guide.
const WARM_UP_STEPS: usize = 2;

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for the batch, and copying it to the device.
    Data,
    /// Image encoders.
    Vision,
    /// Prompts, and the visual tokens that they read.
    PromptAdapter,
    /// The language model, without the words that it says.
    Language,
    /// Logits of words, points, boxes and masks; of boxes and masks their losses, too.
    Heads,
    /// Losses of texts and points.
    Loss,
    /// Gradients.
    Backward,
    /// Averaging and clipping gradients, and the optimiser's step.
    Optimizer,
}

impl Stage {
    /// Every stage, in the order of a step.
    pub const ALL: [Self; 8] = [
        Self::Data,
        Self::Vision,
        Self::PromptAdapter,
        Self::Language,
        Self::Heads,
        Self::Loss,
        Self::Backward,
        Self::Optimizer,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Vision => "vision",
            Self::PromptAdapter => "prompt adapter",
            Self::Language => "language",
            Self::Heads => "heads",
            Self::Loss => "loss",
            Self::Backward => "backward",
            Self::Optimizer => "optimiser",
        }
    }
}

/// What a stage took, mean over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Seconds per step.
    pub seconds: f64,
    /// Share of the step.
    pub share: f64,
}

/// Times of a run's steps: `profile.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where it computed.
    pub device: String,
    /// Steps that were profiled.
    pub steps: usize,
    /// Seconds per step, with all that is between the stages.
    pub seconds: f64,
    /// Each stage, in the order of a step.
    pub stages: Vec<StageTime>,
}

/// Takes the time of stages; does nothing unless it was asked for some steps.
#[derive(Debug, Clone, Default)]
pub struct Profiler(Option<Arc<Mutex<Times>>>);

#[derive(Debug, Default)]
struct Times {
    /// Steps to profile.
    wanted: usize,
    /// Steps that were begun, those of the warm-up included.
    begun: usize,
    /// Whether a step that counts is being done.
    active: bool,
    done: usize,
    whole: Duration,
    stages: BTreeMap<Stage, Duration>,
}

impl Profiler {
    /// Of the first `steps` steps after a warm-up.
    pub fn of(steps: usize) -> Self {
        let times = Times { wanted: steps, ..Times::default() };
        Self(Some(Arc::new(Mutex::new(times))))
    }

    fn times(&self) -> Option<std::sync::MutexGuard<'_, Times>> {
        let times = self.0.as_ref()?;
        Some(times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the step in progress is profiled.
    pub fn is_active(&self) -> bool {
        self.times().is_some_and(|times| times.active)
    }

    /// A step begins.
    pub fn begin_step(&self) {
        if let Some(mut times) = self.times() {
            times.begun += 1;
            times.active = times.begun > WARM_UP_STEPS && times.done < times.wanted;
        }
    }

    /// The step is done after the time `whole`; whether it was the last to be profiled.
    pub fn end_step(&self, whole: Duration) -> bool {
        let Some(mut times) = self.times() else { return false };
        if !times.active {
            return false;
        }
        times.active = false;
        times.done += 1;
        times.whole += whole;
        times.done == times.wanted
    }

    /// Adds to the time of a stage.
    pub fn add(&self, stage: Stage, taken: Duration) {
        if let Some(mut times) = self.times().filter(|times| times.active) {
            *times.stages.entry(stage).or_default() += taken;
        }
    }

    /// What `work` gives, which is the `stage` of a step on a device.
    pub fn time<T>(
        &self,
        stage: Stage,
        device: impl FnOnce() -> Device,
        work: impl FnOnce() -> T,
    ) -> T {
        if !self.is_active() {
            return work();
        }
        let begun = Instant::now();
        let result = work();
        // What went wrong on the device is found by whoever reads a result.
        let _ = device().sync();
        self.add(stage, begun.elapsed());
        result
    }

    /// What was found; `None` before the first step that counts.
    pub fn profile(&self, device: String) -> Option<Profile> {
        let times = self.times().filter(|times| times.done > 0)?;
        let steps = times.done as f64;
        let seconds = times.whole.as_secs_f64() / steps;
        let stage = |stage: Stage| {
            let taken = times.stages.get(&stage).copied().unwrap_or_default().as_secs_f64() / steps;
            StageTime { stage, seconds: taken, share: taken / seconds.max(f64::MIN_POSITIVE) }
        };
        Some(Profile {
            device,
            steps: times.done,
            seconds,
            stages: Stage::ALL.into_iter().map(stage).collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_after_the_warm_up_and_up_to_the_number_that_was_asked_for() {
        let profiler = Profiler::of(2);
        let mut ended = Vec::new();
        for step in 0..6 {
            profiler.begin_step();
            assert_eq!(profiler.is_active(), (2..4).contains(&step));
            profiler.add(Stage::Data, Duration::from_millis(100));
            assert_eq!(profiler.time(Stage::Loss, Device::flex, || 7), 7);
            ended.push(profiler.end_step(Duration::from_millis(400)));
        }
        assert_eq!(ended, [false, false, false, true, false, false]);
        let profile = profiler.profile("cpu".into()).unwrap();
        assert_eq!((profile.steps, profile.seconds), (2, 0.4));
        assert_eq!(profile.stages.len(), 8);
        let data = profile.stages[0];
        assert_eq!((data.stage, data.seconds, data.share), (Stage::Data, 0.1, 0.25));
        assert_eq!(profile.stages[1].seconds, 0.0);
    }

    #[test]
    fn without_being_asked_nothing_is_timed() {
        let profiler = Profiler::default();
        profiler.begin_step();
        assert!(!profiler.is_active() && !profiler.end_step(Duration::from_secs(1)));
        assert_eq!(profiler.profile("cpu".into()), None);
        assert_eq!(Profiler::of(3).profile("cpu".into()), None);
    }
}

//! Floor 4: burn-train's learner, fed by an experiment.

pub mod gradients;
pub mod metrics;
pub mod optimizer;
pub mod record;
pub mod step;
